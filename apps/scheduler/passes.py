"""A pass: reads everything that is due until a little after the next pass, and arms it.

It is the safety net below every event: whatever a crash, a lost record or another scheduler left undone is found in the
database by the next pass, which follows every assignment of partitions at once and every ``SCHEDULER_INTERVAL`` after that.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from apps.scheduler.agenda import Agenda
from apps.scheduler.backfills import Backfills
from apps.scheduler.census import Census
from apps.scheduler.clock import Monotonic
from apps.scheduler.endings import Endings
from apps.scheduler.line import Line
from apps.scheduler.metrics import Metrics
from apps.scheduler.orphans import Orphans
from apps.scheduler.retries import Retries
from apps.scheduler.signals import Unheeded
from apps.scheduler.skew import Skew
from apps.scheduler.taken import Taken
from apps.scheduler.ticks import Ticks
from store.interfaces import StoreUnavailable

log = structlog.get_logger(__name__)


class Passes:
    """Runs one pass at a time."""

    def __init__(
        self,
        *,
        agenda: Agenda,
        ticks: Ticks,
        retries: Retries,
        signals: Unheeded,
        line: Line,
        backfills: Backfills,
        orphans: Orphans,
        endings: Endings,
        taken: Taken,
        skew: Skew,
        census: Census,
        monotonic: Monotonic,
        metrics: Metrics,
    ) -> None:
        self._agenda = agenda
        self._ticks = ticks
        self._retries = retries
        self._signals = signals
        self._line = line
        self._backfills = backfills
        self._orphans = orphans
        self._endings = endings
        self._taken = taken
        self._resting_at: Mapping[int, int] | None = None  # the requests, when deadlines were read the last time
        self._skew = skew
        self._census = census
        self._monotonic = monotonic
        self._metrics = metrics
        self._passing = asyncio.Lock()

    async def look_ahead(self) -> None:
        """Arm the ticks and retries of this worker's shards, and publish anew what nobody took. Never raises."""
        async with self._passing:
            await self._attempt("census", lambda: self._census.count(is_first=self._agenda.is_first))
            if not self._agenda.shards:
                return
            began = self._monotonic()
            # First: after a take-over these are the latest of all, and the database is busy with what follows.
            await self._attempt("unclaimed", self._orphans.read_unclaimed)
            await self._attempt("ticks", self._ticks.read)
            await self._attempt("retries", self._retries.read)
            await self._attempt("signals", self._signals.read)
            await self._attempt("line", self._line.read)
            await self._attempt("backfills", self._backfills.read)
            await self._attempt("deadlines", self._endings.read_deadlines)
            await self._attempt("untold", self._endings.read_untold)
            self._metrics.pass_seconds.set(self._monotonic() - began)

    async def watch_deadlines(self) -> None:
        """Arm what is over its time before the next pass can see it, and was requested only now. Never raises.

        To be called every second, after :meth:`watch_requests`: an execution may have less time than there is between two
        passes. Of what is queued, the one in front has run out of time before, and the next is requested then.
        """
        resting_at = self._taken.resting_at
        if self._agenda.shards and (resting_at is None or resting_at != self._resting_at):
            self._resting_at = resting_at
            await self._attempt("deadlines", self._endings.read_deadlines)

    async def compare_clocks(self) -> None:
        """Measure how far our clock and the database's are apart. Never raises."""
        await self._attempt("skew", self._skew.look)

    async def watch_requests(self) -> None:
        """Look how far the requests are taken. Never raises."""
        await self._attempt("requests", self._orphans.watch_requests)

    async def watch_runners(self) -> None:
        """Look at the heartbeats. Never raises."""
        if self._agenda.shards:
            await self._attempt("runners", self._orphans.look)

    async def _attempt(self, what: str, part: Callable[[], Awaitable[object]]) -> None:
        try:
            await part()
        except StoreUnavailable as error:
            self._metrics.failed_passes.inc()
            log.warning("pass not finished; left to the next one", part=what, error=str(error))
        except Exception:
            # An exception that escapes a Faust timer takes the whole worker down.
            self._metrics.failed_passes.inc()
            log.exception("pass failed", part=what)
