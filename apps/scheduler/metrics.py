"""What the scheduler counts, served under ``/metrics``, and the recent latenesses for ``/agenda``."""

from collections import deque
from datetime import timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60)
RECENT = 2000


class Metrics:
    """The counters of one scheduler."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.ticks = Counter("scheduler_ticks", "Due ticks by what became of them.", ["disposition"], registry=registry)
        self.restarts = Counter(
            "scheduler_restarts", "Executions handed out anew, or given up, by why.", ["why"], registry=registry
        )
        # Of a count that is there from its first event on, Prometheus sees no increase by that one.
        for why in ("lost", "given-up", "handlers-given-up", "timed-out", "handlers-timed-out"):
            self.restarts.labels(why)
        self.removed = Counter(
            "scheduler_removed", "Documents removed because their retention was over.", ["collection"], registry=registry
        )
        self.dead_letters = Counter("scheduler_dead_letters", "Records that were not understood.", registry=registry)
        self.failed_passes = Counter("scheduler_failed_passes", "Passes that could not be finished.", registry=registry)
        self.pass_seconds = Gauge("scheduler_pass_seconds", "Duration of the last pass.", registry=registry)
        self.armed = Gauge("scheduler_armed", "Entries of the agenda that wait for their instant.", registry=registry)
        self.skew = timedelta()  # how far our clock was ahead when it was last compared
        Gauge(
            "scheduler_clock_skew_seconds", "How far our clock is ahead of the database server's.", registry=registry
        ).set_function(lambda: self.skew.total_seconds())
        self.in_flight = Gauge("scheduler_in_flight", "Entries of the agenda being worked on.", registry=registry)
        self._lateness = Histogram(
            "scheduler_release_lateness_seconds",
            "From the due instant to the release.",
            ["kind"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._published = Histogram(
            "scheduler_publish_lateness_seconds",
            "From the instant a tick is to be released to Kafka's acknowledgement of its request.",
            buckets=_SECONDS,
            registry=registry,
        )
        self.recent: deque[float] = deque(maxlen=RECENT)  # seconds of the last releases of ticks and retries

    def released(self, kind: str, lateness: timedelta) -> None:
        """Note that an entry was released."""
        seconds = lateness.total_seconds()
        self._lateness.labels(kind).observe(seconds)
        if kind in ("tick", "decide", "publish", "retry"):
            self.recent.append(seconds)

    def published(self, lateness: timedelta) -> None:
        """Note that Kafka has the request of a tick."""
        self._published.observe(lateness.total_seconds())

    def percentile(self, share: float) -> float | None:
        """Return the lateness that ``share`` of the recent releases stayed within."""
        ordered = sorted(self.recent)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None
