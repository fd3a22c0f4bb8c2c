"""``/workflows``: the definitions, and their trigger."""

import asyncio
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, Literal

from aiohttp import web
from pydantic import Field, ValidationError

from actions.checking import needs, problems, slips
from actions.dry_run import bad_answers, dry_run
from actions.registry import WorkflowDefinition
from apps.operations import Answer, Operation
from apps.stored_definitions import UnreadableVersion, read_definition, reading
from apps.workflows import admission, auditing, cursors, definitions, idempotency, representations
from apps.workflows.answers.dry_run import DryRun
from apps.workflows.answers.workflows import WorkflowInFull, WorkflowPage
from apps.workflows.bodies import read_members, read_object
from apps.workflows.errors import (
    BadRequest,
    FieldError,
    InProgress,
    NotTriggeredByHand,
    UnknownWorkflow,
)
from apps.workflows.field_errors import field_errors
from apps.workflows.preconditions import read_before
from apps.workflows.queries import Page, read_query
from apps.workflows.surroundings import surroundings, unstartable, warnings
from apps.workflows.v1.executions import LOCATION, TRIGGERED, execution_address
from apps.workflows.views import Resource
from domain import patterns
from domain.access import Scope
from domain.execution import Cause, Execution, Status
from domain.identifiers import WORKFLOW_ID_PATTERN, WORKFLOW_ID_RULE, execution_id, is_workflow_id
from domain.inputs import BadInput
from domain.model import Model
from domain.overlap import Overlap
from domain.reference import Reference
from store.interfaces import Due, VersionConflict, Workflow, WorkflowExists, WorkflowFilter

ETAG: Final = {"ETag": "Its version, for If-Match."}
_EXAMPLE: Final = {"workflowId": "hello", "trigger": {"type": "manual"}, "actions": [{"type": "log", "message": "hello"}]}
# Most who meet this have sent the input itself.
_INPUT_MEND: Final = 'what the workflow is to get goes into input, as in {"input": {"name": "Ada"}}'

if TYPE_CHECKING:
    from apps.workflows.app import WorkflowsApp


class WorkflowQuery(Page):
    """Which workflows to list."""

    cursor: cursors.WorkflowCursor | None = None
    prefix: Annotated[str, Field(pattern=WORKFLOW_ID_PATTERN)] | None = Field(
        default=None, description="What the id begins with."
    )
    search: Annotated[str, Field(min_length=1, max_length=128)] | None = Field(
        default=None, description="What the id contains, whatever the case."
    )
    trigger_type: Literal["manual", "periodic", "cron", "once"] | None = None
    archived: bool = Field(default=False, description="Those that are archived, instead of those that are not.")
    recent: int = Field(default=0, ge=0, le=30, description="How many of its newest executions each workflow shows.")


class TriggerBody(Model):
    """What may be said with a trigger."""

    input: dict[str, Any] | None = Field(default=None, description="What templates see as input.")
    reference: Reference | None = Field(
        default=None,
        description="A number of yours by which it is found again: of an order, a customer; need not be unique.",
    )


class DryRunBody(TriggerBody):
    """What may be said with a dry run."""

    actions: dict[str, Any] | None = Field(
        default=None, description='What to take for the answers of actions, by their id: {"output": {…}}.'
    )


class Workflows(Resource):
    """The list, and where a workflow is created."""

    view_name = "workflows"
    view_path = "/workflows"
    operations: ClassVar = {
        "get": Operation(
            "listWorkflows",
            "List workflows by id",
            {200: Answer("A page of the list.", WorkflowPage)},
            query=WorkflowQuery,
        ),
        "post": Operation(
            "createWorkflow",
            "Create a workflow",
            {201: Answer("The workflow.", WorkflowInFull, headers={**LOCATION, **ETAG})},
            scope=Scope.OPERATOR,
            body=WorkflowDefinition,
            example=_EXAMPLE,
            refusals=(WorkflowExists,),
        ),
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return a page of workflows by id."""
        query = read_query(WorkflowQuery, request)
        where = WorkflowFilter(
            prefix=query.prefix, contains=query.search, trigger_type=query.trigger_type, is_archived=query.archived
        )
        found = await self.app.store.workflows.list(where, after=query.cursor, limit=query.limit + 1)
        page, following = cursors.cut(found, query.limit, lambda stored: stored.workflow_id)
        holders = await self.app.store.executions.holders([place for stored in page for place in places(stored)])
        items = [representations.workflow_in_list(stored, busiest(stored, holders)) for stored in page]
        if query.recent:
            lock_keys = {stored.workflow_id: _overlap(stored).lock_keys(stored.workflow_id) for stored in page}
            recent = await self.app.store.executions.recent(lock_keys, query.recent)
            for item in items:
                item["recentExecutions"] = representations.recent(recent[item["workflowId"]])
        return self.answer({"items": items, "nextCursor": following})

    async def post(self, request: web.Request) -> web.Response:
        """Store a new workflow."""
        definition = await as_definition(await read_object(request), self.app)
        warned = await unstartable(needs(definition), self.app.store.workflows)
        stored = await definitions.create(
            definition,
            workflows=self.app.store.workflows,
            announce=self.app.announce_change,
            now=self.app.clock(),
        )
        auditing.note(request, None, representations.definition(stored))
        shown = representations.workflow_in_full(stored, definition, None, None, warned)
        return self.answer(shown, status=201, location=_address(stored), version=stored.version)


class OneWorkflow(Resource):
    """One workflow."""

    view_name = "workflow"
    view_path = "/workflows/{workflow_id}"
    operations: ClassVar = {
        "get": Operation(
            "getWorkflow",
            "Show a workflow and where it stands",
            {200: Answer("The workflow.", WorkflowInFull, headers=ETAG)},
            refusals=(UnknownWorkflow, UnreadableVersion),
        ),
        "put": Operation(
            "replaceWorkflow",
            "Store the next version of a workflow",
            {200: Answer("The workflow.", WorkflowInFull, headers=ETAG)},
            scope=Scope.OPERATOR,
            description="An open execution finishes with the version that it began with.",
            body=WorkflowDefinition,
            example=_EXAMPLE,
            refusals=(UnknownWorkflow, VersionConflict),
            is_conditional=True,
        ),
        "delete": Operation(
            "archiveWorkflow",
            "Archive a workflow",
            {204: Answer("It is archived.", content_type=None)},
            scope=Scope.OPERATOR,
            description="It leaves the list; nothing more is accepted, what is open or queued still runs, history stays.",
            refusals=(UnknownWorkflow, VersionConflict),
            is_conditional=True,
        ),
    }

    async def get(self, request: web.Request, workflow_id: str) -> web.Response:
        """Return the current version and where its schedule stands."""
        check_id(workflow_id)
        stored = await definitions.current_workflow(workflow_id, self.app.store.workflows)
        return self.answer(await in_full(stored, self.app), version=stored.version)

    async def put(self, request: web.Request, workflow_id: str) -> web.Response:
        """Store the next version."""
        check_id(workflow_id)
        body = await read_object(request)
        if body.setdefault("workflowId", workflow_id) != workflow_id:
            raise BadRequest(
                "The workflow is not valid.",
                [FieldError("workflowId", f"must be {workflow_id} as in the address, or absent")],
            )
        definition = await as_definition(body, self.app)
        before, expected = await read_before(request, workflow_id, self.app.store.workflows)
        stored = await definitions.replace(
            definition,
            workflows=self.app.store.workflows,
            executions=self.app.store.executions,
            occurrences=self.app.store.occurrences,
            announce=self.app.announce_change,
            now=self.app.clock(),
            expected=expected,
        )
        auditing.note(request, representations.definition_in_audit(before), representations.definition(stored))
        return self.answer(await in_full(stored, self.app), version=stored.version)

    async def delete(self, request: web.Request, workflow_id: str) -> web.Response:
        """Archive the workflow."""
        check_id(workflow_id)
        before, expected = await read_before(request, workflow_id, self.app.store.workflows)
        await definitions.archive(
            workflow_id,
            workflows=self.app.store.workflows,
            executions=self.app.store.executions,
            occurrences=self.app.store.occurrences,
            announce=self.app.announce_change,
            now=self.app.clock(),
            expected=expected,
        )
        auditing.note(request, representations.definition_in_audit(before), None)
        return web.Response(status=204)


class WorkflowTrigger(Resource):
    """Where a workflow is started by hand."""

    view_name = "workflow-trigger"
    view_path = "/workflows/{workflow_id}/trigger"
    operations: ClassVar = {
        "post": Operation(
            "triggerWorkflow",
            "Start an execution now",
            {202: TRIGGERED},
            scope=Scope.OPERATOR,
            description="Two executions of one workflow never run at once, unless its overlap policy allows: 409 while one "
            "is open. Where it is one of a backfill, or the policy says so, the new one is queued.",
            body=TriggerBody,
            body_is_required=False,
            refusals=(UnknownWorkflow, NotTriggeredByHand, InProgress, BadInput),
            is_routine=True,
        )
    }

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Start one execution."""
        check_id(workflow_id)
        members = await read_members(request, "input", mend=_INPUT_MEND, reference=True)

        async def trigger() -> web.Response:
            workflow = await definitions.current_workflow(workflow_id, self.app.store.workflows)
            return await start(self, request, workflow, members.get("input", {}), Cause.MANUAL, members.get("reference"))

        return await self.bounded(trigger())


class WorkflowDryRun(Resource):
    """Where is told what a workflow would do."""

    view_name = "workflow-dry-run"
    view_path = "/workflows/{workflow_id}/dry-run"
    operations: ClassVar = {
        "post": Operation(
            "dryRunWorkflow",
            "Tell what a workflow would do, and send nothing",
            {200: Answer("What each step would do.", DryRun)},
            body=DryRunBody,
            body_is_required=False,
            refusals=(UnknownWorkflow, BadInput, UnreadableVersion),
            takes_key=False,
            changes=False,
        )
    }

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Render and check everything, and send nothing."""
        check_id(workflow_id)
        members = await read_members(request, "input", "actions", mend=_INPUT_MEND, reference=True)
        answers = members.get("actions", {})
        stored = await definitions.current_workflow(workflow_id, self.app.store.workflows)
        definition = read_definition(workflow_id, stored.version, stored.definition)
        wrong = bad_answers(definition, answers)
        if wrong:
            raise BadRequest("The body is not valid.", [FieldError(field, message) for field, message in wrong])
        now = self.app.clock()
        execution = {
            "id": execution_id(now, bytes(10)), "workflowId": workflow_id, "version": stored.version, "attempt": 1,
            "createdAt": representations.instant(now), "dueAt": None, "status": "ok", "failure": None,
            "reference": members.get("reference"),
        }  # fmt: skip
        needed = await self.app.stored_needs.of(workflow_id, stored.version, definition)
        # Each step may do as much as in a runner, which is seconds in all, in which the service answers others as well.
        found = await asyncio.to_thread(
            dry_run,
            definition,
            given=members.get("input", {}),
            answers=answers,
            execution=execution,
            around=await surroundings(needed, self.app),
        )
        missed = await unstartable(needed, self.app.store.workflows)
        return self.answer({**found, "valid": found["valid"] and not missed, "errors": [*found["errors"], *missed]})


VIEWS: Final = (Workflows, OneWorkflow, WorkflowTrigger, WorkflowDryRun)


async def as_definition(body: dict[str, Any], app: "WorkflowsApp") -> WorkflowDefinition:
    """Return a definition that may be stored, as far as its schedule has no part in that.

    Raises:
        BadRequest: names each field that is wrong.
    """
    try:
        with patterns.bounded():
            definition = WorkflowDefinition.model_validate(body)
    except ValidationError as error:
        raise BadRequest("The workflow is not valid.", field_errors(error, body, WorkflowDefinition)) from None
    found = [*problems(definition, await surroundings(needs(definition), app)), *slips(definition)]
    if found:
        raise BadRequest("The workflow is not valid.", [FieldError(field, message) for field, message in found])
    return definition


async def start(
    view: Resource,
    request: web.Request,
    workflow: Workflow,
    given: Mapping[str, Any],
    cause: Cause,
    reference: str | None = None,
) -> web.Response:
    """Start one execution of a workflow that was read just now, and return what whoever asks is told."""
    app, now = view.app, view.app.clock()
    asked_at, entropy, is_unique = idempotency.asked(request, now, os.urandom(10))
    execution = await admission.trigger(
        workflow,
        executions=app.store.executions,
        publish=app.request_execution,
        publish_end=app.announce_end,
        asked_at=asked_at,
        entropy=entropy,
        is_unique=is_unique,
        now=now,
        given=given,
        reference=reference,
        cause=cause,
    )
    return view.answer(
        {
            "status": "workflow queued" if execution.status is Status.QUEUED else "workflow triggered",
            "executionId": execution.execution_id,
        },
        status=202,
        location=execution_address(execution.execution_id),
    )


async def in_full(stored: Workflow, app: "WorkflowsApp") -> dict[str, Any]:
    """Return a workflow with its open and its newest execution, and what would make one fail that began now.

    Raises:
        UnreadableVersion: its definition cannot be read here.
        StoreUnavailable: the store cannot be reached.
    """
    definition = read_definition(stored.workflow_id, stored.version, stored.definition)
    needed = await app.stored_needs.of(stored.workflow_id, stored.version, definition)
    executions = app.store.executions
    holders, latest, warned = await asyncio.gather(
        executions.holders(places(stored)), executions.latest(stored.workflow_id), warnings(needed, app)
    )
    return representations.workflow_in_full(stored, definition, busiest(stored, holders), latest, warned)


def _overlap(stored: Workflow | Due) -> Overlap:
    with reading(stored.workflow_id, stored.version):
        return Overlap.of(stored.overlap if isinstance(stored, Due) else stored.definition.get("overlap"))


def places(stored: Workflow | Due) -> list[str]:
    """Return the lock keys under which executions of a workflow run."""
    return _overlap(stored).places(stored.workflow_id)


def busiest(stored: Workflow | Due, holders: Mapping[str, Execution]) -> Execution | None:
    """Return the open execution that says most about what the workflow is doing."""
    found = [holders[place] for place in places(stored) if place in holders]
    return next((each for each in found if each.status is Status.RUNNING), found[0] if found else None)


def check_id(workflow_id: str) -> None:
    """Raise BadRequest where the id in the address is none."""
    if not is_workflow_id(workflow_id):
        raise BadRequest("The address is not valid.", [FieldError("workflowId", WORKFLOW_ID_RULE)])


def _address(stored: Workflow) -> str:
    return f"/v1/workflows/{stored.workflow_id}"
