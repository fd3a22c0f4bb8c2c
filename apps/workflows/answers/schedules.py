"""What is due, and what became of each tick."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from apps.workflows.answers.shown import ExecutionId, Shown, ShownStatus, WorkflowId
from apps.workflows.answers.triggers import ShownTrigger


class Tick(Shown):
    """An instant at which a workflow is due."""

    due_at: datetime
    local_time: datetime = Field(description="As the clocks of the schedule's zone show it.")


class TicksShown(Shown):
    """Ticks to come."""

    timezone: str
    items: list[Tick]


class ScheduleShown(TicksShown):
    """When a workflow runs next."""

    paused_at: datetime | None


class UpcomingRun(Tick):
    """The next run of a workflow; one that is past is late, and comes as soon as the scheduler does."""

    workflow_id: WorkflowId
    version: int
    timezone: str
    trigger: ShownTrigger


class UpcomingPage(Shown):
    """A part of the list of what runs next."""

    items: list[UpcomingRun]
    next_cursor: str | None = Field(description="Give it as cursor to get what follows; null at the end.")


class Occurrence(Shown):
    """What became of a tick, or of consecutive ticks that were not fired."""

    disposition: Literal["fired", "skipped", "missed", "held"]
    due_at: datetime | None
    until: datetime | None = Field(default=None, description="The last of the ticks; only of those that were not fired.")
    ticks: int | None = Field(default=None, description="How many; only of those that were not fired.")
    open_execution_id: str | None = Field(
        default=None, description="What was in the way; only of those that were not fired."
    )
    execution_id: ExecutionId | None = Field(default=None, description="Only of a tick that was fired.")
    status: ShownStatus | None = Field(default=None, description="Only of a tick that was fired.")
    started_at: datetime | None = Field(default=None, description="Only of a tick that was fired.")
    next_attempt_at: datetime | None = Field(default=None, description="As of the execution; only of a tick that was fired.")
    cause: str | None = Field(
        default=None, description="schedule, or backfill: it was made up for later; only of a tick that was fired."
    )
    lateness_ms: int | None = Field(default=None, description="From due to start; only of a tick that was fired.")


class OccurrencePage(Shown):
    """A part of the ledger."""

    items: list[Occurrence]
    next_cursor: str | None
