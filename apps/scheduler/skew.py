"""How far our clock is ahead of the database server's: shown, and warned of, never corrected.

Ticks are safe whatever the clocks show, for their ids and conditional writes decide; but a clock that is ahead fires early,
and one that is behind fires late.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import structlog

from apps.scheduler.clock import Clock, Monotonic
from apps.scheduler.metrics import Metrics

log = structlog.get_logger(__name__)

TOLERABLE = timedelta(seconds=1)


class Skew:
    """Compares two clocks."""

    def __init__(
        self, *, server_time: Callable[[], Awaitable[datetime]], clock: Clock, monotonic: Monotonic, metrics: Metrics
    ) -> None:
        self._server_time = server_time
        self._clock = clock
        self._monotonic = monotonic
        self._metrics = metrics

    async def look(self) -> timedelta:
        """Return by how much we are ahead, as closely as the round trip allows.

        Raises:
            StoreUnavailable: the server cannot be reached.
        """
        began = self._monotonic()
        theirs = await self._server_time()
        trip = timedelta(seconds=self._monotonic() - began)
        ahead = self._clock() - trip / 2 - theirs
        self._metrics.skew = ahead
        if abs(ahead) > max(TOLERABLE, trip):
            log.warning("our clock and the database's are apart", ahead_seconds=round(ahead.total_seconds(), 3))
        return ahead
