"""What schedules will do, are told not to do, and have done.

A pause takes the next run away, so that a paused workflow costs nothing however long the pause is; the ticks that it holds
are computed when somebody asks, and recorded as one range when it ends. The grid goes on: after it, the next run is the next
instant of the schedule, as if there had been no pause.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from apps.workflows.definitions import current_workflow
from apps.workflows.errors import NoTicks
from apps.workflows.holding import first_held, held_by, trigger_of
from apps.workflows.publishing import Publish
from domain.execution import Cause, Execution
from domain.identifiers import earliest_execution_id
from domain.occurrence import Unfired
from domain.trigger import Trigger, max_runs_of, next_due
from events.records import WorkflowChanged
from store.interfaces import Advance, ExecutionFilter, Executions, Occurrences, VersionConflict, Workflow, Workflows

_TRIES = 20  # of a pause, against a schedule that advances at the same time


def coming(trigger: Trigger, anchor: datetime, first: datetime | None, count: int) -> list[datetime]:
    """Return the next ``count`` due instants, from ``first`` on, which is one."""
    found: list[datetime] = []
    while first is not None and len(found) < count:
        found.append(first)
        first = next_due(trigger, anchor, first)
    return found


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
        VersionConflict: its schedule moved on each time it was read.
    """
    for _ in range(_TRIES):
        workflow = await current_workflow(workflow_id, workflows)
        if workflow.paused_at is not None:
            return workflow
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
    """
    workflow = await current_workflow(workflow_id, workflows)
    if workflow.paused_at is None:
        return workflow
    first = await first_held(workflow, executions)
    held = held_by(workflow, first, now)
    unfired = workflow.unfired
    if held is not None:
        first = next_due(trigger_of(workflow), workflow.anchor, held.last)
        if unfired is not None:
            await occurrences.record(unfired)
        unfired = held
    if await workflows.resume(workflow_id, workflow.paused_at, Advance(first, unfired=unfired)):
        await announce(workflow_id, WorkflowChanged(workflow_id=workflow_id, version=workflow.version))
    return await current_workflow(workflow_id, workflows)


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
    before: datetime | None,
    limit: int,
    now: datetime,
) -> Page:
    """Return what became of the due ticks of a workflow, newest first: executions, and ranges of those not fired."""
    ranges = {each.first: each for each in await occurrences.list(workflow.workflow_id, before=before, limit=limit + 1)}
    newest = [workflow.unfired]
    if workflow.paused_at is not None and (before is None or before > workflow.paused_at):
        newest.append(held_by(workflow, await first_held(workflow, executions), now))
    for each in newest:
        if each is not None and (before is None or each.first < before):
            known = ranges.get(each.first)
            ranges[each.first] = each if known is None or known.last < each.last else known
    found: list[tuple[datetime, Execution | Unfired]] = list(ranges.items())
    fired = await _fired(workflow.workflow_id, executions, before, limit + 1)
    found += [(each.due_at, each) for each in fired if each.due_at is not None]
    found.sort(key=lambda pair: pair[0], reverse=True)
    page = found[:limit]
    return Page([each for _, each in page], page[-1][0] if len(found) > limit else None)


async def _fired(workflow_id: str, executions: Executions, before: datetime | None, limit: int) -> Sequence[Execution]:
    """Return the newest ``limit`` executions that came of ticks."""
    cursor = None if before is None else earliest_execution_id(before)
    where = ExecutionFilter(workflow_id=workflow_id, cause=Cause.SCHEDULE)
    return await executions.list(where, before=cursor, limit=limit)
