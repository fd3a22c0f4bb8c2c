"""Settings of the runner."""

from pydantic import Field

from apps.settings import ServiceSettings


class RunnerSettings(ServiceSettings):
    """Read from the environment."""

    runner_max_in_flight: int = Field(default=1000, ge=1, description="Executions that one runner runs at the same time.")
    runner_heartbeat_interval: float = Field(default=2.0, gt=0, description="Seconds between heartbeats.")
    runner_grace_period: float = Field(
        default=10.0, ge=0, description="Seconds that running actions may take to finish when the runner is stopped."
    )
    runner_start_mark_delay: float = Field(
        default=0.1, ge=0, description="Seconds after which a run without a result yet is marked as running in MongoDB."
    )
    runner_publish_timeout: float = Field(default=10.0, gt=0, description="Seconds to wait for Kafka before trying again.")
