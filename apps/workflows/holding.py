"""What a pause holds: computed from where the schedule stood when it began, so that a pause costs nothing while it lasts."""

from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from pydantic import TypeAdapter

from apps.stored_definitions import reading
from domain.identifiers import tick_execution_id
from domain.instants import MILLISECOND
from domain.occurrence import Disposition, Unfired, count_ticks
from domain.trigger import ManualTrigger, Trigger, latest_due, max_runs_of, next_due
from store.interfaces import Due, Executions, Occurrences, Workflow

_TRIGGER: TypeAdapter[Any] = TypeAdapter(Trigger)
_BY_HAND: Final = ManualTrigger(type="manual")
_BY_HAND_DOCUMENT: Final = _BY_HAND.to_document()


def trigger_of(workflow: Workflow | Due) -> Trigger:
    """Return the trigger of a stored workflow.

    Raises:
        UnreadableVersion: it cannot be read here.
    """
    stored = workflow.trigger if isinstance(workflow, Due) else workflow.definition["trigger"]
    if stored == _BY_HAND_DOCUMENT:  # as it is of most that are triggered
        return _BY_HAND
    with reading(workflow.workflow_id, workflow.version):
        found: Trigger = _TRIGGER.validate_python(stored, by_alias=False, by_name=True)
    return found


async def record_unfired(
    workflow: Workflow, *, executions: Executions, occurrences: Occurrences, now: datetime
) -> Unfired | None:
    """Record which ticks were due up to now and not fired, for the schedule is about to change or to end.

    What a pause holds is held. What was due and is not fired yet (its jitter is not over, the schedulers are behind) will
    have been missed: it is returned, to be recorded when the schedule has changed. Until then it may be fired.
    """
    held = held_by(workflow, await first_held(workflow, executions), now)
    for unfired in (workflow.unfired, held):
        if unfired is not None:
            await occurrences.record(unfired)
    return _due(workflow, Disposition.MISSED, await _unless_fired(workflow, workflow.next_run, executions), now)


def held_by(workflow: Workflow, first: datetime | None, now: datetime) -> Unfired | None:
    """Return the ticks from ``first`` up to now, which the workflow's pause holds."""
    return _due(workflow, Disposition.HELD, first, now)


async def first_held(workflow: Workflow, executions: Executions) -> datetime | None:
    """Return the first tick that a pause holds: not one that was on its way when the pause began."""
    return await _unless_fired(workflow, workflow.held_from, executions)


def _due(workflow: Workflow, disposition: Disposition, first: datetime | None, now: datetime) -> Unfired | None:
    if first is None or first > now:
        return None
    trigger = trigger_of(workflow)
    last = latest_due(trigger, workflow.anchor, first, now)
    ticks = count_ticks(trigger, workflow.anchor, first, last)
    return Unfired(workflow.workflow_id, disposition, first, last, ticks)


async def _unless_fired(workflow: Workflow, first: datetime | None, executions: Executions) -> datetime | None:
    """Return ``first``, or the tick after it where that has an execution."""
    if first is not None and await executions.get(tick_execution_id(workflow.workflow_id, first)) is not None:
        return next_due(trigger_of(workflow), workflow.anchor, first)
    return first


def fresh(workflow: Workflow, trigger: Trigger, now: datetime) -> Workflow:
    """Return the workflow with a new schedule whose grid stands on ``now``; a pause goes on."""
    next_run = None if isinstance(trigger, ManualTrigger) else next_due(trigger, now, now)
    paused = workflow.paused_at is not None and next_run is not None
    return replace(
        workflow,
        anchor=now,
        next_run=None if paused else next_run,
        runs=0,
        unfired=None,
        paused_at=workflow.paused_at if paused else None,
        held_from=next_run if paused else None,
    )


def rebounded(workflow: Workflow, trigger: Trigger, now: datetime) -> Workflow:
    """Return the workflow with other bounds of its schedule, on the grid that it has; a pause goes on.

    A tick that is due but not yet released stays due where the new bounds include it. Without a next run, and not paused,
    the schedule has come to its end.
    """
    bound = max_runs_of(trigger)
    more = bound is None or workflow.runs < bound
    following = next_due(trigger, workflow.anchor, now) if more else None
    if workflow.paused_at is not None:
        return workflow if following is not None else replace(workflow, paused_at=None, held_from=None)
    due = workflow.next_run
    if due is not None and more and next_due(trigger, workflow.anchor, due - MILLISECOND) == due:
        return workflow
    return replace(workflow, next_run=following)
