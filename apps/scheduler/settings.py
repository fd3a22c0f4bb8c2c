"""Settings of the scheduler."""

from datetime import timedelta

from pydantic import Field

from apps.scheduler.agenda import IN_FLIGHT
from apps.settings import LONGEST_RETENTION, ServiceSettings


class SchedulerSettings(ServiceSettings):
    """Read from the environment."""

    scheduler_interval: float = Field(
        default=5.0, ge=0.2, description="Seconds between two looks at what is due; lateness does not depend on it."
    )
    scheduler_misfire_after: float = Field(
        default=5.0,
        ge=0,
        description="Seconds by which a tick may be late and still count as on time; beyond, its misfire policy decides.",
    )
    scheduler_lead: float = Field(
        default=0.1,
        ge=0,
        le=2,
        description="Seconds, up to twice as many, before its instant at which a tick is inserted, to be published on time. "
        "From then on it holds its workflow's place, and a pause does not hold it any more.",
    )
    scheduler_max_in_flight: int = Field(
        default=IN_FLIGHT,
        ge=1,
        description="Ticks and restarts that are released at the same time; more of them wait their turn.",
    )
    scheduler_page: int = Field(
        default=5000, ge=1, description="Most executions of one kind (waiting, unclaimed) that one pass takes up."
    )
    scheduler_publish_timeout: float = Field(
        default=5.0,
        gt=0,
        description="Seconds to wait for Kafka's acknowledgement before leaving a request to a later pass.",
    )
    scheduler_watch_interval: float = Field(default=2.0, ge=0.1, description="Seconds between two looks at the heartbeats.")
    runner_stale_after: float = Field(
        default=10.0, gt=0, description="Seconds without a new heartbeat after which a runner is given up."
    )
    ledger_retention_days: float = Field(
        default=90.0,
        gt=0,
        le=LONGEST_RETENTION,
        description="How long it is told of ticks that were skipped, missed or held, and of finished backfills.",
    )
    audit_retention_days: float = Field(
        default=365.0, gt=0, le=LONGEST_RETENTION, description="How long the audit log is kept."
    )

    @property
    def lookahead(self) -> timedelta:
        """How far ahead a pass looks: until the next one is surely done, however it is delayed."""
        return timedelta(seconds=self.scheduler_interval * 1.5 + 1)
