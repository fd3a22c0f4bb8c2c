"""Retries and delays: an execution that waits is started anew at its instant.

A runner decides whether and when an attempt is retried, writes ``waiting`` and ``wake_at``, and announces it with a
``WakeUp``. The scheduler learns of it from that record at once, or from its next pass over the database. At ``wake_at`` it
raises the epoch by a conditional update, which one scheduler wins, and publishes the request; if that fails, the execution
is pending and the pass over unclaimed ones publishes it. A ``delay`` step waits in the same way, and so does one that waits
for a signal or for the end of others; they go on in the same attempt.
"""

from datetime import datetime, timedelta

import structlog

from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.clock import Clock
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.execution import Restart
from domain.instants import instant
from store.interfaces import Executions, StoreUnavailable

log = structlog.get_logger(__name__)

KIND = "retry"


class Retries:
    """Arms retries and releases them."""

    def __init__(
        self,
        *,
        executions: Executions,
        publisher: Publisher,
        agenda: Agenda,
        clock: Clock,
        lookahead: timedelta,
        page: int,
        metrics: Metrics,
    ) -> None:
        self._executions = executions
        self._publisher = publisher
        self._agenda = agenda
        self._clock = clock
        self._lookahead = lookahead
        self._page = page
        self._metrics = metrics

    async def read(self) -> None:
        """Arm every retry that is due within the lookahead.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        until = self._clock() + self._lookahead
        for execution in await self._executions.waking(until, self._agenda.shards, self._page):
            if execution.wake_at is not None:
                self._arm(
                    execution.execution_id,
                    execution.workflow_id,
                    execution.shard,
                    execution.epoch,
                    execution.wake_at,
                    Restart.WOKEN if execution.is_delayed else Restart.RETRY,
                )

    def announce(
        self, execution_id: str, workflow_id: str, shard: int, epoch: int, wake_at: datetime, why: Restart = Restart.RETRY
    ) -> None:
        """Arm a retry that was announced, unless a pass sees to it.

        Later ones are read when their time comes. Older ones were read by the pass that follows every assignment; arming
        them would replay a whole day of records against the database when a consumer group starts from the beginning.
        """
        if abs(wake_at - self._clock()) <= self._lookahead:
            self._arm(execution_id, workflow_id, shard, epoch, wake_at, why)

    def _arm(self, execution_id: str, workflow_id: str, shard: int, epoch: int, wake_at: datetime, why: Restart) -> None:
        self._agenda.arm(
            Entry(
                key=(KIND, execution_id),
                workflow_id=workflow_id,
                shard=shard,
                due=wake_at,
                revision=epoch,
                act=lambda: self.release(execution_id, epoch, why),
            )
        )

    async def release(self, execution_id: str, epoch: int, why: Restart = Restart.RETRY) -> None:
        """Start the next attempt of an execution that waits under ``epoch``, or go on with it after a delay."""
        try:
            execution = await self._executions.reissue(execution_id, epoch, instant(self._clock()), why)
        except StoreUnavailable as error:
            log.warning("retry not released; left to the next pass", execution_id=execution_id, error=str(error))
            return
        if execution is not None:
            self._metrics.restarts.labels(why.value).inc()
            await self._publisher.request(execution)
