"""What the runner counts."""

from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry

from apps.runner.metrics import Metrics
from tests.runner.test_projection import AT


@pytest.mark.parametrize(("status", "retries"), [("failed", 1), ("ok", 0), ("waiting", 0)], ids=["retry", "delay", "signal"])
def test_a_wait_that_a_step_asks_for_is_no_retry(status, retries):
    registry = CollectorRegistry()
    result = SimpleNamespace(status=status, execution_status="waiting", started_at=AT, finished_at=AT)
    Metrics(registry).finished_action(result, "any", "manual")
    assert registry.get_sample_value("runner_retries_total") == retries


def test_causes_that_are_not_known_are_counted_as_one():
    registry = CollectorRegistry()
    metrics = Metrics(registry)
    for cause in ("manual", "of a later version", "made up"):
        metrics.finished_action(
            SimpleNamespace(status="ok", execution_status="ok", started_at=AT, finished_at=AT), "any", cause
        )
    counted = [
        registry.get_sample_value("runner_executions_total", {"status": "ok", "cause": each})
        for each in ("manual", "unknown")
    ]
    assert counted == [1, 2]
