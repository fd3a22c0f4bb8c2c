"""How many executions are open, and for how long: counted once a pass, for the metrics alone."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from domain.execution import OPEN, Status
from store.interfaces import Crowd, Executions


class Census(Collector):
    """The open executions of this worker's shards as they were last counted; their age is told at each scrape."""

    def __init__(self, executions: Executions, *, clock: Callable[[], datetime], registry: CollectorRegistry) -> None:
        self._executions = executions
        self._clock = clock
        self._found: Mapping[Status, Crowd] = {}
        registry.register(self)

    async def count(self, shards: frozenset[int]) -> None:
        """Count anew.

        Raises:
            StoreUnavailable: the database cannot be reached; what was counted last is shown until it can.
        """
        self._found = await self._executions.census(shards) if shards else {}

    def collect(self) -> Iterable[Metric]:
        """Return the gauges."""
        now = self._clock()
        counts = GaugeMetricFamily("scheduler_open_executions", "Open executions at the last pass.", labels=["status"])
        ages = GaugeMetricFamily(
            "scheduler_oldest_open_seconds", "Since the oldest execution of a status was created.", labels=["status"]
        )
        for status in sorted(OPEN):
            crowd = self._found.get(status)
            counts.add_metric([status.value], crowd.count if crowd else 0)
            ages.add_metric([status.value], max(0.0, (now - crowd.oldest).total_seconds()) if crowd else 0.0)
        return [counts, ages]
