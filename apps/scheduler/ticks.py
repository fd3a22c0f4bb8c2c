"""Ticks: a workflow is due, an execution comes of it.

Life cycle of a tick::

    due ─> its disposition ─┬─ fired:   1. admitted (inserted under its deterministic id, under the workflow's lock)
                            │           2. published
                            ├─ skipped: recorded as an execution that was skipped, because another one was still open
                            └─ missed:  passed over, because a later tick stands for it
                            3. next_run is advanced to the next instant of the grid, where it is still this tick

Each step is repeated safely. A crash after 1 leaves a pending execution, which the pass over unclaimed ones publishes, and
a ``next_run`` that the next pass fires again: the id is known already, so it only advances. A crash after 2 likewise. Two
schedulers at the same tick: one insert wins, one advance wins.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog
from pydantic import TypeAdapter, ValidationError

from apps.scheduler.agenda import Agenda, Entry, Key
from apps.scheduler.clock import Clock
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.durations import parse_duration
from domain.execution import Admission, Cause, Status, admit, deadline_of
from domain.identifiers import tick_execution_id
from domain.instants import instant
from domain.trigger import ManualTrigger, PeriodicTrigger, Trigger, next_due
from store.interfaces import Admitted, AlreadyAdmitted, Due, Executions, Locked, StoreUnavailable, Workflow, Workflows

log = structlog.get_logger(__name__)

KIND = "tick"
_TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)

# How often admission is asked again when the holder of the lock ended while it was being refused.
ADMISSION_TRIES = 3


@dataclass(frozen=True)
class Disposition:
    """What becomes of the ticks from ``next_run`` up to now."""

    fire: datetime  # the one that is fired (or skipped, where another execution is open)
    missed: tuple[datetime, datetime] | None  # first and last of those that are passed over
    next_run: datetime | None


def latest_due(trigger: Trigger, anchor: datetime, due: datetime, now: datetime) -> datetime:
    """Return the last due instant from ``due`` up to ``now``."""
    if not isinstance(trigger, PeriodicTrigger) or now <= due:
        return due
    interval = parse_duration(trigger.interval)
    return max(due, anchor + (now - anchor) // interval * interval)


def dispose(trigger: Trigger, anchor: datetime, due: datetime, now: datetime, misfire_after: timedelta) -> Disposition:
    """Give every tick from ``due`` up to ``now`` its disposition, by the misfire policy ``last``.

    A tick that is late by no more than ``misfire_after`` is fired, however many follow it; of older ones the last is fired
    and stands for all.
    """
    latest = due if now - due <= misfire_after else latest_due(trigger, anchor, due, now)
    missed = None
    if latest > due:
        step = parse_duration(trigger.interval) if isinstance(trigger, PeriodicTrigger) else timedelta()
        missed = (due, latest - step)
    return Disposition(fire=latest, missed=missed, next_run=next_due(trigger, anchor, latest))


class Ticks:
    """Arms ticks and fires them."""

    def __init__(
        self,
        *,
        executions: Executions,
        workflows: Workflows,
        publisher: Publisher,
        agenda: Agenda,
        clock: Clock,
        lookahead: timedelta,
        misfire_after: timedelta,
        metrics: Metrics,
    ) -> None:
        self._executions = executions
        self._workflows = workflows
        self._publisher = publisher
        self._agenda = agenda
        self._clock = clock
        self._lookahead = lookahead
        self._misfire_after = misfire_after
        self._metrics = metrics

    async def read(self) -> int:
        """Arm everything that is due within the lookahead, disarm what no longer is, and return how many are due.

        Raises:
            StoreUnavailable: the store cannot be reached; what was read until then is armed.
        """
        serial = self._agenda.serial
        until = self._clock() + self._lookahead
        found: set[Key] = set()
        async for due in self._workflows.due(until, self._agenda.shards):
            found.add(_key(due.workflow_id))
            self.arm(due)
        self._agenda.retain(KIND, found, until=until, serial=serial)
        return len(found)

    def arm(self, due: Due) -> None:
        """Arm the next tick of a workflow."""
        self._agenda.arm(
            Entry(
                key=_key(due.workflow_id),
                workflow_id=due.workflow_id,
                shard=due.shard,
                due=due.next_run,
                revision=due.version,
                act=lambda: self.fire(due),
            )
        )

    def announce(self, workflow_id: str, shard: int) -> None:
        """Re-read a workflow as soon as there is a place: its definition was stored, changed or archived."""
        self._agenda.arm(
            Entry(
                key=("changed", workflow_id),
                workflow_id=workflow_id,
                shard=shard,
                due=self._clock(),
                act=lambda: self.refresh(workflow_id),
            )
        )

    async def refresh(self, workflow_id: str) -> None:
        """Read one workflow and arm or disarm its next tick."""
        try:
            workflow = await self._workflows.get(workflow_id)
        except StoreUnavailable as error:
            log.warning("workflow not read; left to the next pass", workflow_id=workflow_id, error=str(error))
            return
        due = _due(workflow) if workflow is not None else None
        if due is None:
            self._agenda.disarm(_key(workflow_id))
            return
        armed = self._agenda.armed(_key(workflow_id))
        if armed is not None and armed.rank < (due.version, due.next_run):
            self._agenda.disarm(_key(workflow_id))
        self._arm_if_soon(due)

    async def fire(self, due: Due) -> None:
        """Fire the tick that is due, and arm the next one if it is due soon."""
        now = self._clock()
        try:
            trigger = _TRIGGER.validate_python(dict(due.trigger), by_alias=False, by_name=True)
        except ValidationError as error:
            log.error("trigger not understood; not fired", workflow_id=due.workflow_id, error=str(error))
            return
        try:
            if isinstance(trigger, ManualTrigger):
                await self._workflows.advance(due.workflow_id, due.next_run, None)
                return
            disposition = dispose(trigger, due.anchor, due.next_run, now, self._misfire_after)
            await self._carry_out(due, disposition.fire, now)
            advanced = await self._workflows.advance(due.workflow_id, due.next_run, disposition.next_run)
        except StoreUnavailable as error:
            log.warning("tick not fired; left to the next pass", workflow_id=due.workflow_id, error=str(error))
            return
        if not advanced:
            # Somebody else fired it, or changed the workflow: what is next is for the database to say.
            await self.refresh(due.workflow_id)
            return
        if disposition.missed is not None:
            first, last = disposition.missed
            self._metrics.ticks.labels("missed").inc()
            log.warning("ticks missed", workflow_id=due.workflow_id, first=first.isoformat(), last=last.isoformat())
        if disposition.next_run is not None:
            self._arm_if_soon(replace(due, next_run=disposition.next_run))

    async def _carry_out(self, due: Due, tick: datetime, now: datetime) -> None:
        """Fire the tick, or record it as skipped."""
        admission = Admission(
            execution_id=tick_execution_id(due.workflow_id, tick),
            workflow_id=due.workflow_id,
            version=due.version,
            cause=Cause.SCHEDULE,
            created_at=instant(now),
            retries_left=due.retries,
            total_actions=due.total_actions,
            shard=due.shard,
            due_at=tick,
            lock_key=due.workflow_id,
            deadline=deadline_of(instant(now), due.timeout),
        )
        answer = await self._executions.admit(admission)
        for _ in range(ADMISSION_TRIES - 1):
            if isinstance(answer, Locked) and not answer.execution_id:
                answer = await self._executions.admit(admission)
        if isinstance(answer, Admitted):
            self._metrics.ticks.labels("fired").inc()
            await self._publisher.request(admit(admission))
        elif isinstance(answer, AlreadyAdmitted) or answer.execution_id == admission.execution_id:
            await self._mend(admission.execution_id)
        else:
            await self._skip(admission, answer)

    async def _skip(self, admission: Admission, lock: Locked) -> None:
        """Record the tick as skipped, under its own id: overlap policy ``skip``."""
        holder = f"execution {lock.execution_id}" if lock.execution_id else "another execution"
        skipped = replace(admission, lock_key=None, reason=f"skipped: {holder} is still open")
        answer = await self._executions.admit(skipped)
        if isinstance(answer, Admitted):
            self._metrics.ticks.labels("skipped").inc()
            await self._publisher.ended(admit(skipped))
        else:
            await self._mend(admission.execution_id)

    async def _mend(self, execution_id: str) -> None:
        """Finish a tick that was admitted before: by a scheduler that crashed since, or by another one just now.

        A pending execution is published by the pass over unclaimed ones; nobody else tells of a skipped one.
        """
        self._metrics.ticks.labels("repeated").inc()
        execution = await self._executions.get(execution_id)
        if execution is not None and execution.status is Status.SKIPPED:
            await self._publisher.ended(execution)

    def _arm_if_soon(self, due: Due) -> None:
        if due.next_run <= self._clock() + self._lookahead:
            self.arm(due)


def _key(workflow_id: str) -> Key:
    return (KIND, workflow_id)


def _due(workflow: Workflow) -> Due | None:
    """Return what is needed to fire the next tick of ``workflow``, None where it has none."""
    if workflow.next_run is None or workflow.archived_at is not None:
        return None
    definition: Mapping[str, Any] = workflow.definition
    return Due(
        workflow_id=workflow.workflow_id,
        version=workflow.version,
        trigger=definition["trigger"],
        retries=definition["retries"],
        total_actions=workflow.total_actions,
        shard=workflow.shard,
        anchor=workflow.anchor,
        next_run=workflow.next_run,
        timeout=definition.get("timeout"),
    )
