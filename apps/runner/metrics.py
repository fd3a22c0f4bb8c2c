"""What the runner counts, served under ``/metrics``. Labels are bounded: no ids, but of workflows that read topics."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from apps.metrics import BATCH_SIZES
from apps.runner.subscriptions import Reader
from domain.execution import FAILURES, Cause
from events.records import ActionResult

_CAUSES = frozenset(cause.value for cause in Cause)
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """The counters of one runner."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._finished = Counter("runner_executions", "Executions that ended here.", ["status", "cause"], registry=registry)
        self._retries = Counter("runner_retries", "Failed attempts that are retried.", registry=registry)
        self._actions = Histogram(
            "runner_action_seconds",
            "Duration of actions.",
            ["kind", "status"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.running = Gauge("runner_running_executions", "Executions running now.", registry=registry)
        self.batches = Histogram(
            "runner_projection_batch", "Results written at once.", buckets=BATCH_SIZES, registry=registry
        )
        self.starts = Counter("runner_starts", "Starts: certain (without a read) or claimed.", ["how"], registry=registry)
        self.refused = Counter("runner_refused_results", "Results that the fence turned away.", registry=registry)
        self.dead_letters = Counter("runner_dead_letters", "Records that could not be taken.", registry=registry)

        # Prometheus looks labels up under a lock, which is too much for every result.
        self._of_actions = lru_cache(maxsize=None)(self._actions.labels)
        self._of_executions = lru_cache(maxsize=None)(self._finished.labels)
        self.starts_by = lru_cache(maxsize=None)(self.starts.labels)

        # Of a count that is there from its first event on, Prometheus sees no increase by that one.
        for cause in _CAUSES:
            self._of_executions("failed", cause)

    def finished_action(self, result: ActionResult, kind: str, cause: str) -> None:
        """Note the result of an action of ``kind`` in an execution that ``cause`` asked for."""
        self._of_actions(kind, result.status).observe((result.finished_at - result.started_at).total_seconds())
        if result.execution_status == "waiting":
            if result.status in FAILURES:  # else it waits because a step asked for it
                self._retries.inc()
        elif result.execution_status != "running":
            # Whoever publishes a request may have made up its cause.
            self._of_executions(result.execution_status, cause if cause in _CAUSES else "unknown").inc()


class SubscriptionCollector(Collector):
    """How far the topics of subscriptions are read, in the partitions that this runner has."""

    def __init__(self, readers: Callable[[], Sequence[Reader]]) -> None:
        self._readers = readers

    def collect(self) -> Iterable[Metric]:
        """Return the lag and the counts of the subscriptions that there are now."""
        lag = GaugeMetricFamily(
            "runner_subscription_lag",
            "Records of a subscription that are neither started nor dead letters yet.",
            labels=["workflow", "topic", "partition"],
        )
        unreadable = GaugeMetricFamily(
            "runner_subscription_unreadable_offset",
            "Where a partition of a subscription stands still, for what is there cannot be read; there while it does.",
            labels=["workflow", "topic", "partition"],
        )
        records = CounterMetricFamily(
            "runner_subscription_records",
            "Records of a subscription by what became of them: started, known (started before), dead-letter.",
            labels=["workflow", "topic", "outcome"],
        )
        for each in self._readers():
            names = [each.subscribed.workflow_id, each.subscribed.topic]
            for partition, behind in each.lags.items():
                lag.add_metric([*names, str(partition)], behind)
            for partition, stop in each.unreadable.items():
                unreadable.add_metric([*names, str(partition)], stop.offset)
            for outcome, count in each.outcomes.items():
                records.add_metric([*names, outcome.value], count)
        yield lag
        yield unreadable
        yield records
