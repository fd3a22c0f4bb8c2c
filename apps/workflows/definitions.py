"""Stores, changes and archives definitions, and tells the scheduler.

The scheduler is told on a topic so that it need not wait for its timer; when that fails, the timer finds the change.
"""

import dataclasses
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from actions.registry import WorkflowDefinition
from apps.workflows.errors import BadRequest, FieldError, PreconditionFailed, UnknownWorkflow
from apps.workflows.holding import fresh, rebounded, record_unfired, trigger_of
from apps.workflows.publishing import Publish
from domain.inputs import complete_input
from domain.occurrence import Unfired
from domain.trigger import ManualTrigger, OnceTrigger, Trigger, bounds_of, grid_of, max_runs_of, next_due
from events.records import WorkflowChanged
from events.topics import partition_of
from store.interfaces import Executions, Occurrences, VersionConflict, Workflow, Workflows

_TRIES = 20  # to archive, against a schedule that advances at the same time


async def create(definition: WorkflowDefinition, *, workflows: Workflows, announce: Publish, now: datetime) -> Workflow:
    """Store a new workflow; its schedule's grid stands on ``now``.

    Raises:
        WorkflowExists: the id is taken.
        BadRequest: its schedule would never run.
    """
    _check_that_it_runs(definition.trigger, now)
    stored = await workflows.create(
        Workflow(
            workflow_id=definition.workflow_id,
            version=1,
            definition=definition.to_document(),
            total_actions=len(definition.actions),
            shard=partition_of(definition.workflow_id),
            created_at=now,
            updated_at=now,
            anchor=now,
            next_run=next_due(definition.trigger, now, now),
            subscribed_at=None if definition.kafka is None else now,
            tick_input=_tick_input(definition),
        )
    )
    await _tell(announce, stored.workflow_id, stored.version)
    return stored


async def replace(
    definition: WorkflowDefinition,
    *,
    workflows: Workflows,
    executions: Executions,
    occurrences: Occurrences,
    announce: Publish,
    now: datetime,
    expected: int | None = None,
) -> Workflow:
    """Store the next version of a workflow; its grid and the count of its runs go on unless the schedule has changed.

    Where a schedule ends, and after how many runs, is no other schedule.

    ``expected`` is the version that the change was made to, if that matters.

    Raises:
        PreconditionFailed: it is not at the expected version.
        BadRequest: the new schedule would never run.
        UnknownWorkflow: there is none, or it is archived.
        VersionConflict: somebody else stored a version in between.
    """
    current = await current_workflow(definition.workflow_id, workflows)
    if expected is not None and current.version != expected:
        raise PreconditionFailed(definition.workflow_id, current.version)
    rescheduled = _rescheduled(current, definition.trigger, now)
    changed = dataclasses.replace(
        rescheduled,
        version=current.version + 1,
        definition=definition.to_document(),
        total_actions=len(definition.actions),
        updated_at=now,
        subscribed_at=_subscribed_at(current, definition, now),
        tick_input=_tick_input(definition),
    )
    missed: Unfired | None = None
    if rescheduled.anchor != current.anchor:
        missed = await record_unfired(current, executions=executions, occurrences=occurrences, now=now)
    stored = await workflows.replace(changed)
    if missed is not None:
        await occurrences.record(missed)
    await _tell(announce, stored.workflow_id, stored.version)
    return stored


async def check_schedule(definition: WorkflowDefinition, *, workflows: Workflows, now: datetime) -> None:
    """Check that a workflow would run if it were stored now: one that is there may have come to its end, a new one not.

    Raises:
        BadRequest: its schedule would never run.
    """
    current = await workflows.get(definition.workflow_id)
    if current is None or current.archived_at is not None:
        _check_that_it_runs(definition.trigger, now)
    else:
        _rescheduled(current, definition.trigger, now)


async def archive(
    workflow_id: str,
    *,
    workflows: Workflows,
    executions: Executions,
    occurrences: Occurrences,
    announce: Publish,
    now: datetime,
    expected: int | None = None,
) -> None:
    """Archive a workflow: nothing more is accepted; what is open or queued still runs, and its history stays.

    ``expected`` is the version that is meant, if that matters.

    Raises:
        PreconditionFailed: it is not at the expected version.
        UnknownWorkflow: there is none, or it is archived already.
        VersionConflict: its schedule moved on each time it was read.
    """
    for _ in range(_TRIES):
        current = await current_workflow(workflow_id, workflows)
        if expected not in (None, current.version):
            raise PreconditionFailed(workflow_id, current.version)
        missed = await record_unfired(current, executions=executions, occurrences=occurrences, now=now)
        if await workflows.archive(current, now):
            if missed is not None:
                await occurrences.record(missed)
            await _tell(announce, workflow_id, current.version)
            return
    raise VersionConflict(workflow_id, current.version)


async def current_workflow(workflow_id: str, workflows: Workflows) -> Workflow:
    """Return a workflow that is not archived.

    Raises:
        UnknownWorkflow: there is none, or it is archived.
    """
    workflow = await workflows.get(workflow_id)
    if workflow is None or workflow.archived_at is not None:
        raise UnknownWorkflow(workflow_id, is_archived=workflow is not None)
    return workflow


def _rescheduled(workflow: Workflow, trigger: Trigger, now: datetime) -> Workflow:
    """Return the workflow with the schedule of ``trigger``.

    Where that is the one it has, a tick that is due but not yet released stays due: its disposition must be recorded.
    """
    before = trigger_of(workflow)
    if grid_of(trigger) != grid_of(before):
        _check_that_it_runs(trigger, now)
        return fresh(workflow, trigger, now)
    if bounds_of(trigger) == bounds_of(before):
        return workflow
    changed = rebounded(workflow, trigger, now)
    if changed.next_run is None and changed.paused_at is None:
        raise _ended(trigger, changed.runs)
    return changed


def _subscribed_at(workflow: Workflow, definition: WorkflowDefinition, now: datetime) -> datetime | None:
    """Return when the subscription of a definition begins: one to the topic that is read already goes on."""
    if definition.kafka is None:
        return None
    before = workflow.subscribed
    return before.since if before is not None and before.topic == definition.kafka.topic else now


def _tick_input(definition: WorkflowDefinition) -> Mapping[str, Any] | None:
    """Return the input of ticks, which are given none: what is so by default."""
    if isinstance(definition.trigger, ManualTrigger):
        return None
    return complete_input({}, definition.input_schema) or None


def _check_that_it_runs(trigger: Trigger, now: datetime) -> None:
    if not isinstance(trigger, ManualTrigger) and next_due(trigger, now, now) is None:
        field = "trigger.at" if isinstance(trigger, OnceTrigger) else "trigger.endAt"
        raise BadRequest("The workflow is not valid.", [FieldError(field, "leaves no tick to come; name a later instant")])


def _ended(trigger: Trigger, runs: int) -> BadRequest:
    bound = max_runs_of(trigger)
    if bound is not None and runs >= bound:
        error = FieldError("trigger.maxRuns", f"leaves no tick to come, for {runs} have run; name a larger number")
    else:
        error = FieldError("trigger.endAt", "leaves no tick to come; name a later instant")
    return BadRequest("The workflow is not valid.", [error])


async def _tell(announce: Publish, workflow_id: str, version: int) -> None:
    await announce(workflow_id, WorkflowChanged(workflow_id=workflow_id, version=version))
