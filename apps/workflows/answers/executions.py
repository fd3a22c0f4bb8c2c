"""An execution, whole and in lists, and what is said when one is started or told something."""

from datetime import datetime
from typing import Literal

from pydantic import Field, JsonValue

from apps.workflows.answers.shown import ExecutionId, Shown, ShownStatus, WorkflowId


class ParentShown(Shown):
    """The action that has triggered an execution, and where it stands."""

    execution_id: ExecutionId = Field(description="It may have been removed since, its retention being over.")
    workflow_id: WorkflowId
    action_id: str


class WaitingFor(Shown):
    """What an execution waits for, besides time."""

    signal: str | None = Field(description="What POST /executions/{id}/signals/{signal} sends; null where it is none.")
    executions: int | None = Field(description="Of how many that it has triggered the end is waited for; null of a signal.")
    action_id: str
    until: datetime | None = Field(description="When the step fails for want of it.")


class ExecutionSummary(Shown):
    """An execution as lists show it."""

    execution_id: ExecutionId
    workflow_id: WorkflowId
    version: int = Field(description="Of the definition that it runs.")
    status: ShownStatus
    cause: Literal["manual", "schedule", "backfill", "event", "webhook", "workflow"]
    reference: str | None = Field(description="What its user knows it by: as it was triggered, or its definition says.")
    created_at: datetime
    due_at: datetime | None = Field(description="When its tick was due, or that of the execution that it repeats.")
    started_at: datetime | None
    finished_at: datetime | None
    attempt: int
    retries_left: int
    deadline: datetime | None = Field(
        description="When its timeout is over; once onFailure or finally has begun, when their own time is. Null from when"
        " the timeout has ended its actions, or it was given up, until they begin."
    )
    next_attempt_at: datetime | None = Field(
        description="When the retry or delay that it waits for is due, or it looks at the latest for what it waits for."
    )
    waiting_for: WaitingFor | None = Field(description="Null unless it waits for a signal or for what it has triggered.")
    resumed_at: datetime | None = Field(
        description="When its last wait, for a retry, in a delay or for something else, was over; of open executions alone."
    )
    last_failed_action: str | None
    reason: str | None = Field(description="Why it ended, or was skipped.")
    total_actions: int
    origin_id: ExecutionId | None = Field(description="The execution that this one repeats.")
    takes_up: bool = Field(description="Whether it goes on where that failed, rather than from the first action on.")
    triggered_by: ParentShown | None = Field(
        description="The action that has triggered it; only where the cause is workflow."
    )


class ActionError(Shown):
    """Why an action failed."""

    class_: str = Field(alias="class", description="A stable name, such as timeout, connect or status.")
    message: str
    not_retried: str | None = Field(
        default=None, description="Why it was not tried again; not where it was, or its outcome is unknown."
    )


class Outcome(Shown):
    """What one attempt of one action did."""

    action_id: str
    index: int = Field(
        description="From 0, through actions, then onFailure, then finally: what is below totalActions is of actions."
    )
    status: Literal["ok", "failed", "skipped", "unknown", "waiting"] = Field(
        description="skipped: its condition did not hold; unknown: its runner died before it could tell; waiting: it waits"
        " for a signal or the end of others, and what came of that is told by another outcome of the same attempt."
    )
    logs: list[str]
    started_at: datetime
    finished_at: datetime
    attempt: int = Field(description="From 1; 0 of what was taken over.")
    carried_over: Literal[True] | None = Field(
        default=None, description="Only of what was done already by the execution that this one takes up."
    )
    error: ActionError | None = Field(default=None, description="Only of what failed.")
    output: dict[str, JsonValue] | None = Field(default=None, description="Only where the action has one.")
    continued: Literal[True] | None = Field(default=None, description="Only of what failed where that does not count.")


class CurrentStep(Shown):
    """The step that an open execution is at."""

    list: Literal["actions", "onFailure", "finally"] = Field(description="Where it stands in the definition.")
    position: int = Field(description="In this list, from 1.")
    action_id: str


class RestartShown(Shown):
    """An execution was handed to the runners again, for another reason than the end of a wait, and went on with a step.

    What it was interrupted in may have been done, and is done again under the same Idempotency-Key, unless it has timed out,
    was given up or cancelled.
    """

    at: datetime
    why: Literal["lost", "handed-back", "unclaimed", "released", "timed-out", "given-up", "cancelled"] = Field(
        description="lost: its runner died, or its run broke off; handed-back: its runner was stopped, or had lost sight of"
        " it; unclaimed: no runner had taken it; released: it had waited in line (overlap queue), and its turn came;"
        " timed-out: the workflow's timeout had ended its actions, so that this step failed and its handlers were run;"
        " given-up: so it was because too many runners in a row were lost;"
        " cancelled: so it was because somebody has cancelled it, and only the steps of finally were run."
    )
    attempt: int
    index: int = Field(
        description="Of the step that it went on with, as in executedActions; where it has timed out, was given up or"
        " cancelled, of that it was at."
    )
    runner: str | None = Field(default=None, description="The one that was interrupted, where that is known.")
    since: datetime | None = Field(
        default=None,
        description="When it had come to that step, or last went on with it; only where it was interrupted.",
    )
    reason: str | None = Field(default=None, description="Only where it has timed out or was given up.")


class CutOff(CurrentStep):
    """The step that a runner was at when an execution was cancelled, timed out or given up; it may have been done."""

    since: datetime = Field(description="When it had come to that step, or last went on with it.")


class ExecutionInFull(ExecutionSummary):
    """An execution with every attempt of every action."""

    input: dict[str, JsonValue] | None = Field(default=None, description="Only where one was given.")
    epoch: int = Field(
        description="Rises whenever it is handed to the runners, begun by one, or ended otherwise than by its actions; a"
        " request carries that of its run as Workflow-Epoch."
    )
    restarts: list[RestartShown] | None = Field(
        default=None,
        description="The last 20, and that it has timed out or was given up, oldest first; only where there are any.",
    )
    current_step: CurrentStep | None = Field(
        description="The step that it runs, or unless it is running the one that it begins or goes on with; null at the end."
    )
    cut_off: CutOff | None = Field(
        default=None, description="Only where it was cancelled, timed out or given up while a runner was at a step."
    )
    executed_actions: list[Outcome] = Field(description="In the order they were run.")


class RecentExecution(Shown):
    """An execution in a strip of recent results."""

    execution_id: ExecutionId
    status: ShownStatus
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    next_attempt_at: datetime | None


class ExecutionPage(Shown):
    """A part of the list of executions."""

    items: list[ExecutionSummary]
    next_cursor: str | None = Field(description="Give it as cursor to get what follows; null at the end.")


class Triggered(Shown):
    """The execution is accepted and will run."""

    status: Literal["workflow triggered", "workflow queued"]
    execution_id: ExecutionId
    origin_id: ExecutionId | None = Field(default=None, description="The execution that is repeated.")


class Signalled(Shown):
    """The signal is kept."""

    status: Literal["signal accepted"]
    execution_id: ExecutionId
    signal: str
    at: datetime = Field(description="When it was sent first.")
    sender: str = Field(description="Name of the token that sent it first; anonymous without authentication.")
    goes_on: bool = Field(
        description="Whether the execution had come to the step that waits for it, and goes on; else it is kept until then."
    )
