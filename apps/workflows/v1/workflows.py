"""``/workflows``: the definitions, and their trigger."""

import asyncio
import os
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from aiohttp import web
from pydantic import Field, ValidationError

from actions.registry import WorkflowDefinition
from apps.workflows import admission, cursors, definitions, representations
from apps.workflows.bodies import read_object
from apps.workflows.errors import BadRequest, FieldError
from apps.workflows.field_errors import WORKFLOW_ID_RULE, field_errors
from apps.workflows.queries import Page, read_query
from apps.workflows.v1.executions import execution_address
from apps.workflows.views import Resource
from domain.execution import Execution, Status
from domain.identifiers import WORKFLOW_ID_PATTERN, is_workflow_id
from domain.overlap import Overlap
from store.interfaces import Executions, Workflow, WorkflowFilter


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
    recent: int = Field(default=0, ge=0, le=30, description="How many of its newest executions each workflow shows.")


class Workflows(Resource):
    """The list, and where a workflow is created."""

    view_name = "workflows"
    view_path = "/workflows"

    async def get(self, request: web.Request) -> web.Response:
        """Return a page of workflows by id."""
        query = read_query(WorkflowQuery, request)
        where = WorkflowFilter(prefix=query.prefix, contains=query.search, trigger_type=query.trigger_type)
        found = await self.app.store.workflows.list(where, after=query.cursor, limit=query.limit + 1)
        page = found[: query.limit]
        holders = await self.app.store.executions.holders([place for stored in page for place in _places(stored)])
        items = [representations.workflow(stored, _busiest(stored, holders)) for stored in page]
        if query.recent:
            recent = await self.app.store.executions.recent([stored.workflow_id for stored in page], query.recent)
            for item in items:
                item["recentExecutions"] = representations.recent(recent[item["workflowId"]])
        return self.answer(
            {
                "items": items,
                "nextCursor": cursors.encode(page[-1].workflow_id) if len(found) > len(page) else None,
            }
        )

    async def post(self, request: web.Request) -> web.Response:
        """Store a new workflow."""
        stored = await definitions.create(
            _read_definition(await read_object(request)),
            workflows=self.app.store.workflows,
            announce=self.app.announce_change,
            now=self.app.clock(),
        )
        return self.answer(representations.workflow_in_full(stored, None, None), status=201, location=_address(stored))


class OneWorkflow(Resource):
    """One workflow."""

    view_name = "workflow"
    view_path = "/workflows/{workflow_id}"

    async def get(self, request: web.Request, workflow_id: str) -> web.Response:
        """Return the current version and where its schedule stands."""
        check_id(workflow_id)
        stored = await definitions.current_workflow(workflow_id, self.app.store.workflows)
        return self.answer(await in_full(stored, self.app.store.executions))

    async def put(self, request: web.Request, workflow_id: str) -> web.Response:
        """Store the next version."""
        check_id(workflow_id)
        body = await read_object(request)
        if body.setdefault("workflowId", workflow_id) != workflow_id:
            raise BadRequest(
                "The workflow is not valid.",
                [FieldError("workflowId", f"must be {workflow_id} as in the address, or absent")],
            )
        stored = await definitions.replace(
            _read_definition(body),
            workflows=self.app.store.workflows,
            executions=self.app.store.executions,
            occurrences=self.app.store.occurrences,
            announce=self.app.announce_change,
            now=self.app.clock(),
        )
        return self.answer(await in_full(stored, self.app.store.executions))

    async def delete(self, request: web.Request, workflow_id: str) -> web.Response:
        """Archive the workflow."""
        check_id(workflow_id)
        await definitions.archive(
            workflow_id, workflows=self.app.store.workflows, announce=self.app.announce_change, now=self.app.clock()
        )
        return web.Response(status=204)


class WorkflowTrigger(Resource):
    """Where a workflow is started by hand."""

    view_name = "workflow-trigger"
    view_path = "/workflows/{workflow_id}/trigger"

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Start one execution."""
        check_id(workflow_id)
        unknown = await read_object(request, optional=True)
        if unknown:
            raise BadRequest(
                "The body is not valid.", [FieldError(name[:100], "is not known here; remove it") for name in unknown]
            )
        execution = await admission.trigger(
            workflow_id,
            workflows=self.app.store.workflows,
            executions=self.app.store.executions,
            publish=self.app.request_execution,
            publish_end=self.app.announce_end,
            now=self.app.clock(),
            entropy=os.urandom(10),
        )
        return self.answer(
            {
                "status": "workflow queued" if execution.status is Status.QUEUED else "workflow triggered",
                "executionId": execution.execution_id,
            },
            status=202,
            location=execution_address(execution.execution_id),
        )


VIEWS: Final = (Workflows, OneWorkflow, WorkflowTrigger)


def _read_definition(body: dict[str, Any]) -> WorkflowDefinition:
    try:
        return WorkflowDefinition.model_validate(body)
    except ValidationError as error:
        raise BadRequest("The workflow is not valid.", field_errors(error, body)) from None


async def in_full(stored: Workflow, executions: Executions) -> dict[str, Any]:
    """Return a workflow with its open and its newest execution."""
    holders, latest = await asyncio.gather(executions.holders(_places(stored)), executions.latest(stored.workflow_id))
    return representations.workflow_in_full(stored, _busiest(stored, holders), latest)


def _places(stored: Workflow) -> list[str]:
    overlap = stored.definition.get("overlap")
    return (Overlap.from_document(overlap) if overlap else Overlap()).places(stored.workflow_id)


def _busiest(stored: Workflow, holders: Mapping[str, Execution]) -> Execution | None:
    """Return the open execution that says most about what the workflow is doing."""
    found = [holders[place] for place in _places(stored) if place in holders]
    return next((each for each in found if each.status is Status.RUNNING), found[0] if found else None)


def check_id(workflow_id: str) -> None:
    """Raise BadRequest where the id in the address is none."""
    if not is_workflow_id(workflow_id):
        raise BadRequest("The address is not valid.", [FieldError("workflowId", WORKFLOW_ID_RULE)])


def _address(stored: Workflow) -> str:
    return f"/v1/workflows/{stored.workflow_id}"
