"""What the streams' sensor tells Prometheus."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry, Histogram, generate_latest

from apps.metrics import Durations, LagCollector, StreamMonitor
from apps.runner.metrics import Metrics as RunnerMetrics
from apps.scheduler.metrics import Metrics as SchedulerMetrics

HERE = TP("workflow.execution", 3)


def shown(monitor, registry):
    monitor.settle()
    lines = [line for line in generate_latest(registry).decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def test_what_was_counted_is_carried_over_once():
    registry = CollectorRegistry()
    monitor = StreamMonitor("runner", registry)
    messages = [SimpleNamespace(time_in=None, time_out=None) for _ in range(3)]
    for offset, message in enumerate(messages):
        monitor.on_message_in(HERE, offset, message)
        monitor.on_stream_event_in(HERE, offset, object(), object())
    monitor.on_message_out(HERE, 0, messages[0])
    monitor.on_message_out(HERE, 0, messages[0])  # the stream says so as well
    monitor.on_send_completed(None, monitor.on_send_initiated(None, "workflow.action-result", None, 1, 1), None)
    for status in (200, 200, 404):
        state = monitor.on_web_request_start(None, None)
        monitor.on_web_request_end(None, None, SimpleNamespace(status=status), state)
    for _ in range(2):  # asking does not count
        found = shown(monitor, registry)
        assert found["runner_messages_received_total"] == 3
        assert found['runner_messages_received_per_topic_total{topic="workflow.execution"}'] == 3
        assert found["runner_active_messages"] == found["runner_total_active_events"] == 2
        assert found["runner_events_runtime_ms_count"] == 1
        assert found['runner_topic_messages_sent_total{topic="topic.workflow.action-result"}'] == 1
        assert found["runner_producer_send_latency_count"] == found["runner_total_sent_messages_total"] == 1
        assert found['runner_http_status_codes_total{status_code="200"}'] == 2
        assert found['runner_http_status_codes_total{status_code="404"}'] == 1
    monitor.on_message_in(HERE, 3, SimpleNamespace(time_in=None, time_out=None))
    assert shown(monitor, registry)["runner_messages_received_total"] == 4


def test_durations_are_counted_as_the_histogram_itself_would():
    counted = []
    for registry in (CollectorRegistry(), CollectorRegistry()):
        histogram = Histogram("of", "Anything.", buckets=(1, 5, 10), registry=registry)
        durations = Durations(histogram)
        for milliseconds in (0, 0.999, 1, 1.001, 5, 7, 10, 10.001, 1e9):
            (histogram.observe if counted else durations.note)(milliseconds)
        for _ in range(2):  # asking does not count
            durations.settle()
        counted.append([sample for sample in histogram.collect()[0].samples if not sample.name.endswith("_created")])
    assert counted[0] == counted[1]
    assert counted[0][-2].value == 9


def test_lag_is_what_lies_beyond_the_commit():
    registry = CollectorRegistry()
    monitor = StreamMonitor("runner", registry)
    assigned = {HERE}
    registry.register(LagCollector("runner", monitor, assigned=lambda: assigned))
    monitor.track_tp_end_offset(HERE, 10)
    monitor.on_tp_commit({HERE: 7})
    assert shown(monitor, registry)['runner_consumer_lag{partition="3",topic="workflow.execution"}'] == 3
    assigned.clear()  # another runner has it now, and tells of it
    assert not [name for name in shown(monitor, registry) if name.startswith("runner_consumer_lag")]


@pytest.mark.parametrize(("metrics", "service"), [(RunnerMetrics, "runner"), (SchedulerMetrics, "scheduler")])
def test_what_alerts_watch_for_an_increase_is_there_before_it_increases(metrics, service):
    registry = CollectorRegistry()
    metrics(registry)
    there = {(sample.name, *sample.labels.items()) for family in registry.collect() for sample in family.samples}
    page = Path("docs/production.md").read_text()
    asked = re.findall(r"increase\((\w+)(?:\{(\w+)=\"([^\"]+)\"\})?\[", page)
    ours = [(name, label, value) for name, label, value in asked if name.startswith(service)]
    assert ours
    for name, label, value in ours:
        assert [sample for sample in there if sample[0] == name and (not label or (label, value) in sample)], name
