"""docker-compose.yaml gives the services settings that they know."""

from pathlib import Path

import pytest
import yaml

from apps.runner.settings import RunnerSettings
from apps.scheduler.settings import SchedulerSettings
from apps.workflows.settings import WorkflowsSettings

COMPOSE = yaml.safe_load((Path(__file__).parents[2] / "docker-compose.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("service", "settings"),
    [("workflows", WorkflowsSettings), ("scheduler", SchedulerSettings), ("runner", RunnerSettings)],
)
def test_what_a_service_is_given(service: str, settings: type[WorkflowsSettings]) -> None:
    given = {name.lower() for name in COMPOSE["services"][service]["environment"]}
    # One environment for all three: what the API checks and the scheduler schedules, the runner runs.
    assert given <= {*settings.model_fields, *RunnerSettings.model_fields}
    assert {"kafka_bootstrap", "mongodb_url", "web_host", "auth", "secrets_key"} <= given
