"""Backfills: works off, tick by tick, the ranges of the past that somebody asked for (:mod:`domain.backfill`).

Life cycle of a backfilled tick::

    next in the range ─┬─ has an execution: passed over
                       └─ has none ─ a place is free, and it is time by the rate ─┬─ 1. admitted, under the id of the tick
                                                                                  ├─ 2. published
                                                                                  └─ 3. the backfill moves to the next one

Each step is repeated safely, like those of a tick (:mod:`apps.scheduler.ticks`): after a crash behind 1 or 2 the tick has
its execution, by this backfill, and is counted when it is met again; what was not published, the pass over unclaimed
executions publishes. Everything is in the database, and whoever owns the workflow's shard goes on from there.

A backfill waits for its turn: as long as it has executions open, as long as the place that it may run in is taken, and as
long as anything is queued. It finds out by looking again, once a second or as often as its rate asks for; whoever is queued
behind one of its executions is released at that look. At most one backfill of a workflow runs, so the load is bounded.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import structlog

from apps.backfilling import ended_since, is_beyond
from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.clock import Clock
from apps.scheduler.line import Line
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.backfill import Backfill
from domain.execution import Admission, Cause, admit, deadline_of
from domain.identifiers import tick_execution_id
from domain.instants import instant
from domain.overlap import Overlap
from domain.rates import parse_rate
from store.interfaces import Admitted, Executions, StoreUnavailable, Workflow, Workflows
from store.interfaces import Backfills as Stored

log = structlog.get_logger(__name__)

KIND = "backfill"
LOOK = timedelta(seconds=1)  # longest time between two looks while it waits for its turn
_LOOKED_UP: Final = 64  # ticks at once, whether they have run already


class Backfills:
    """Gives ticks of the past their executions."""

    def __init__(
        self,
        *,
        backfills: Stored,
        executions: Executions,
        workflows: Workflows,
        publisher: Publisher,
        line: Line,
        agenda: Agenda,
        clock: Clock,
        lookahead: timedelta,
        retention: timedelta,
        page: int,
        metrics: Metrics,
    ) -> None:
        self._backfills = backfills
        self._executions = executions
        self._workflows = workflows
        self._publisher = publisher
        self._line = line
        self._agenda = agenda
        self._clock = clock
        self._lookahead = lookahead
        self._retention = retention
        self._page = page
        self._metrics = metrics

    async def read(self) -> None:
        """Arm every backfill that goes on within the lookahead.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        for backfill in await self._backfills.waking(self._clock() + self._lookahead, self._agenda.shards, self._page):
            if backfill.wake_at is not None:
                self._arm(backfill, backfill.wake_at)

    def announce(self, workflow_id: str, shard: int) -> None:
        """Begin with a backfill that was just asked for."""
        self._agenda.arm(
            Entry(
                key=("backfill-asked", workflow_id),
                workflow_id=workflow_id,
                shard=shard,
                due=self._clock(),
                act=lambda: self._begin(workflow_id),
            )
        )

    async def _begin(self, workflow_id: str) -> None:
        try:
            backfill = await self._backfills.running(workflow_id)
        except StoreUnavailable as error:
            log.warning("backfill not read; left to the next pass", workflow_id=workflow_id, error=str(error))
            return
        if backfill is not None and backfill.wake_at is not None:
            self._arm(backfill, backfill.wake_at)

    def _arm(self, backfill: Backfill, due: datetime) -> None:
        self._agenda.arm(
            Entry(
                key=(KIND, backfill.backfill_id),
                workflow_id=backfill.workflow_id,
                shard=backfill.shard,
                due=due,
                revision=backfill.revision,
                act=lambda: self.step(backfill.backfill_id),
            )
        )

    async def step(self, backfill_id: str) -> None:
        """Do what can be done now: see executions end, pass over ticks that have run, give the next one its execution."""
        try:
            backfill = await self._backfills.get(backfill_id)
            if backfill is None or not backfill.is_open:
                return
            backfill = await self._step(backfill)
        except StoreUnavailable as error:
            log.warning("backfill left to the next pass", backfill_id=backfill_id, error=str(error))
            return
        if backfill is not None and backfill.wake_at is not None:
            again = self._clock() + min(parse_rate(backfill.rate), LOOK)
            self._arm(backfill, max(backfill.wake_at, again) if not backfill.open else again)

    async def _step(self, backfill: Backfill) -> Backfill | None:
        """Return the backfill as it stands now; None where somebody else has moved it."""
        workflow = await self._workflows.get(backfill.workflow_id)
        now = instant(self._clock())
        if workflow is None or workflow.archived_at is not None:
            return await self._save(backfill.cancelled("the workflow was archived", now))
        settled: Backfill | None = backfill
        if ended := await ended_since(backfill, self._executions):
            settled = await self._save(backfill.settling(ended))
            self._line.announce(backfill.workflow_id, backfill.shard)
        if settled is None or len(settled.open) >= settled.at_once:
            return settled
        passed = await self._pass_over(settled, now)
        if passed is None or not passed.is_open:
            return passed
        if passed.position is None:
            return passed if passed.open else await self._save(passed.done(now))
        if is_beyond(passed.position, now, self._retention) and not passed.beyond_retention:
            reason = f"the ticks from {passed.position.isoformat()} on are older than the retention of executions by now"
            return await self._save(passed.cancelled(reason, now))
        if passed.wake_at is not None and passed.wake_at > now:
            return passed
        return await self._give(passed, passed.position, workflow, now)

    async def _pass_over(self, backfill: Backfill, now: datetime) -> Backfill | None:
        """Move to the first tick that has no execution."""
        moved: Backfill | None = backfill
        while moved is not None and moved.is_open and moved.position is not None:
            found = await self._executions.get(tick_execution_id(moved.workflow_id, moved.position))
            if found is None:
                break
            if found.cause is Cause.BACKFILL and found.created_at >= moved.created_at:
                # By us, or by whoever worked at it before and died; it can be no other than the next tick.
                moved = await self._save(moved.starting(moved.position, now))
            else:
                moved = await self._save(moved.passing(await self._run_already(moved)))
        return moved

    async def _run_already(self, backfill: Backfill) -> Sequence[datetime]:
        """Return the next tick, which has an execution, and those right after it that have one too."""
        ticks = backfill.coming(_LOOKED_UP)
        ids = [tick_execution_id(backfill.workflow_id, tick) for tick in ticks]
        known = await self._executions.states(ids)
        return ticks[: next((number for number, each in enumerate(ids) if each not in known), len(ids)) or 1]

    async def _give(self, backfill: Backfill, tick: datetime, workflow: Workflow, now: datetime) -> Backfill | None:
        """Give a tick its execution, where it is the backfill's turn."""
        if await self._executions.line(backfill.workflow_id):
            # They gave way to one of ours. The runners tell of a free place only where the policy queues.
            self._line.announce(backfill.workflow_id, backfill.shard)
            return backfill
        places = Overlap.of(workflow.definition.get("overlap")).places_of_backfill(backfill.workflow_id)
        taken = await self._executions.holders(places)
        place = next((place for place in places if place not in taken), None)
        if place is None:
            return backfill
        admission = _admission(backfill, tick, place, workflow, now)
        if not isinstance(await self._executions.admit(admission), Admitted):
            return backfill  # taken in the meantime, or fired by somebody: the next look tells
        self._metrics.ticks.labels("backfilled").inc()
        await self._publisher.request(admit(admission))
        return await self._moved_on(backfill, tick, now)

    async def _moved_on(self, backfill: Backfill, tick: datetime, now: datetime) -> Backfill | None:
        """Note that a tick has its execution, also where the backfill was cancelled meanwhile."""
        found: Backfill | None = backfill
        while found is not None and found.position == tick:
            moved = await self._save(found.starting(tick, now))
            if moved is not None:
                return moved
            found = await self._backfills.get(backfill.backfill_id)
        return found

    async def _save(self, changed: Backfill) -> Backfill | None:
        if not await self._backfills.save(changed):
            return None
        if not changed.is_open:
            log.info(
                "backfill ended",
                backfill_id=changed.backfill_id,
                workflow_id=changed.workflow_id,
                status=changed.status.value,
                started=changed.started,
                failed=changed.failed,
                reason=changed.reason,
            )
        return changed


def _admission(backfill: Backfill, tick: datetime, place: str, workflow: Workflow, now: datetime) -> Admission:
    definition = workflow.definition
    return Admission(
        execution_id=tick_execution_id(backfill.workflow_id, tick),
        workflow_id=backfill.workflow_id,
        version=workflow.version,
        cause=Cause.BACKFILL,
        created_at=now,
        retries_left=definition["retries"],
        total_actions=workflow.total_actions,
        shard=backfill.shard,
        due_at=tick,
        input=workflow.tick_input,
        lock_key=place,
        deadline=deadline_of(now, definition.get("timeout")),
    )
