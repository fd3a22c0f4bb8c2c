"""Writes results to MongoDB.

A result is written at once when nothing is being written; whatever arrives during a write forms the next one. A record is
acknowledged to Kafka only after its result is durable, so a crash replays it, and the fence makes the replay harmless. While
the database is away, results wait here and unacknowledged in Kafka. A retry, or an end that others may be queued behind, is
announced to the scheduler only after its result is written: raising the epoch any earlier would turn that result away.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from mode import Service

from apps.runner.acknowledgement import Ticket
from apps.runner.metrics import Metrics
from domain.execution import ActionFinished, Status
from store.interfaces import Executions, StoreUnavailable

log = structlog.get_logger(__name__)

BATCH = 500
RETRY_DELAY = 0.5


class Projection(Service):
    """The one writer of this process's results."""

    def __init__(
        self,
        executions: Executions,
        *,
        announce: Callable[[ActionFinished], Awaitable[None]],
        metrics: Metrics,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.executions = executions
        self.announce = announce
        self.metrics = metrics
        self._waiting: list[tuple[Ticket, ActionFinished | None]] = []
        self._arrived = asyncio.Event()

    def add(self, ticket: Ticket, result: ActionFinished | None) -> None:
        """Take a result that is to be written; its ticket is finished when it is.

        A record that asks for no write (None) waits its turn as well: what is behind it must not seem to be written while
        what is before it is not, nor must the partition seem to be behind for ever where such a record is its last.
        """
        self._waiting.append((ticket, result))
        self._arrived.set()

    @Service.task
    async def _write(self) -> None:
        while not self.should_stop:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            await self._write_batch(batch)

    async def _write_batch(self, batch: list[tuple[Ticket, ActionFinished | None]]) -> None:
        results = [result for _, result in batch if result is not None]
        self.metrics.batches.observe(len(batch))
        while True:
            try:
                refused = await self.executions.project(results) if results else frozenset()
                break
            except StoreUnavailable as error:
                log.warning("results not written; trying again", error=str(error), count=len(batch))
                await self.sleep(RETRY_DELAY)
                if self.should_stop:
                    return
        for ticket, result in batch:
            if result is None:
                pass
            elif result.execution_id in refused:
                self.metrics.refused.inc()
                log.info("result turned away", execution_id=result.execution_id, epoch=result.epoch, seq=result.seq)
            elif result.status is not Status.RUNNING:
                await self.announce(result)
            ticket.finish()
