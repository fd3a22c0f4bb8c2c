"""How the services are."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from apps.workflows.answers.shown import Shown


class RunnerShown(Shown):
    """A runner, by its heartbeat."""

    runner: str
    host: str | None
    pid: int | None
    started_at: datetime | None
    status: Literal["alive", "silent", "seen"] = Field(
        description="alive: its heart beats; silent: not for a while; seen: not looked at for long enough to tell."
    )
    silent_seconds: float


class SchedulerShown(Shown):
    """How far the scheduler is behind."""

    lateness_seconds: float = Field(description="Of the earliest tick or retry that is due and not released.")


class ConsumerMember(Shown):
    """A member of a consumer group."""

    id: str
    host: str


class ConsumerShown(Shown):
    """A service as Kafka knows it."""

    state: str = Field(description="As Kafka says it: Stable, PreparingRebalance, Empty, …")
    members: list[ConsumerMember]
    lag: dict[str, int] = Field(description="Records that are not acknowledged yet, by topic.")


class SystemShown(Shown):
    """How the services are; what could not be found out is null."""

    now: datetime
    database: Literal["ok", "unreachable"]
    runners: list[RunnerShown] | None
    scheduler: SchedulerShown | None
    kafka: Literal["ok", "unreachable"]
    consumers: dict[str, ConsumerShown] | None = Field(description="By service.")
    dead_letters: int | None
