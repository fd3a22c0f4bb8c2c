"""Settings of the runner."""

import json
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from actions.http.connections import HttpSettings
from actions.http.guard import Guard
from actions.http.limits import HostLimit
from apps.settings import Directory, ServiceSettings


class RunnerSettings(ServiceSettings):
    """Read from the environment."""

    runner_max_in_flight: int = Field(default=1000, ge=1, description="Executions that one runner runs at the same time.")
    runner_heartbeat_interval: float = Field(default=2.0, gt=0, description="Seconds between heartbeats.")
    runner_grace_period: float = Field(
        default=10.0, ge=0, description="Seconds that running actions may take to finish when the runner is stopped."
    )
    runner_write_delay: float = Field(
        default=0.25,
        ge=0,
        description="Seconds that the start of a run, and results after which it goes on, wait to be written to MongoDB "
        "together with what follows.",
    )
    runner_isolate_after: int = Field(
        default=2,
        ge=1,
        description="Runners that an execution may lose in a row until its action is run in a process of its own.",
    )
    runner_max_isolated: int = Field(
        default=4, ge=1, description="Such processes that one runner has at the same time; each takes about 100 MB."
    )
    runner_publish_timeout: float = Field(default=10.0, gt=0, description="Seconds to wait for Kafka before trying again.")
    http_allow_hosts: str = Field(
        default="",
        description="What workflows may reach beside public addresses: names, *.names and ranges, comma-separated.",
    )
    http_host_concurrency: int = Field(
        default=500, ge=1, description="Requests that one runner has under way to one host at the same time."
    )
    http_host_rate: float | None = Field(
        default=None, gt=0, le=100_000, description="Requests per second that one runner begins to one host."
    )
    # What pydantic-settings cannot decode itself it tells as an error of its own, which names no variable.
    http_host_limits: Annotated[dict[str, HostLimit], NoDecode] = Field(
        default_factory=dict,
        description='For single hosts, as {"api.example.org": {"concurrency": 10, "rate": 5}}; what a host does not say is '
        "as for all.",
    )
    http_tls_dir: Directory = Field(
        default=None, description="Directory of the certificates and keys that actions may name."
    )

    @field_validator("http_host_limits", mode="before")
    @classmethod
    def _decoded(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        try:
            return json.loads(value)
        except ValueError as error:
            raise ValueError(f'{error}; write JSON, as {{"api.example.org": {{"concurrency": 10}}}}') from error

    @field_validator("http_allow_hosts")
    @classmethod
    def _names_and_ranges(cls, value: str) -> str:
        Guard(_entries(value))
        return value

    def http(self) -> HttpSettings:
        """Return what HTTP actions need to know."""
        return HttpSettings(
            allow_hosts=_entries(self.http_allow_hosts),
            default_limit=HostLimit(concurrency=self.http_host_concurrency, rate=self.http_host_rate),
            host_limits=self.http_host_limits,
            tls_dir=self.http_tls_dir,
        )


def _entries(text: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, text.split(","))))
