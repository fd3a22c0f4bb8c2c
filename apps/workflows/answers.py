"""The shapes of what the API answers, for its documents; :mod:`apps.workflows.representations` makes them.

Not used to write answers: building models for a page of 500 would cost more than reading it. A test holds every
representation against its model, and schemathesis the running service.
"""

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal, Union, get_args

from pydantic import ConfigDict, Field, JsonValue, WithJsonSchema, create_model

from actions.registry import WorkflowDefinition
from domain.access import Scope
from domain.execution import Status
from domain.identifiers import EXECUTION_ID_PATTERN, WORKFLOW_ID_PATTERN
from domain.model import Model
from domain.trigger import Trigger

ExecutionId = Annotated[str, Field(pattern=EXECUTION_ID_PATTERN)]
WorkflowId = Annotated[str, Field(pattern=WORKFLOW_ID_PATTERN)]
TriggerStatus = Literal["idle", "busy", "pending", "paused"]
ShownStatus = Annotated[
    str, WithJsonSchema({"type": "string", "enum": list(dict.fromkeys(status.shown for status in Status))})
]


def _is_open_ended(schema: dict[str, Any]) -> None:
    """Let clients meet members that they do not know: a later version may add some."""
    schema.pop("additionalProperties", None)


# Built when somebody asks for the documents: most never do, and it is a megabyte.
_SHOWN = ConfigDict(json_schema_extra=_is_open_ended, defer_build=True)


class Shown(Model):
    """Base of the answers; fields that are not there are null, unless said otherwise."""

    model_config: ClassVar[ConfigDict] = _SHOWN


def _shown(kind: type[Model]) -> type[Model]:
    status: Any = (
        TriggerStatus,
        Field(description="busy: actions run; pending: accepted or in backoff; paused: its ticks are held; idle: none."),
    )
    return create_model(
        f"Shown{kind.__name__}",
        __base__=kind,
        __doc__=kind.__doc__,
        status=status,
    )


_KINDS = get_args(get_args(Trigger)[0])
ShownTrigger: Any = Annotated[Union[tuple(_shown(kind) for kind in _KINDS)], Field(discriminator="type")]


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


class DefinitionShown(WorkflowDefinition):
    """A definition, defaults filled in."""

    model_config: ClassVar[ConfigDict] = _SHOWN


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


class ExecutionPage(Shown):
    """A part of the list of executions."""

    items: list[ExecutionSummary]
    next_cursor: str | None = Field(description="Give it as cursor to get what follows; null at the end.")


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


class DeadLetterShown(Shown):
    """A record that no service could take."""

    id: str
    topic: str
    partition: int
    offset: int
    reason: str
    at: datetime
    key: str | None
    value: str | None
    key_base64: str | None = Field(default=None, description="Only where the key is not text.")
    value_base64: str | None = Field(default=None, description="Only where the value is not text.")


class DeadLetterPage(Shown):
    """A part of the list of dead letters."""

    items: list[DeadLetterShown]
    next_cursor: str | None


class Resent(Shown):
    """The record was sent again."""

    status: Literal["resent"]
    id: str
    topic: str


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


class TokenShown(Shown):
    """A token, without its secret."""

    token_id: str
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class TokenCreated(TokenShown):
    """A new token. Its secret is shown this once."""

    token: str


class TokenList(Shown):
    """Every token that is kept."""

    items: list[TokenShown]


class Session(Shown):
    """Who the caller is."""

    name: str
    scope: Scope
    token_id: str | None
    csrf_token: str | None = Field(description="To send as X-CSRF-Token with every change; null without a cookie.")


class Change(Shown):
    """One place where a document differs from the one before."""

    path: str
    before: JsonValue = None
    after: JsonValue = None


class AuditEntry(Shown):
    """One change that somebody made."""

    entry_id: str
    at: datetime
    who: str = Field(description="Name of the token; anonymous without authentication.")
    token_id: str | None
    operation: str = Field(description="As in this document, such as replaceWorkflow.")
    path: str
    status: int
    request_id: str
    address: str | None
    changes: list[Change]


class AuditPage(Shown):
    """A part of the audit log, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None


class SecretShown(Shown):
    """A secret, without its value."""

    name: str
    source: Literal["stored", "mounted"] | None = Field(default=None, description="Where it is kept.")
    key_id: str | None = Field(default=None, description="The key that it is encrypted with.")
    updated_at: datetime | None = None
    problem: str | None = Field(default=None, description="Why it is not used.")


class SecretList(Shown):
    """The names of the secrets."""

    items: list[SecretShown]


class VariableShown(Shown):
    """A variable."""

    name: str
    value: JsonValue
    updated_at: datetime


class VariableList(Shown):
    """The variables, by name."""

    items: list[VariableShown]


class SecretProblem(Shown):
    """A secret that could not be encrypted anew."""

    name: str
    message: str


class Rotated(Shown):
    """What was encrypted anew."""

    key_id: str
    rotated: list[str]
    failed: list[SecretProblem]


class DryTrigger(Shown):
    """What a step would start."""

    workflow_id: WorkflowId
    count: int = Field(description="How many executions of it.")
    inputs: list[dict[str, JsonValue]] = Field(description="Of the first of them.")


class DryStep(Shown):
    """What one step would do."""

    list: Literal["actions", "onFailure", "finally"] = Field(description="Where it stands in the definition.")
    action_id: str
    type: str
    result: Literal["would run", "would wait", "skipped", "not reached", "error"] = Field(
        description="would wait: for a signal; not reached: a step before it fails, by what it is taken to have answered."
    )
    if_: bool | None = Field(
        default=None, alias="if", description="Whether its condition holds; null where that depends on what is not known."
    )
    rendered: dict[str, JsonValue] | None = Field(
        default=None, description="The action as it would be run; absent where it would not."
    )
    unknown: Annotated[tuple[str, ...], Field()] | None = Field(
        default=None, description="Fields whose templates read what is not known before it runs; they stand as written."
    )
    triggers: DryTrigger | None = Field(
        default=None, description="What a trigger-workflow would start; absent where that is not known before it runs."
    )
    token_from: str | None = Field(
        default=None,
        description="Where a request would get its token, unless its runner has one; absent where it needs none.",
    )
    output: dict[str, JsonValue] | None = Field(default=None, description="What it is taken to have answered.")
    error: str | None = Field(default=None, description="Why it cannot be rendered.")


class DryRun(Shown):
    """What each step would do; nothing was sent."""

    workflow_id: WorkflowId
    reference: str | None = Field(description="The one that is given, or what the definition makes of the input.")
    valid: bool = Field(description="Whether it would run.")
    errors: list[ProblemField]
    steps: list[DryStep]


class FieldProblem(Shown):
    """What is wrong with one field, and where it stands."""

    field: str
    message: str
    line: int | None


class Validated(Shown):
    """What validation found."""

    valid: bool
    errors: list[FieldProblem]
    definition: DefinitionShown | None = Field(description="With its defaults filled in; null where it is not valid.")
    written: dict[str, JsonValue] | None = Field(description="As it was written; null where it is not valid.")
    yaml: str | None = Field(description="As it was written, in YAML; null where it is not valid.")
    concise: str | None = Field(description="In YAML, without what is said by default; null where it is not valid.")


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
