"""Sees to it that nothing is kept for longer than its retention.

One scheduler of several does it, whichever has the first shard; should two of them for a moment, that does no harm. What is
over is removed in short steps, and after each of them the database belongs to others for twice as long as it took: nothing
that is due waits for what nobody needs any more. A sweep that has much to do leaves the rest to the next one.
"""

from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final, Protocol

import structlog

from apps.scheduler.agenda import Agenda
from apps.scheduler.clock import Clock, Monotonic
from apps.scheduler.metrics import Metrics
from store.interfaces import StoreError

log = structlog.get_logger(__name__)

LONGEST: Final = 30.0  # seconds of one sweep
_PAUSE: Final = 2  # times what a step took


class Sweepable(Protocol):
    """A collection with a retention."""

    @property
    def name(self) -> str:
        """What it is the retention of."""

    def sweep(self, now: datetime) -> AsyncGenerator[int, None]:
        """Remove what is over at ``now``; yield after each short step, with how many documents it has removed."""


class Retention:
    """Removes what is over."""

    def __init__(
        self,
        collections: Sequence[Sweepable],
        *,
        agenda: Agenda,
        server_time: Callable[[], Awaitable[datetime]],
        clock: Clock,
        monotonic: Monotonic,
        sleep: Callable[[float], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._collections = collections
        self._agenda = agenda
        self._server_time = server_time
        self._clock = clock
        self._monotonic = monotonic
        self._sleep = sleep
        self._metrics = metrics

    async def sweep(self) -> None:
        """Remove what is over by now, a step of each collection in turn. Never raises: that would end the whole worker."""
        if not self._agenda.is_first:
            return
        sweeps: deque[tuple[str, AsyncGenerator[int, None]]] = deque()
        try:
            # What is removed is gone: of two clocks, the one that removes less.
            now = min(self._clock(), await self._server_time())
            sweeps.extend((each.name, each.sweep(now)) for each in self._collections)
            await self._take_turns(sweeps)
        except StoreError as error:
            log.warning("what is over its retention is left to the next sweep", error=str(error))
        except Exception:
            log.exception("what is over its retention is left to the next sweep")
        finally:
            for _, sweep in sweeps:
                await sweep.aclose()

    async def _take_turns(self, sweeps: deque[tuple[str, AsyncGenerator[int, None]]]) -> None:
        until = self._monotonic() + LONGEST
        while sweeps and self._agenda.is_first and self._monotonic() < until:
            name, sweep = sweeps[0]
            began = self._monotonic()
            removed = await anext(sweep, None)
            if removed is None:
                sweeps.popleft()
                continue
            self._metrics.removed.labels(name).inc(removed)
            sweeps.rotate(-1)
            await self._sleep(_PAUSE * (self._monotonic() - began))
