"""Ticks: a workflow is due, an execution comes of it.

Life cycle of a tick::

    due ─> its disposition ─┬─ fired:   1. admitted (inserted under its deterministic id, by the overlap policy)
                            │           2. published, at its instant and never before
                            │           3. the schedule is advanced to the next instant, where it is still at this one
                            ├─ skipped: another execution was open
                            ├─ missed:  too late, by the misfire policy
                            └─ held:    the schedule was paused (not seen here: a paused workflow has no next run)

Each step is repeated safely. A crash after 1 leaves a pending execution, which the pass over unclaimed ones publishes, and a
schedule that the next pass fires again: the id is known already, so it only advances. Two schedulers at the same tick: one
insert wins, one advance wins. A tick that is not fired is noted in the very update that advances the schedule (``unfired``,
see :mod:`store.occurrences`). Should an insert come after that, because it took its time, it is withdrawn: by whoever made
it and cannot advance the schedule any more, or by whoever finds it unclaimed.

To be punctual, a tick is admitted ``lead`` before its instant or up to twice as early, with whatever else is due around then
in one write, and its publication is armed as an entry of its own. Whether it overlaps is not decided early: when the place
is taken then, it is asked for again at the instant.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import replace
from datetime import datetime, timedelta

import structlog
from pydantic import TypeAdapter, ValidationError

from apps.admission import Opened, admit_under
from apps.scheduler.agenda import Agenda, Entry, Key
from apps.scheduler.clock import Clock
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.execution import Admission, Cause, Execution, admit, deadline_of
from domain.identifiers import tick_execution_id
from domain.instants import EPOCH, MILLISECOND, instant
from domain.misfire import judge
from domain.occurrence import COUNTED, Disposition, Unfired, count_ticks
from domain.overlap import Overlap
from domain.trigger import ManualTrigger, Trigger, jitter_of, max_runs_of, next_due, step_of
from store.interfaces import (
    Admitted,
    Advance,
    AlreadyAdmitted,
    Due,
    Executions,
    Locked,
    Occurrences,
    StoreUnavailable,
    Workflows,
)

log = structlog.get_logger(__name__)

KIND = "tick"
_ARMED_AT_ONCE = 20
_DOUBTFUL = timedelta(seconds=1)  # so long after its instant, somebody else may have decided on a tick already
_TRIGGER: TypeAdapter[Trigger] = TypeAdapter(Trigger)


class Ticks:
    """Arms ticks and fires them."""

    def __init__(
        self,
        *,
        executions: Executions,
        workflows: Workflows,
        occurrences: Occurrences,
        publisher: Publisher,
        agenda: Agenda,
        clock: Clock,
        lookahead: timedelta,
        lead: timedelta,
        misfire_after: timedelta,
        metrics: Metrics,
    ) -> None:
        self._executions = executions
        self._workflows = workflows
        self._occurrences = occurrences
        self._publisher = publisher
        self._agenda = agenda
        self._clock = clock
        self._lookahead = lookahead
        self._lead = lead
        self._misfire_after = misfire_after
        self._metrics = metrics

    async def read(self) -> int:
        """Arm everything that is due within the lookahead, disarm what no longer is, and return how many are due.

        Raises:
            StoreUnavailable: the store cannot be reached; what was read until then is armed.
        """
        if self._agenda.is_swamped:
            return 0  # what it found would have to wait, and reading it takes from the database what that waits for
        serial = self._agenda.serial
        until = self._clock() + self._lookahead
        found: set[Key] = set()
        async for due in self._workflows.due(until, self._agenda.shards):
            found.add(_key(due.workflow_id))
            self.arm(due)
            if len(found) % _ARMED_AT_ONCE == 0:
                await asyncio.sleep(0)  # what is due now is not to wait for what will be
        self._agenda.retain(KIND, found, until=until, serial=serial)
        return len(found)

    def arm(self, due: Due) -> None:
        """Arm the next tick of a workflow, a little before the instant at which it is to be released."""
        trigger = self._trigger(due)
        if trigger is None:
            return
        decision = self._agenda.under_way(("decide", due.workflow_id))
        if decision is not None and decision.rank == (due.version, due.next_run):
            return  # of two that decide on one tick, one might fire what the other skips
        release = _release(due, trigger)
        self._agenda.arm(
            Entry(
                key=_key(due.workflow_id),
                workflow_id=due.workflow_id,
                shard=due.shard,
                due=self._begin(release),
                instant=due.next_run,
                revision=due.version,
                act=lambda: self.prepare(due),
            )
        )

    def _begin(self, release: datetime) -> datetime:
        """Return when to begin with a tick: those of about the same time together, for a write of many costs little more."""
        begin = release - self._lead
        return begin - (begin - EPOCH) % self._lead if self._lead else begin

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
        due = Due.of(workflow) if workflow is not None else None
        if due is None:
            self._agenda.disarm(_key(workflow_id))
            self._agenda.disarm(("decide", workflow_id))
            return
        armed = self._agenda.armed(_key(workflow_id))
        if armed is not None and armed.rank < (due.version, due.next_run):
            self._agenda.disarm(_key(workflow_id))
        self._arm_if_soon(due)

    async def prepare(self, due: Due) -> None:
        """Admit the tick shortly before its instant and arm its publication; fire it where it is too late for that."""
        trigger = self._trigger(due)
        if trigger is None:
            return
        release = _release(due, trigger)
        now = self._clock()
        # Whoever is queued comes first, so a workflow with a line is not admitted early.
        if now < release and due.overlap is not None and due.overlap.get("policy") == "queue":
            self._decide_at(release, due)
        elif now >= release:
            self._metrics.released(KIND, now - release)
            await self._attempt(due, self._fire(due, trigger))
        else:
            await self._attempt(due, self._admit_early(due, trigger, release))

    async def fire(self, due: Due) -> None:
        """Give the tick its disposition now."""
        trigger = self._trigger(due)
        if trigger is not None:
            await self._attempt(due, self._fire(due, trigger))

    async def _attempt(self, due: Due, step: Awaitable[None]) -> None:
        try:
            await step
        except StoreUnavailable as error:
            log.warning("tick not fired; left to the next pass", workflow_id=due.workflow_id, error=str(error))

    async def _admit_early(self, due: Due, trigger: Trigger, release: datetime) -> None:
        admission = _admission(due, release)
        answer = await self._executions.admit(replace(admission, lock_key=due.workflow_id))
        if isinstance(answer, Admitted):
            execution = admit(replace(admission, lock_key=due.workflow_id))
            publication = Entry(
                key=("publish", execution.execution_id),
                workflow_id=due.workflow_id,
                shard=due.shard,
                due=release,
                act=lambda: self._publish(execution, release),
                promised=True,
            )
            self._agenda.arm(publication)
            self._metrics.ticks.labels("fired").inc()
            if not await self._advance_fired(due, trigger) and self._agenda.armed(publication.key):
                # Not armed while that is looked up: what is published must not be withdrawn any more.
                self._agenda.disarm(publication.key)
                if not await self.withdraw_if_passed_over(execution):
                    self._agenda.arm(publication)
        elif isinstance(answer, AlreadyAdmitted):
            self._metrics.ticks.labels("repeated").inc()
            await self._advance_fired(due, trigger)
        else:
            self._decide_at(release, due)

    def _decide_at(self, release: datetime, due: Due) -> None:
        self._agenda.arm(
            Entry(
                key=("decide", due.workflow_id),
                workflow_id=due.workflow_id,
                shard=due.shard,
                due=release,
                instant=due.next_run,
                revision=due.version,
                act=lambda: self.fire(due),
            )
        )

    async def _fire(self, due: Due, trigger: Trigger) -> None:
        if isinstance(trigger, ManualTrigger):
            await self._advance(due, Advance(None))
            return
        now = self._clock()
        if now - _release(due, trigger) > self._misfire_after:
            late = await self._pass_over_missed(due, trigger, now)
            if late is None:
                return
            due = late
        release = _release(due, trigger)
        answer = await admit_under(
            Overlap.of(due.overlap),
            _admission(due, now),
            executions=self._executions,
            tell_ended=self._publisher.ended,
            now=instant(now),
        )
        if isinstance(answer, Locked):
            self._metrics.ticks.labels(Disposition.SKIPPED.value).inc()
            skipped = Unfired(
                due.workflow_id, Disposition.SKIPPED, due.next_run, due.next_run, holder=answer.execution_id or None
            )
            self._arm_if_soon(await self._advance_unfired(due, skipped, self._next(trigger, due, due.next_run)))
            return
        if isinstance(answer, Opened):
            self._metrics.ticks.labels("fired").inc()
            if answer.publish is not None and self._clock() - release > _DOUBTFUL:
                if await self._advance_fired(due, trigger) or not await self.withdraw_if_passed_over(answer.publish):
                    await self._publish(answer.publish, release)
                return
            if answer.publish is not None:
                await self._publish(answer.publish, release)
        else:
            # Admitted before, by a scheduler that crashed since or by another one just now; if it is still pending, the
            # pass over unclaimed ones publishes it.
            self._metrics.ticks.labels("repeated").inc()
        await self._advance_fired(due, trigger)

    async def _pass_over_missed(self, due: Due, trigger: Trigger, now: datetime) -> Due | None:
        """Pass over what the misfire policy says is missed, and return the tick to fire now; None where there is none.

        That one is not to wait its turn again: where all are late, it would be too late each time, and nothing ever ran.
        """
        judgement = judge(trigger, due.anchor, due.next_run, now, self._misfire_after, workflow_id=due.workflow_id)
        if judgement.missed_until is None:
            return due
        if await self._executions.get(tick_execution_id(due.workflow_id, due.next_run)) is not None:
            # It was fired, and its scheduler died before it could say so; the ones after it were not.
            self._metrics.ticks.labels("repeated").inc()
            await self._advance_fired(due, trigger)
            return None
        missed = Unfired(
            due.workflow_id,
            Disposition.MISSED,
            due.next_run,
            judgement.missed_until,
            count_ticks(trigger, due.anchor, due.next_run, judgement.missed_until),
        )
        self._metrics.ticks.labels(Disposition.MISSED.value).inc(missed.ticks or COUNTED)
        log.warning(
            "ticks missed",
            workflow_id=due.workflow_id,
            first=missed.first.isoformat(),
            last=missed.last.isoformat(),
            ticks=missed.ticks,
        )
        following = await self._advance_unfired(due, missed, judgement.fire)
        if following is not None and _release(following, trigger) <= now:
            return following
        self._arm_if_soon(following)
        return None

    async def withdraw_if_passed_over(self, execution: Execution) -> bool:
        """Withdraw a tick that was admitted, but has another disposition by now; True where that is so.

        Its insert may have taken its time (a suspended process, a database that stood still), and the place was free again.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        tick = execution.due_at
        if tick is None or execution.epoch != 1 or execution.cause is not Cause.SCHEDULE:
            return False
        if not await self._is_passed_over(execution.workflow_id, tick):
            return False
        withdrawn = await self._executions.withdraw(execution.execution_id)
        if withdrawn:
            log.info("tick withdrawn: it was passed over meanwhile", execution_id=execution.execution_id)
        return withdrawn

    async def _is_passed_over(self, workflow_id: str, tick: datetime) -> bool:
        # One after the other: what the workflow does not name any more has been recorded before.
        workflow = await self._workflows.get(workflow_id)
        if workflow is not None and workflow.held_from is not None and workflow.held_from <= tick:
            return True
        newest = [] if workflow is None or workflow.unfired is None else [workflow.unfired]
        kept = await self._occurrences.list(workflow_id, before=tick + MILLISECOND, limit=1)
        return any(each.first <= tick <= each.last for each in (*newest, *kept))

    async def _publish(self, execution: Execution, release: datetime) -> None:
        if await self._publisher.request(execution):
            self._metrics.published(self._clock() - release)

    def _next(self, trigger: Trigger, due: Due, after: datetime) -> datetime | None:
        return next_due(trigger, due.anchor, after)

    async def _advance_fired(self, due: Due, trigger: Trigger) -> bool:
        if due.unfired is not None:
            await self._occurrences.record(due.unfired)
        bound = max_runs_of(trigger)
        if bound is None:
            advance = Advance(self._next(trigger, due, due.next_run), step=step_of(trigger))
        else:
            runs = due.runs + 1
            advance = Advance(self._next(trigger, due, due.next_run) if runs < bound else None, runs)
        advanced = await self._advance(due, advance)
        if advanced:
            self._arm_if_soon(_following(due, advance))
        return advanced

    async def _advance_unfired(self, due: Due, unfired: Unfired, next_run: datetime | None) -> Due | None:
        """Advance the schedule past these ticks, and return how it goes on; None where it does not, or not from here."""
        joined = due.unfired.joined(unfired) if due.unfired is not None else unfired
        if joined is None and due.unfired is not None:
            await self._occurrences.record(due.unfired)
        advance = Advance(next_run, unfired=joined or unfired)
        return _following(due, advance) if await self._advance(due, advance) else None

    async def _advance(self, due: Due, advance: Advance) -> bool:
        """Advance the schedule; False where it is not at this tick any more."""
        advanced = await self._workflows.advance(due.workflow_id, due.version, due.next_run, advance)
        if not advanced:
            await self.refresh(due.workflow_id)
        return advanced

    def _trigger(self, due: Due) -> Trigger | None:
        try:
            return _TRIGGER.validate_python(dict(due.trigger), by_alias=False, by_name=True)
        except ValidationError as error:
            log.error("trigger not understood; not fired", workflow_id=due.workflow_id, error=str(error))
            return None

    def _arm_if_soon(self, due: Due | None) -> None:
        if due is not None and due.next_run <= self._clock() + self._lookahead:
            self.arm(due)


def _key(workflow_id: str) -> Key:
    return (KIND, workflow_id)


def _following(due: Due, advance: Advance) -> Due | None:
    """Return a schedule as an advance leaves it; None where it is over."""
    if advance.next_run is None:
        return None
    runs = due.runs if advance.runs is None else advance.runs
    return replace(due, next_run=advance.next_run, runs=runs, unfired=advance.unfired)


def _release(due: Due, trigger: Trigger) -> datetime:
    """Return when the tick is to be released: at its instant, or after its jitter."""
    return due.next_run + jitter_of(trigger, due.anchor, due.workflow_id, due.next_run)


def _admission(due: Due, at: datetime) -> Admission:
    return Admission(
        execution_id=tick_execution_id(due.workflow_id, due.next_run),
        workflow_id=due.workflow_id,
        version=due.version,
        cause=Cause.SCHEDULE,
        created_at=instant(at),
        retries_left=due.retries,
        total_actions=due.total_actions,
        shard=due.shard,
        due_at=due.next_run,
        input=due.tick_input,
        deadline=deadline_of(instant(at), due.timeout),
    )
