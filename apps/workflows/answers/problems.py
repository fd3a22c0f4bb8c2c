"""An error."""

from typing import Literal

from pydantic import Field

from apps.workflows.answers.shown import ExecutionId, Shown, ShownStatus, TriggerStatus


class ProblemField(Shown):
    """What is wrong with one field."""

    field: str
    message: str


class Problem(Shown):
    """An error, as RFC 9457 has it; some kinds have further members."""

    type: str
    title: str
    status: int | Literal["workflow in progress"] = Field(
        description='The status code; where an execution is open already, the words "workflow in progress".'
    )
    detail: str
    errors: list[ProblemField] | None = Field(default=None, description="Each field that is wrong.")
    request_id: str | None = Field(default=None, description="Also in the header X-Request-Id and in the log.")
    trigger_status: TriggerStatus | None = Field(default=None, description="Only of workflow-in-progress.")
    execution_id: ExecutionId | None = Field(
        default=None, description="The open execution of workflow-in-progress; the one that has ended of execution-finished."
    )
    execution_status: ShownStatus | None = Field(default=None, description="Only of execution-finished.")
    retry_waits: bool | None = Field(
        default=None,
        description="Whether a retry of the execution, when that has ended, waits for the signal anew; only of"
        " signal-too-late.",
    )
    backfill_id: ExecutionId | None = Field(default=None, description="The running one; only of backfill-in-progress.")
