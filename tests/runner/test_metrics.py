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
