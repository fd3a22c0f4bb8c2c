"""Group commit: concurrent writes share one round trip.

A write starts at once when none is under way. Whatever is submitted during a write forms the next one, so a lone caller
never waits for company and a crowd shares the cost. Each caller gets its own outcome; a caller that goes away takes nothing
with it: its write happens, and the others get theirs.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Observe = Callable[[str, int], None]  # is told of every batch: what it is of, and how many items share it


def unobserved(kind: str, size: int) -> None:
    """Take no note of a batch."""


class GroupCommit(Generic[T, R]):
    """Collects items and hands them to ``write`` in batches; ``write`` answers one outcome, or exception, per item."""

    def __init__(
        self,
        write: Callable[[Sequence[T]], Awaitable[Sequence[R | BaseException]]],
        kind: str = "",
        observe: Observe = unobserved,
        *,
        limit: int = 500,
    ) -> None:
        self._write = write
        self._limit = limit
        self._kind = kind
        self._observe = observe
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._flushing: asyncio.Task[None] | None = None

    async def submit(self, item: T) -> R:
        """Write ``item`` with its neighbours and return its outcome."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, future))
        if self._flushing is None:
            self._flushing = loop.create_task(self._flush())
        return await future

    async def _flush(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                self._observe(self._kind, len(batch))
                outcomes: Sequence[R | BaseException]
                try:
                    outcomes = await self._write([item for item, _ in batch])
                    if len(outcomes) != len(batch):
                        raise RuntimeError(f"{len(outcomes)} outcomes for {len(batch)} items")
                except Exception as error:
                    outcomes = [error] * len(batch)
                except BaseException as error:
                    # The loop is shutting down. Nobody else will answer those who wait, in this batch or behind it.
                    batch += self._waiting
                    self._waiting = []
                    self._deliver(batch, [error] * len(batch))
                    raise
                self._deliver(batch, outcomes)
        finally:
            self._flushing = None

    def _deliver(self, batch: Sequence[tuple[T, "asyncio.Future[R]"]], outcomes: Sequence[R | BaseException]) -> None:
        for (_, future), outcome in zip(batch, outcomes, strict=True):
            if future.done():
                continue
            if isinstance(outcome, asyncio.CancelledError):
                future.cancel()
            elif isinstance(outcome, BaseException):
                future.set_exception(outcome)
            else:
                future.set_result(outcome)
