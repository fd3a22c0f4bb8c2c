"""A workflow, whole and in lists, and its versions."""

from datetime import datetime
from typing import ClassVar, Literal

from pydantic import ConfigDict, Field, JsonValue

from actions.registry import WorkflowDefinition
from apps.workflows.answers.executions import ExecutionSummary, RecentExecution
from apps.workflows.answers.problems import ProblemField
from apps.workflows.answers.shown import SHOWN, Shown, WorkflowId
from apps.workflows.answers.triggers import ShownTrigger


class DefinitionShown(WorkflowDefinition):
    """A definition, defaults filled in."""

    model_config: ClassVar[ConfigDict] = SHOWN


class WorkflowSummary(DefinitionShown):
    """A workflow as lists show it: its definition, defaults filled in, and where it stands."""

    trigger: ShownTrigger
    version: int = Field(description="Counts up with every change; also the ETag.")
    created_at: datetime
    updated_at: datetime
    next_run: datetime | None
    archived_at: datetime | None = Field(default=None, description="Only of a workflow that is archived.")
    paused_at: datetime | None = Field(default=None, description="Only of a workflow that is paused.")
    recent_executions: list[RecentExecution] | None = Field(
        default=None, description="Its newest executions, newest first; only in lists that ask for them."
    )


class Waits(Shown):
    """The waits that a retry policy comes to, in seconds."""

    attempts: int
    longest_waits: list[float]
    longest_total: float
    jitter: Literal["full", "none"]
    budget: float | None


class RetrySchedule(Waits):
    """The waits of the workflow's policy, and of the actions that have one of their own."""

    actions: dict[str, Waits]


class WorkflowInFull(WorkflowSummary):
    """A workflow with its newest execution."""

    retry_schedule: RetrySchedule

    last_execution: ExecutionSummary | None
    warnings: list[ProblemField] = Field(
        description="What would make an execution fail that began now: a workflow that it starts and that is not there, a "
        "secret or a variable that is not set any more."
    )


class StepOutline(Shown):
    """A step of a definition that this service cannot read."""

    type: str
    action_id: str


class UnreadableWorkflow(Shown):
    """A workflow in a list whose definition this service cannot read: what is known of it all the same."""

    unreadable: str = Field(description="Why it cannot be read, and how to mend that.")
    workflow_id: WorkflowId
    trigger: dict[str, JsonValue]
    actions: list[StepOutline]
    on_failure: list[StepOutline] | None = None
    finally_: list[StepOutline] | None = Field(default=None, alias="finally")
    version: int
    created_at: datetime
    updated_at: datetime
    next_run: datetime | None
    archived_at: datetime | None = None
    paused_at: datetime | None = None
    recent_executions: list[RecentExecution] | None = None


class WorkflowPage(Shown):
    """A part of the list of workflows."""

    items: list[WorkflowSummary | UnreadableWorkflow]
    next_cursor: str | None = Field(description="Give it as cursor to get what follows; null at the end.")


class VersionStored(Shown):
    """What is known of a version besides its definition."""

    version: int
    created_at: datetime
    archived_at: datetime | None = Field(description="Only of a workflow that was archived at this version.")


class VersionShown(VersionStored):
    """One version of a workflow."""

    definition: DefinitionShown


class VersionInList(VersionStored):
    """A version in a list."""

    definition: DefinitionShown | None = Field(description="Null where this service cannot read it.")
    unreadable: str | None = Field(default=None, description="Why it cannot, and how to mend that; only there.")


class VersionPage(Shown):
    """A page of versions."""

    current: int = Field(description="Number of the current version.")
    items: list[VersionInList]
    next_cursor: str | None
