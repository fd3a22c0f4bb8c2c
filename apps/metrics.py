"""What every service measures of its streams, beside Faust's own sensor.

Faust's Prometheus sensor looks up labels and takes locks for every message, which measured 8 % of a busy runner's CPU. Its
base keeps the same counts as plain numbers, so here they are carried over to Prometheus when somebody asks, as the lag is.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final

from faust.sensors.monitor import Monitor
from faust.sensors.prometheus import FaustMetrics, PrometheusMonitor
from faust.types import TP
from mode import Service
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

BATCH_SIZES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500)


class Durations:
    """What a histogram is to be told of; to tell it of each alone costs more than most of what is measured."""

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self._bounds = histogram._upper_bounds
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0

    def note(self, milliseconds: float) -> None:
        """Count one."""
        self._counts[bisect_left(self._bounds, milliseconds)] += 1
        self._sum += milliseconds

    def settle(self) -> None:
        """Tell the histogram."""
        for bucket, count in zip(self._histogram._buckets, self._counts, strict=True):
            bucket.inc(count)
        self._histogram._sum.inc(self._sum)
        self._counts = [0] * len(self._bounds)
        self._sum = 0.0


class StreamMonitor(PrometheusMonitor):
    """Faust's Prometheus sensor; what it counts for every message is carried over when somebody asks (:meth:`settle`)."""

    def __init__(self, name: str, registry: CollectorRegistry, **kwargs: Any) -> None:
        super().__init__(metrics=FaustMetrics.create(registry, name.replace("-", "_")), **kwargs)
        self._settled: Counter[tuple[str, ...]] = Counter()  # how much of each count has been carried over
        self._events: Counter[str] = Counter()  # by topic
        self._answers: Counter[int] = Counter()  # by status
        metrics = self._metrics
        self._durations = self._of_events, self._of_sends, self._of_answers = (
            Durations(metrics.events_runtime_latency),
            Durations(metrics.producer_send_latency),
            Durations(metrics.http_latency),
        )

    # The base of Faust's sensor counts in plain numbers.
    on_message_in = Monitor.on_message_in
    on_send_initiated = Monitor.on_send_initiated
    track_tp_end_offset = Monitor.track_tp_end_offset

    def on_stream_event_in(self, tp: TP, offset: int, stream: Any, event: Any) -> None:
        """Count an event. By topic: the name of a stream holds its address in memory, which labels must not."""
        self.events_total += 1
        self.events_active += 1
        self._events[tp.topic] += 1

    def on_message_out(self, tp: TP, offset: int, message: Any) -> None:
        """Note that a message is acknowledged, and its event done with; a stream may say so after the consumer has."""
        if message.time_out is not None or message.time_in is None:
            return
        message.time_out = self.time()
        self.messages_active -= 1
        self.events_active -= 1
        self._of_events.note(self.secs_to_ms(message.time_out - message.time_in))

    def on_send_completed(self, producer: Any, state: Any, metadata: Any) -> None:
        """Note how long the broker took to acknowledge a record."""
        Monitor.on_send_completed(self, producer, state, metadata)
        self._of_sends.note(self.ms_since(state))

    def on_web_request_end(self, app: Any, request: Any, response: Any, state: dict[str, Any], *, view: Any = None) -> None:
        """Note an answer."""
        self._of_answers.note(self.ms_since(state["time_start"]))
        self._answers[500 if response is None else response.status] += 1

    @Service.task
    async def _sampler(self) -> None:
        """Calculate no rates and medians once a second, as the base does: whoever reads the counts does that himself."""

    def settle(self) -> None:
        """Carry over to the metrics what was counted since the last time."""
        metrics = self._metrics
        for durations in self._durations:
            durations.settle()
        self._carry(metrics.messages_received, self.messages_received_total, "received")
        metrics.active_messages.set(self.messages_active)
        for topic, count in self.messages_received_by_topic.items():
            self._carry(metrics.messages_received_per_topics.labels(topic=topic), count, "received", topic)
        for tp, offset in self.tp_read_offsets.items():
            metrics.messages_received_per_topics_partition.labels(topic=tp.topic, partition=tp.partition).set(offset)
        for tp, offset in (self.tp_end_offsets or {}).items():
            metrics.topic_partition_end_offset.labels(topic=tp.topic, partition=tp.partition).set(offset)
        self._carry(metrics.total_events, self.events_total, "events")
        metrics.total_active_events.set(self.events_active)
        for topic, count in self._events.items():
            self._carry(
                metrics.total_events_per_stream.labels(stream=f"stream.topic_{topic}.events"), count, "events", topic
            )
        for topic, count in self.messages_sent_by_topic.items():
            self._carry(metrics.topic_messages_sent.labels(topic=f"topic.{topic}"), count, "sent", topic)
        self._carry(metrics.total_sent_messages, self.messages_sent - self.send_errors, "sent")
        for status, count in self._answers.items():
            self._carry(metrics.http_status_codes.labels(status_code=status), count, "answers", str(status))

    def _carry(self, metric: Any, count: int, *name: str) -> None:
        metric.inc(max(0, count - self._settled[name]))
        self._settled[name] = count


class LagCollector(Collector):
    """Records that wait in each assigned partition, as far as the last commit tells."""

    def __init__(self, name: str, monitor: StreamMonitor, *, assigned: Callable[[], Collection[TP]]) -> None:
        self._name = name
        self._monitor = monitor
        self._assigned = assigned

    def collect(self) -> Iterable[Metric]:
        """Return the gauge."""
        family = GaugeMetricFamily(
            f"{self._name}_consumer_lag", "Records behind the end of the partition.", labels=["topic", "partition"]
        )
        for tp, lag in lags(self._monitor, self._assigned()).items():
            family.add_metric([tp.topic, str(tp.partition)], lag)
        yield family


def lags(monitor: StreamMonitor, assigned: Collection[TP]) -> dict[TP, int]:
    """Return the records between the last commit and the end of each partition.

    Only of what is ``assigned``: a monitor forgets nothing, and what it knew last of a partition that another worker has
    taken over would be counted for good.
    """
    ends, committed = monitor.tp_end_offsets or {}, monitor.tp_committed_offsets or {}
    return {tp: max(0, ends[tp] - committed[tp]) for tp in assigned if tp in ends and tp in committed}
