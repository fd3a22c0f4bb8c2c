"""What every service measures of its streams, beside Faust's own sensor.

Faust's Prometheus sensor looks every label up for every message, which measured 6 % of a busy runner's CPU; here what was
looked up is kept. The lag is worked out when somebody asks.
"""

from collections.abc import Iterable
from typing import Any

from faust.sensors.prometheus import FaustMetrics, PrometheusMonitor
from faust.types import TP
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class StreamMonitor(PrometheusMonitor):
    """Faust's Prometheus sensor, with the children of its labelled metrics kept."""

    def __init__(self, name: str, registry: CollectorRegistry, **kwargs: Any) -> None:
        super().__init__(metrics=FaustMetrics.create(registry, name.replace("-", "_")), **kwargs)
        self._received: dict[TP, tuple[Any, Any]] = {}
        self._streams: dict[int, Any] = {}

    def on_message_in(self, tp: TP, offset: int, message: Any) -> None:
        """Count a message that was received."""
        super(PrometheusMonitor, self).on_message_in(tp, offset, message)
        metrics = self._metrics
        metrics.messages_received.inc()
        metrics.active_messages.inc()
        children = self._received.get(tp)
        if children is None:
            children = self._received[tp] = (
                metrics.messages_received_per_topics.labels(topic=tp.topic),
                metrics.messages_received_per_topics_partition.labels(topic=tp.topic, partition=tp.partition),
            )
        children[0].inc()
        children[1].set(offset)

    def on_stream_event_in(self, tp: TP, offset: int, stream: Any, event: Any) -> dict[str, Any] | None:
        """Count an event that a stream begins with."""
        state = super(PrometheusMonitor, self).on_stream_event_in(tp, offset, stream, event)
        self._metrics.total_events.inc()
        self._metrics.total_active_events.inc()
        child = self._streams.get(id(stream))
        if child is None:
            label = f"stream.{self._stream_label(stream)}.events"
            child = self._streams[id(stream)] = self._metrics.total_events_per_stream.labels(stream=label)
        child.inc()
        return state


class LagCollector(Collector):
    """Records that wait in each assigned partition, as far as the last commit tells."""

    def __init__(self, name: str, monitor: StreamMonitor) -> None:
        self._name = name
        self._monitor = monitor

    def collect(self) -> Iterable[Metric]:
        """Return the gauge."""
        family = GaugeMetricFamily(
            f"{self._name}_consumer_lag", "Records behind the end of the partition.", labels=["topic", "partition"]
        )
        for tp, lag in lags(self._monitor).items():
            family.add_metric([tp.topic, str(tp.partition)], lag)
        yield family


def lags(monitor: StreamMonitor) -> dict[TP, int]:
    """Return the records between the last commit and the end of each partition."""
    ends, committed = monitor.tp_end_offsets or {}, monitor.tp_committed_offsets or {}
    return {tp: max(0, end - committed[tp]) for tp, end in ends.items() if tp in committed}
