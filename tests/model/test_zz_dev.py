import os

from hypothesis import HealthCheck, Phase, settings

from tests.model.test_protocol import Protocol

T = Protocol.TestCase
T.settings = settings(
    max_examples=int(os.environ.get("N", "30")),
    stateful_step_count=30,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate, Phase.shrink] if os.environ.get("SHRINK") else [Phase.generate],
)
