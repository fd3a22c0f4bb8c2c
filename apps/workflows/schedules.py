"""What schedules will do, are told not to do, and have done.

A pause takes the next run away, so that a paused workflow costs nothing however long the pause is; the ticks that it holds
are computed when somebody asks, and recorded as one range when it ends. The grid goes on: after it, the next run is the next
instant of the schedule, as if there had been no pause.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import chain, islice, takewhile

from apps.stored_definitions import read_definition
from apps.workflows.definitions import current_workflow
from apps.workflows.errors import NoTicks
from apps.workflows.holding import first_held, held_by, trigger_of
from apps.workflows.publishing import Publish
from domain.execution import Cause, Execution
from domain.identifiers import earliest_execution_id
from domain.instants import LATEST, MILLISECOND
from domain.occurrence import Unfired
from domain.trigger import Trigger, max_runs_of, next_due, ticks
from events.records import WorkflowChanged
from store.interfaces import (
    Advance,
    Backfills,
    ExecutionFilter,
    Executions,
    Occurrences,
    VersionConflict,
    Workflow,
    Workflows,
)

_OF_TICKS = frozenset({Cause.SCHEDULE, Cause.BACKFILL})
_TRIES = 20  # against a schedule that advances, or a definition that is changed, at the same time


def coming(trigger: Trigger, anchor: datetime, first: datetime | None, count: int) -> list[datetime]:
    """Return the next ``count`` due instants, from ``first`` on, which is one.

    None later than what an instant may be: a 29 February that is a Monday comes 500 times in 14,000 years.
    """
    if first is None:
        return []
    return list(islice(takewhile(lambda due: due < LATEST, chain([first], ticks(trigger, anchor, first))), max(0, count)))


def coming_of(workflow: Workflow, count: int) -> list[datetime]:
    """Return when a stored workflow runs next; nothing while it is paused."""
    trigger = trigger_of(workflow)
    bound = max_runs_of(trigger)
    left = count if bound is None else min(count, bound - workflow.runs)
    return coming(trigger, workflow.anchor, workflow.next_run, left)


# -- pause and resume --------------------------------------------------------------------------------------------------


async def pause(workflow_id: str, *, workflows: Workflows, announce: Publish, now: datetime) -> Workflow:
    """Hold the ticks of a workflow; one that is paused already stays as it is.

    Raises:
        UnknownWorkflow: there is none.
        NoTicks: it has no ticks to hold.
        UnreadableVersion: its definition cannot be read here.
        VersionConflict: its schedule moved on each time it was read.
    """
    for _ in range(_TRIES):
        workflow = await current_workflow(workflow_id, workflows)
        if workflow.paused_at is not None:
            return workflow
        read_definition(workflow_id, workflow.version, workflow.definition)  # what cannot be answered is not done either
        if workflow.next_run is None:
            raise NoTicks(workflow_id)
        if await workflows.pause(workflow_id, now, workflow.next_run):
            await announce(workflow_id, WorkflowChanged(workflow_id=workflow_id, version=workflow.version))
            return await current_workflow(workflow_id, workflows)
    raise VersionConflict(workflow_id, workflow.version)


async def resume(
    workflow_id: str,
    *,
    workflows: Workflows,
    executions: Executions,
    occurrences: Occurrences,
    announce: Publish,
    now: datetime,
) -> Workflow:
    """Let a workflow tick again, and record what the pause has held; one that is not paused stays as it is.

    Raises:
        UnknownWorkflow: there is none.
        UnreadableVersion: its definition cannot be read here.
        VersionConflict: it was changed each time it was read.
    """
    for _ in range(_TRIES):
        workflow = await current_workflow(workflow_id, workflows)
        if workflow.paused_at is None:
            return workflow
        read_definition(workflow_id, workflow.version, workflow.definition)  # what cannot be answered is not done either
        first = await first_held(workflow, executions)
        held = held_by(workflow, first, now)
        unfired = workflow.unfired
        if held is not None:
            first = next_due(trigger_of(workflow), workflow.anchor, held.last)
            if unfired is not None:
                await occurrences.record(unfired)
            unfired = held
        if await workflows.resume(workflow_id, workflow.version, workflow.paused_at, Advance(first, unfired=unfired)):
            await announce(workflow_id, WorkflowChanged(workflow_id=workflow_id, version=workflow.version))
            return await current_workflow(workflow_id, workflows)
    raise VersionConflict(workflow_id, workflow.version)


# -- occurrences -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Page:
    """Occurrences, newest first."""

    items: Sequence[Execution | Unfired]
    before: datetime | None  # where the next page begins; None: there is none


async def occurrences_of(
    workflow: Workflow,
    *,
    executions: Executions,
    occurrences: Occurrences,
    backfills: Backfills,
    before: datetime | None,
    limit: int,
    now: datetime,
) -> Page:
    """Return what became of the due ticks of a workflow, newest first: executions, and ranges of those not fired."""
    fired = {
        each.due_at: each
        for each in await _fired(workflow.workflow_id, executions, before, limit + 1)
        if each.due_at is not None
    }
    ledger = Ledger(workflow, sorted(fired), executions=executions, occurrences=occurrences, backfills=backfills)
    found: list[tuple[datetime, Execution | Unfired]] = [
        (each.first, each) for each in await ledger.unfired(before, limit + 1, now)
    ]
    found += fired.items()
    found.sort(key=lambda pair: pair[0], reverse=True)
    page = found[:limit]
    return Page([each for _, each in page], page[-1][0] if len(found) > limit else None)


class Ledger:
    """The ranges of ticks that were not fired, and not made up for since.

    A tick that has an execution was fired, whatever a range says of it: a backfill made up for it, or a scheduler that was
    suspended came to it after another one had called it missed. That is taken out of a range when somebody asks, and not
    where it is kept: the newest range grows in the workflow's own document, and what a pause holds is kept nowhere as long
    as it lasts. What a backfill has run is remembered by the backfill too, for its executions go with their retention.
    """

    def __init__(
        self,
        workflow: Workflow,
        fired: Sequence[datetime],
        *,
        executions: Executions,
        occurrences: Occurrences,
        backfills: Backfills,
    ) -> None:
        """Prepare; ``fired`` are the newest ticks that have an execution, in order."""
        self._workflow = workflow
        self._trigger = trigger_of(workflow)
        self._fired = fired
        self._executions = executions
        self._occurrences = occurrences
        self._backfills = backfills

    async def unfired(self, before: datetime | None, count: int, now: datetime) -> Sequence[Unfired]:
        """Return the newest ``count`` ranges, or some more, that begin before ``before``, newest first."""
        workflow = self._workflow
        newest = [workflow.unfired]
        if workflow.paused_at is not None and (before is None or before > workflow.paused_at):
            newest.append(held_by(workflow, await first_held(workflow, self._executions), now))
        known = {each.first: each for each in newest if each is not None and (before is None or each.first < before)}
        left: list[Unfired] = []
        cursor = before
        while True:
            kept = await self._occurrences.list(workflow.workflow_id, before=cursor, limit=count)
            for each in kept:
                grown = known.get(each.first)
                known[each.first] = each if grown is None or grown.last < each.last else grown
            left += [each for each in await self._carved(list(known.values()), before) if not before or each.first < before]
            if len(kept) < count or len(left) >= count:
                return sorted(left, key=lambda each: each.first, reverse=True)
            known = {}
            cursor = kept[-1].first

    async def _carved(self, ranges: Sequence[Unfired], before: datetime | None) -> Sequence[Unfired]:
        """Return the ranges without the ticks that were fired, and without what the page that ended ``before`` has told."""
        if not ranges:
            return []
        first, last = min(each.first for each in ranges), max(each.last for each in ranges)
        left = [piece for each in ranges for piece in self._without_fired(each, before)]
        for backfill in await self._backfills.covering(self._workflow.workflow_id, first, last):
            left = [piece for each in left for piece in backfill.carved(each)]
        return left

    def _without_fired(self, unfired: Unfired, before: datetime | None) -> Sequence[Unfired]:
        fired = self._fired[bisect_left(self._fired, unfired.first) : bisect_right(self._fired, unfired.last)]
        gone = [(tick, tick + MILLISECOND) for tick in fired]
        if before is not None and unfired.first < before <= unfired.last and self._is_tick(before):
            gone.append((before, unfired.last + MILLISECOND))
        # A range that was told of another schedule is left as it is.
        if not gone or not unfired.is_of(self._trigger, self._workflow.anchor):
            return [unfired]
        left = [unfired]
        for start, end in gone:
            left = [piece for each in left for piece in each.without(self._trigger, self._workflow.anchor, start, end)]
        return left

    def _is_tick(self, at: datetime) -> bool:
        return next_due(self._trigger, self._workflow.anchor, at - MILLISECOND) == at


async def _fired(workflow_id: str, executions: Executions, before: datetime | None, limit: int) -> Sequence[Execution]:
    """Return the newest ``limit`` executions that came of ticks."""
    cursor = None if before is None else earliest_execution_id(before)
    where = ExecutionFilter(workflow_id=workflow_id, causes=_OF_TICKS)
    return await executions.list(where, before=cursor, limit=limit)
