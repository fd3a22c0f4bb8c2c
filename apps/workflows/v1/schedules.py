"""``/workflows/{id}/schedule``, ``…/occurrences``, ``…/pause``, ``…/resume``; ``/schedules/preview`` and ``…/upcoming``.

Ticks to come are computed in a thread: hundreds of a schedule with many expressions take a while.
"""

import asyncio
from typing import Any, ClassVar, Final

from aiohttp import web
from pydantic import Field

from actions.checking import slips_of_trigger
from apps.operations import Answer, Operation
from apps.stored_definitions import UnreadableVersion
from apps.workflows import cursors, definitions, representations, schedules
from apps.workflows.answers.schedules import OccurrencePage, ScheduleShown, TicksShown, UpcomingPage
from apps.workflows.answers.workflows import WorkflowInFull
from apps.workflows.bodies import EmptyBody, read_model, read_nothing
from apps.workflows.errors import BadRequest, FieldError, NoTicks, UnknownWorkflow
from apps.workflows.holding import trigger_of
from apps.workflows.queries import Page, read_query
from apps.workflows.v1.workflows import busiest, check_id, in_full, places
from apps.workflows.views import Resource
from domain.access import Scope
from domain.identifiers import asked_at, earliest_execution_id
from domain.instants import LATEST, WrittenInstant
from domain.model import Model
from domain.trigger import Trigger, max_runs_of, next_due
from store.interfaces import VersionConflict

MOST_TICKS: Final = 500
_HOW_MANY: Final = f"How many ticks to show; none after the year {LATEST.year - 1}."


class ScheduleQuery(Page):
    """How far to look ahead."""

    limit: int = Field(default=10, ge=1, le=MOST_TICKS, alias="count", description=_HOW_MANY)


class OccurrenceQuery(Page):
    """Which occurrences to list."""

    cursor: cursors.ExecutionCursor | None = None


class UpcomingQuery(Page):
    """How far to look ahead over all workflows."""

    cursor: cursors.PlaceCursor | None = None
    until: WrittenInstant | None = Field(default=None, alias="to", description="Only what is due before this instant.")


class Preview(Model):
    """A trigger that need not be stored."""

    trigger: Trigger
    count: int = Field(default=10, strict=True, ge=1, le=MOST_TICKS, description=_HOW_MANY)
    after: WrittenInstant | None = Field(default=None, description="Ticks later than this; now unless said otherwise.")


class Schedule(Resource):
    """When a workflow runs next."""

    view_name = "workflow-schedule"
    view_path = "/workflows/{workflow_id}/schedule"
    operations: ClassVar = {
        "get": Operation(
            "getSchedule",
            "Show when a workflow runs next",
            {200: Answer("The next ticks; none while it is paused.", ScheduleShown)},
            tag="schedules",
            query=ScheduleQuery,
            refusals=(UnknownWorkflow,),
        )
    }

    async def get(self, request: web.Request, workflow_id: str) -> web.Response:
        """Return the next ticks; none while the workflow is paused."""
        check_id(workflow_id)
        query = read_query(ScheduleQuery, request)
        stored = await definitions.current_workflow(workflow_id, self.app.store.workflows)
        ticks = await asyncio.to_thread(schedules.coming_of, stored, query.limit)
        shown = representations.ticks(ticks, trigger_of(stored))
        return self.answer({**shown, "pausedAt": representations.instant(stored.paused_at)})


class SchedulePreview(Resource):
    """When a trigger would run."""

    view_name = "schedule-preview"
    view_path = "/schedules/preview"
    operations: ClassVar = {
        "post": Operation(
            "previewSchedule",
            "Show when a trigger would run, without storing it",
            {200: Answer("The ticks.", TicksShown)},
            tag="schedules",
            body=Preview,
            example={"trigger": {"type": "periodic", "interval": "1h"}, "count": 3},
            uses_database=False,
            takes_key=False,
            changes=False,
        )
    }

    async def post(self, request: web.Request) -> web.Response:
        """Return the ticks that a trigger would have if it were stored now."""
        asked = await read_model(Preview, request, what="preview")
        if wrong := slips_of_trigger(asked.trigger):
            raise BadRequest("The preview is not valid.", [FieldError(field, message) for field, message in wrong])
        now = self.app.clock()
        bound = max_runs_of(asked.trigger)
        count = asked.count if bound is None else min(asked.count, bound)
        ticks = await asyncio.to_thread(
            lambda: schedules.coming(asked.trigger, now, next_due(asked.trigger, now, asked.after or now), count)
        )
        return self.answer(representations.ticks(ticks, asked.trigger))


class Upcoming(Resource):
    """What runs next, of all workflows."""

    view_name = "schedules-upcoming"
    view_path = "/schedules/upcoming"
    operations: ClassVar = {
        "get": Operation(
            "listUpcoming",
            "List the next run of each workflow, soonest first",
            {200: Answer("A page of the list.", UpcomingPage)},
            tag="schedules",
            description="One run of each workflow, unless it has none: a paused one has not. Its own schedule tells how it"
            " goes on.",
            query=UpcomingQuery,
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return a page of next runs, soonest first."""
        query = read_query(UpcomingQuery, request)
        after = None if query.cursor is None else cursors.read_place(query.cursor)
        found = await self.app.store.workflows.upcoming(after=after, until=query.until, limit=query.limit + 1)
        page, following = cursors.cut(found, query.limit, lambda due: cursors.place(due.next_run, due.workflow_id))
        holders = await self.app.store.executions.holders([place for due in page for place in places(due)])
        items = [representations.upcoming(due, busiest(due, holders)) for due in page]
        return self.answer({"items": items, "nextCursor": following})


class Occurrences(Resource):
    """What became of the ticks that were due."""

    view_name = "workflow-occurrences"
    view_path = "/workflows/{workflow_id}/occurrences"
    operations: ClassVar = {
        "get": Operation(
            "listOccurrences",
            "List what became of the ticks that were due, newest first",
            {200: Answer("A page of the list.", OccurrencePage)},
            tag="schedules",
            query=OccurrenceQuery,
            refusals=(UnknownWorkflow,),
        )
    }

    async def get(self, request: web.Request, workflow_id: str) -> web.Response:
        """Return a page of occurrences, newest first."""
        check_id(workflow_id)
        query = read_query(OccurrenceQuery, request)
        page = await schedules.occurrences_of(
            await definitions.current_workflow(workflow_id, self.app.store.workflows),
            executions=self.app.store.executions,
            occurrences=self.app.store.occurrences,
            backfills=self.app.store.backfills,
            before=None if query.cursor is None else asked_at(query.cursor),
            limit=query.limit,
            now=self.app.clock(),
        )
        return self.answer(
            {
                "items": [representations.occurrence(each) for each in page.items],
                "nextCursor": None if page.before is None else cursors.encode(earliest_execution_id(page.before)),
            }
        )


class Pause(Resource):
    """Where a workflow's schedule is paused."""

    view_name = "workflow-pause"
    view_path = "/workflows/{workflow_id}/pause"
    operations: ClassVar = {
        "post": Operation(
            "pauseWorkflow",
            "Hold the ticks of a workflow from now on",
            {200: Answer("The workflow.", WorkflowInFull)},
            tag="schedules",
            scope=Scope.OPERATOR,
            body=EmptyBody,
            body_is_required=False,
            refusals=(UnknownWorkflow, NoTicks, UnreadableVersion, VersionConflict),
        )
    }

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Hold the ticks from now on; what is open goes on, and a trigger by hand still works."""
        check_id(workflow_id)
        await read_nothing(request)
        stored = await schedules.pause(
            workflow_id,
            workflows=self.app.store.workflows,
            announce=self.app.announce_change,
            now=self.app.clock(),
        )
        return self.answer(await in_full(stored, self.app))


class Resume(Resource):
    """Where a workflow's schedule goes on."""

    view_name = "workflow-resume"
    view_path = "/workflows/{workflow_id}/resume"
    operations: ClassVar = {
        "post": Operation(
            "resumeWorkflow",
            "Let a workflow tick again, on the grid it always had",
            {200: Answer("The workflow.", WorkflowInFull)},
            tag="schedules",
            scope=Scope.OPERATOR,
            body=EmptyBody,
            body_is_required=False,
            refusals=(UnknownWorkflow, UnreadableVersion, VersionConflict),
        )
    }

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Let the workflow tick again, on the grid it always had."""
        check_id(workflow_id)
        await read_nothing(request)
        stored = await schedules.resume(
            workflow_id,
            workflows=self.app.store.workflows,
            executions=self.app.store.executions,
            occurrences=self.app.store.occurrences,
            announce=self.app.announce_change,
            now=self.app.clock(),
        )
        return self.answer(await in_full(stored, self.app))


VIEWS: Final[tuple[Any, ...]] = (Schedule, SchedulePreview, Upcoming, Occurrences, Pause, Resume)
