"""How many executions are open, and for how long the oldest has waited for a runner: counted for the metrics.

One of the schedulers counts for all, the one with the first shard. Not at every pass, for the standalone database reads all
that is open for it: 0.5 s with 10,000 executions, in which it answers nothing else.
"""

from datetime import datetime

from prometheus_client import CollectorRegistry, Gauge

from apps.scheduler.clock import Clock, Monotonic
from store.interfaces import Backlog, Executions

EVERY = 30.0  # seconds


class Census:
    """The backlog as it was last counted; its age is told at each scrape."""

    def __init__(self, executions: Executions, *, clock: Clock, monotonic: Monotonic, registry: CollectorRegistry) -> None:
        self._executions = executions
        self._clock = clock
        self._monotonic = monotonic
        self._found = Backlog(0, None)
        self._counted_at = float("-inf")  # monotonic
        Gauge(
            "scheduler_open_executions", "Open executions, told by the scheduler with the first shard.", registry=registry
        ).set_function(lambda: self._found.open)
        Gauge(
            "scheduler_oldest_pending_seconds",
            "Since the execution that waits longest for a runner was handed out; as above.",
            registry=registry,
        ).set_function(lambda: self._age(self._found.pending_since))

    async def count(self, *, is_first: bool) -> None:
        """Count anew, where it is time and this scheduler counts for all.

        Raises:
            StoreUnavailable: the database cannot be reached; what was counted last is shown until it can.
        """
        if not is_first:
            self._found, self._counted_at = Backlog(0, None), float("-inf")
        elif self._monotonic() - self._counted_at >= EVERY:
            self._found = await self._executions.backlog(self._clock())
            self._counted_at = self._monotonic()

    def _age(self, since: datetime | None) -> float:
        return 0.0 if since is None else max(0.0, (self._clock() - since).total_seconds())
