"""Orphans: executions that nobody looks after any more.

- *Unclaimed*: pending, handed out a while ago, and no runner has started it although the runners are past it (see
  :mod:`apps.scheduler.taken`): the request was never published, or got lost. It is published anew under a new epoch, so that
  the older request, should it turn up, is stale. The next time it is left alone for twice as long; and while no runner lives
  at all, nothing is published, for nobody could take it.
- *Lost*: running, but its runner is dead (:mod:`apps.scheduler.watch`). It is started anew, resuming at the first action
  without a recorded success; one that has lost too many runners is given up, for it may be what kills them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from apps.scheduler.agenda import Agenda, Entry, Key
from apps.scheduler.clock import Clock, Monotonic
from apps.scheduler.endings import Endings
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from apps.scheduler.taken import LogUnavailable, Taken
from apps.scheduler.watch import Watch
from domain.execution import Execution, Restart
from domain.instants import instant
from store.interfaces import Executions, Runners, StoreUnavailable

log = structlog.get_logger(__name__)

# An unclaimed execution is published again after republish_after, then 2, 4, 8 … times that, and so on up to this factor.
LONGEST_BACKOFF = 64
# What follows may be hundreds of ticks that are late as well, and share the database.
_AHEAD_OF_OTHERS = 1.5  # seconds


@dataclass
class _Patience:
    """How often an unclaimed execution was published again, and until when it is left alone."""

    times: int
    until: float  # monotonic


class Orphans:
    """Finds orphans and has the agenda see to them, so that they share its limit and its shards."""

    def __init__(
        self,
        *,
        executions: Executions,
        runners: Runners,
        publisher: Publisher,
        taken: Taken,
        withdraw_if_passed_over: Callable[[Execution], Awaitable[bool]],
        endings: Endings,
        agenda: Agenda,
        clock: Clock,
        monotonic: Monotonic,
        republish_after: float,
        stale_after: float,
        watch_interval: float,
        full_look_every: float,
        max_lost_attempts: int,
        page: int,
        metrics: Metrics,
    ) -> None:
        self._executions = executions
        self._runners = runners
        self._publisher = publisher
        self._taken = taken
        self._withdraw_if_passed_over = withdraw_if_passed_over
        self._endings = endings
        self._agenda = agenda
        self._clock = clock
        self._monotonic = monotonic
        self._republish_after = republish_after
        self._full_look_every = full_look_every
        self._max_lost_attempts = max_lost_attempts
        self._page = page
        self._metrics = metrics
        self._patience: dict[str, _Patience] = {}
        self._full_look_at: float | None = None
        self._hears = True  # from Kafka, how far the requests are read
        self._is_blind = False  # the database is away
        self._sees_since = float("-inf")  # the monotonic instant at which it was back
        self.watch = Watch(stale_after=stale_after, interval=watch_interval)

    # -- unclaimed -----------------------------------------------------------------------------------------------------

    async def read_unclaimed(self) -> None:
        """Publish anew what no runner has taken, and wait for that for a moment.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        now = self._monotonic()
        self._patience = {
            execution_id: patience
            for execution_id, patience in self._patience.items()
            if now < patience.until + self._wait(patience.times)
        }
        if not self.watch.anyone_alive(now):
            return
        if self._is_blind or now - self._sees_since < self._republish_after:
            # What runs may have been started while the database was away, and its mark may be about to be written.
            return
        until = self._taken.until
        shards = frozenset(self._agenda.shards & until.keys())
        if not shards:
            return
        before = self._clock() - timedelta(seconds=self._republish_after)
        # Those that are left alone for now are the oldest: the page is that much longer, or they would fill it.
        limit = self._page + len(self._patience)
        found = await self._executions.unclaimed(min(before, max(until[shard] for shard in shards)), shards, limit)
        if len(found) == limit:
            # So would those that wait their turn in the backlog of one shard, and hide what was lost in the others.
            found = [
                execution
                for shard in sorted(shards)
                for execution in await self._executions.unclaimed(min(before, until[shard]), frozenset({shard}), limit)
            ]
        lost: list[Key] = []
        for execution in found:
            patience = self._patience.get(execution.execution_id)
            is_patient = patience is not None and now < patience.until
            if not is_patient and execution.requested_at is not None and execution.requested_at <= until[execution.shard]:
                key = self._arm("unclaimed", execution)
                if key is not None:
                    lost.append(key)
        await self._agenda.finish(lost, _AHEAD_OF_OTHERS)

    async def watch_requests(self) -> None:
        """Take note of how far the runners are, also while this worker waits for its shards: whoever takes over knows it."""
        try:
            await self._taken.look()
        except LogUnavailable as error:
            if self._hears:  # once, not every second
                log.warning("not looked for lost requests; kafka does not tell how far they are read", error=str(error))
            self._hears = False
        else:
            self._hears = True

    async def republish(self, execution: Execution) -> None:
        """Publish a pending execution under a new epoch; neither a new attempt nor a lost one."""
        execution_id = execution.execution_id
        if await self._withdraw_if_passed_over(execution):
            return
        reissued = await self._executions.reissue(execution_id, execution.epoch, instant(self._clock()), Restart.UNCLAIMED)
        if reissued is None:
            self._patience.pop(execution_id, None)
        elif await self._publisher.request(reissued):
            self._metrics.restarts.labels("unclaimed").inc()
            known = self._patience.get(execution_id)
            times = known.times + 1 if known else 1
            self._patience[execution_id] = _Patience(times, self._monotonic() + self._wait(times))

    def _wait(self, times: int) -> float:
        return self._republish_after * min(2.0 ** min(times, 32), LONGEST_BACKOFF)

    # -- lost ----------------------------------------------------------------------------------------------------------

    async def look(self) -> None:
        """Look at the heartbeats, and start anew what dead runners have left.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        try:
            heartbeats = await self._runners.all()
        except StoreUnavailable:
            self._is_blind = True
            raise
        now = self._monotonic()
        if self._is_blind:
            self._is_blind, self._sees_since = False, now
        self.watch.look(heartbeats, now)
        # Reading what is running costs more than reading heartbeats, and is needed only when one of them is stale; but an
        # owner without any heartbeat is found no other way.
        due = self._full_look_at is None or now - self._full_look_at >= self._full_look_every
        if not (due or self.watch.dead(now)):
            return
        self._full_look_at = now
        owned = await self._executions.owned(self._agenda.shards)
        self.watch.expect(owned, now)
        for owner, executions in owned.items():
            if self.watch.is_dead(owner, now):
                log.warning("runner is dead; its executions start anew", runner=owner, count=len(executions))
                for execution in executions:
                    self._arm("lost", execution)
        gone = self.watch.dead(now) - owned.keys()
        # Another scheduler may still see executions of such a runner: without a heartbeat it is just as dead to it.
        await asyncio.gather(
            *(self._runners.remove(heartbeat.runner) for heartbeat in heartbeats if heartbeat.runner in gone)
        )
        self.watch.forget(gone)

    async def rescue(self, execution: Execution) -> None:
        """Start a lost execution anew, or give it up when it has lost too many runners."""
        if execution.lost >= self._max_lost_attempts:
            lost = execution.lost + 1
            reason = f"given up: {lost} attempts were lost with their runner, the last with {execution.owner}"
            await self._endings.give_up(execution, reason)
            return
        reissued = await self._executions.reissue(
            execution.execution_id, execution.epoch, instant(self._clock()), Restart.LOST
        )
        if reissued is not None:
            self._metrics.restarts.labels("lost").inc()
            await self._publisher.request(reissued)

    # -- both ----------------------------------------------------------------------------------------------------------

    def _arm(self, kind: str, execution: Execution) -> Key | None:
        """Return the key of what is armed; None where it is under way already."""
        key = (kind, execution.execution_id)

        async def act() -> None:
            try:
                await (self.rescue(execution) if kind == "lost" else self.republish(execution))
            except StoreUnavailable as error:
                log.warning("orphan left to the next pass", execution_id=execution.execution_id, error=str(error))

        is_armed = self._agenda.arm(
            Entry(
                key=key,
                workflow_id=execution.workflow_id,
                shard=execution.shard,
                # What should have been published long ago comes before what has just become due.
                due=execution.requested_at or self._clock(),
                revision=execution.epoch,
                act=act,
            )
        )
        return key if is_armed else None
