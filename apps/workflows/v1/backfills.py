"""``/workflows/{id}/backfill`` and ``/workflows/{id}/backfills``: ticks of the past that are made up for."""

import os
from typing import Any, ClassVar, Final

from aiohttp import web

from apps.operations import Answer, Operation
from apps.workflows import auditing, backfills, cursors, definitions, idempotency, representations
from apps.workflows.answers.backfills import BackfillPage, BackfillPlan, BackfillShown
from apps.workflows.bodies import read_model
from apps.workflows.errors import (
    BackfillEnded,
    BackfillInProgress,
    BadRequest,
    FieldError,
    NotRecurring,
    UnknownBackfill,
    UnknownWorkflow,
)
from apps.workflows.queries import Page, read_query
from apps.workflows.v1.executions import Cancellation
from apps.workflows.v1.workflows import check_id
from apps.workflows.views import Resource
from domain.access import Scope
from domain.identifiers import EXECUTION_ID_RULE, execution_id, is_execution_id


class BackfillQuery(Page):
    """Which backfills to list."""

    cursor: cursors.ExecutionCursor | None = None


class WorkflowBackfill(Resource):
    """Where ticks of the past are asked to be made up for."""

    view_name = "workflow-backfill"
    view_path = "/workflows/{workflow_id}/backfill"
    operations: ClassVar = {
        "post": Operation(
            "backfillWorkflow",
            "Make up for ticks of the past that have no execution",
            {
                200: Answer("What it would do; or that every tick has run already. Nothing was started.", BackfillPlan),
                202: Answer(
                    "It is accepted and will be worked off.",
                    BackfillShown,
                    headers={"Location": "Where it is found."},
                ),
            },
            tag="schedules",
            scope=Scope.OPERATOR,
            description="A dry run unless dryRun is false. A tick has one execution for ever: what has run is not run "
            "again, and a second backfill of a range adds nothing.",
            body=backfills.Asked,
            example={"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z", "dryRun": True},
            refusals=(UnknownWorkflow, NotRecurring, BackfillInProgress),
        )
    }

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Tell what a backfill would do, or begin it."""
        check_id(workflow_id)
        asked = await read_model(backfills.Asked, request, what="backfill")
        store, now = self.app.store, self.app.clock()
        planned = await backfills.plan(
            await definitions.current_workflow(workflow_id, store.workflows),
            asked,
            executions=store.executions,
            now=now,
            retention=self.app.settings.retention,
        )
        if asked.dry_run or not planned.to_run:
            auditing.spare(request)
            running = await store.backfills.running(workflow_id)
            return self.answer(representations.backfill_plan(planned, running))
        at, entropy, _ = idempotency.asked(request, now, os.urandom(10))
        accepted = await backfills.accept(
            planned,
            execution_id(at, entropy),
            backfills=store.backfills,
            announce=self.app.announce_change,
            now=now,
        )
        shown = representations.backfill(accepted)
        auditing.note(request, None, shown)
        return self.answer(shown, status=202, location=_address(workflow_id, accepted.backfill_id))


class Backfills(Resource):
    """The list."""

    view_name = "workflow-backfills"
    view_path = "/workflows/{workflow_id}/backfills"
    operations: ClassVar = {
        "get": Operation(
            "listBackfills",
            "List the backfills of a workflow, newest first",
            {200: Answer("A page of the list.", BackfillPage)},
            tag="schedules",
            query=BackfillQuery,
            refusals=(UnknownWorkflow,),
        )
    }

    async def get(self, request: web.Request, workflow_id: str) -> web.Response:
        """Return a page of backfills, newest first."""
        check_id(workflow_id)
        query = read_query(BackfillQuery, request)
        await definitions.current_workflow(workflow_id, self.app.store.workflows)
        found = await self.app.store.backfills.list(workflow_id, before=query.cursor, limit=query.limit + 1)
        page, following = cursors.cut(found, query.limit, lambda each: each.backfill_id)
        shown = [await backfills.up_to_date(each, self.app.store.executions) for each in page]
        return self.answer({"items": [representations.backfill(each) for each in shown], "nextCursor": following})


class OneBackfill(Resource):
    """One backfill."""

    view_name = "workflow-one-backfill"
    view_path = "/workflows/{workflow_id}/backfills/{backfill_id}"
    operations: ClassVar = {
        "get": Operation(
            "getBackfill",
            "Show how far a backfill is",
            {200: Answer("The backfill.", BackfillShown)},
            tag="schedules",
            refusals=(UnknownBackfill,),
        )
    }

    async def get(self, request: web.Request, workflow_id: str, backfill_id: str) -> web.Response:
        """Return a backfill as it stands."""
        _check_ids(workflow_id, backfill_id)
        found = await backfills.one_of(
            workflow_id, backfill_id, backfills=self.app.store.backfills, executions=self.app.store.executions
        )
        return self.answer(representations.backfill(found))


class BackfillCancel(Resource):
    """Where a backfill is cancelled."""

    view_name = "workflow-backfill-cancel"
    view_path = "/workflows/{workflow_id}/backfills/{backfill_id}/cancel"
    operations: ClassVar = {
        "post": Operation(
            "cancelBackfill",
            "Start no more executions of a backfill",
            {200: Answer("It has ended; the executions that are open go on.", BackfillShown)},
            tag="schedules",
            scope=Scope.OPERATOR,
            body=Cancellation,
            body_is_required=False,
            refusals=(UnknownBackfill, BackfillEnded),
        )
    }

    async def post(self, request: web.Request, workflow_id: str, backfill_id: str) -> web.Response:
        """End a backfill; the executions that are open go on."""
        _check_ids(workflow_id, backfill_id)
        given = await read_model(Cancellation, request, optional=True)
        cancelled = await backfills.cancel(
            workflow_id,
            backfill_id,
            given.reason,
            backfills=self.app.store.backfills,
            executions=self.app.store.executions,
            now=self.app.clock(),
        )
        return self.answer(representations.backfill(cancelled))


VIEWS: Final[tuple[Any, ...]] = (WorkflowBackfill, Backfills, OneBackfill, BackfillCancel)


def _check_ids(workflow_id: str, backfill_id: str) -> None:
    check_id(workflow_id)
    if not is_execution_id(backfill_id):
        raise BadRequest("The address is not valid.", [FieldError("backfillId", EXECUTION_ID_RULE)])


def _address(workflow_id: str, backfill_id: str) -> str:
    return f"/v1/workflows/{workflow_id}/backfills/{backfill_id}"
