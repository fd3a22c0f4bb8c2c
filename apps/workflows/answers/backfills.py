"""A backfill, and what one would do."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from apps.workflows.answers.schedules import Tick
from apps.workflows.answers.shown import ExecutionId, Shown, WorkflowId


class BackfillPlan(Shown):
    """What a backfill would do, or that there is nothing to do; nothing was started."""

    workflow_id: WorkflowId
    from_: datetime = Field(alias="from")
    to: datetime
    ticks: int = Field(description="Ticks of the schedule in the range.")
    already_run: int = Field(description="Those that have an execution; they are not run again.")
    to_run: int
    timezone: str
    first_ticks: list[Tick] = Field(description="The first of those to run.")
    last_ticks: list[Tick] = Field(description="The last of those to run, where there are more than are shown as the first.")
    rate: str
    at_once: int
    shortest_seconds: float = Field(description="How long it takes at least, at this rate.")
    running_backfill_id: ExecutionId | None = Field(
        description="A backfill of the workflow that is running; another one is refused until it has ended."
    )


class BackfillShown(Shown):
    """A backfill."""

    backfill_id: ExecutionId
    workflow_id: WorkflowId
    status: Literal["running", "done", "cancelled"]
    from_: datetime = Field(alias="from")
    to: datetime
    rate: str
    at_once: int
    beyond_retention: bool
    ticks: int = Field(description="Ticks of the schedule in the range.")
    already_run: int = Field(description="Ticks passed over so far, because they had an execution.")
    started: int = Field(description="Executions started so far.")
    open: int = Field(description="Those of them that have not ended.")
    ok: int = Field(description="Those of them that ended as ok.")
    failed: int = Field(description="Those of them that ended otherwise.")
    left: int = Field(description="Ticks that were not seen to yet.")
    next_tick: datetime | None
    created_at: datetime
    finished_at: datetime | None
    reason: str | None = Field(description="Why it was cancelled.")


class BackfillPage(Shown):
    """A part of the list of backfills, newest first."""

    items: list[BackfillShown]
    next_cursor: str | None
