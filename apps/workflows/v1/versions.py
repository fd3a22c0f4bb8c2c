"""``/workflows/{id}/versions``: what a workflow was, and the way back to it."""

from typing import Annotated, Any, ClassVar, Final

from aiohttp import web
from pydantic import Field

from apps.operations import Answer, Operation
from apps.stored_definitions import UnreadableVersion, read_definition
from apps.workflows import auditing, definitions, representations
from apps.workflows.answers.workflows import VersionPage, VersionShown, WorkflowInFull
from apps.workflows.bodies import read_model
from apps.workflows.errors import BadRequest, FieldError, UnknownVersion, UnknownWorkflow
from apps.workflows.preconditions import read_before
from apps.workflows.queries import Page, read_query
from apps.workflows.v1.workflows import ETAG, check_id, in_full
from apps.workflows.views import Resource
from domain.access import Scope
from domain.model import Model
from store.interfaces import VersionConflict

Number = Annotated[int, Field(ge=1, le=2**31)]


class VersionQuery(Page):
    """Which versions to list."""

    limit: int = Field(default=20, ge=1, le=100, description="Most items in one answer.")
    cursor: Number | None = Field(default=None, description="As nextCursor was answered.")


class Versions(Resource):
    """The list."""

    view_name = "workflow-versions"
    view_path = "/workflows/{workflow_id}/versions"
    operations: ClassVar = {
        "get": Operation(
            "listVersions",
            "List the versions of a workflow, newest first",
            {200: Answer("A page of the list.", VersionPage)},
            query=VersionQuery,
            refusals=(UnknownWorkflow,),
        )
    }

    async def get(self, request: web.Request, workflow_id: str) -> web.Response:
        """Return a page of versions, newest first."""
        check_id(workflow_id)
        query = read_query(VersionQuery, request)
        current = await definitions.current_workflow(workflow_id, self.app.store.workflows)
        found = await self.app.store.workflows.versions(workflow_id, before=query.cursor, limit=query.limit)
        last = found[-1].version if found else 1
        return self.answer(
            {
                "current": current.version,
                "items": [representations.version_in_list(stored) for stored in found],
                "nextCursor": str(last) if last > 1 else None,
            }
        )


class OneVersion(Resource):
    """One version."""

    view_name = "workflow-version"
    view_path = "/workflows/{workflow_id}/versions/{version}"
    operations: ClassVar = {
        "get": Operation(
            "getVersion",
            "Show one version of a workflow",
            {200: Answer("The version.", VersionShown)},
            refusals=(BadRequest, UnknownWorkflow, UnknownVersion, UnreadableVersion),
        )
    }

    async def get(self, request: web.Request, workflow_id: str, version: str) -> web.Response:
        """Return one version."""
        check_id(workflow_id)
        number = _number(version)
        await definitions.current_workflow(workflow_id, self.app.store.workflows)
        found = await self.app.store.workflows.versions(workflow_id, before=number + 1, limit=1)
        if not found or found[0].version != number:
            raise UnknownVersion(workflow_id, number)
        return self.answer(representations.version(found[0]))


class RollBack(Model):
    """Where to go back to."""

    version: Number = Field(strict=True)


class WorkflowRollback(Resource):
    """Where a former version is made the current one again."""

    view_name = "workflow-rollback"
    view_path = "/workflows/{workflow_id}/rollback"
    operations: ClassVar = {
        "post": Operation(
            "rollBackWorkflow",
            "Store an earlier version as the newest",
            {200: Answer("The workflow as it is now.", WorkflowInFull, headers=ETAG)},
            scope=Scope.OPERATOR,
            body=RollBack,
            example={"version": 3},
            refusals=(UnknownWorkflow, UnknownVersion, UnreadableVersion, VersionConflict),
            is_conditional=True,
        )
    }

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Store the definition of a former version as the next version: history is never rewritten."""
        check_id(workflow_id)
        given = await read_model(RollBack, request)
        before, expected = await read_before(request, workflow_id, self.app.store.workflows)
        definition = await self.app.store.workflows.get_version(workflow_id, given.version)
        if definition is None:
            raise UnknownVersion(workflow_id, given.version)
        stored = await definitions.replace(
            read_definition(workflow_id, given.version, definition),
            workflows=self.app.store.workflows,
            executions=self.app.store.executions,
            occurrences=self.app.store.occurrences,
            announce=self.app.announce_change,
            now=self.app.clock(),
            expected=expected,
        )
        auditing.note(request, representations.definition_in_audit(before), representations.definition(stored))
        return self.answer(await in_full(stored, self.app), version=stored.version)


VIEWS: Final[tuple[Any, ...]] = (Versions, OneVersion, WorkflowRollback)


def _number(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:12]) <= 2**31:
        raise BadRequest("The address is not valid.", [FieldError("version", "must be a whole number from 1 on")])
    return int(text)
