"""An execution, and what each event makes of it.

Life cycle::

    admitted ─> pending ─> running ─┬─> ok | failed | cancelled          terminal: never left again
                   ▲                │
                   └──── waiting <──┘   a retry or a delay is due at ``wake_at``, or something is waited for until then
    queued ─> pending                   waits until the open execution of its workflow has ended (overlap policy queue)
    running, waiting, pending ─> pending   it is cut short: its timeout is over, it is given up or cancelled; its handlers
                                           are to run
    skipped                             asked for while another execution of the workflow was open; terminal from the start

Every (re)start raises ``epoch``. A result is applied only when its epoch is the current one and its sequence number is
higher than the last one applied, so a runner that was given up for dead, or a replayed topic, changes nothing. ``waiting``
is shown to users as pending: they need not know who holds the ball.

:func:`apply` is the one definition of that; the MongoDB repository says the same in conditional updates, and both pass the
same contract tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, TypeVar

from domain.durations import parse_duration
from domain.frozen import frozen
from domain.instants import read_written, to_millis, written

T = TypeVar("T")


class Word(str, Enum):
    """Words of what is stored. One of a later version is kept as it is: it has no name here, and nothing goes by it.

    A document that holds one is read here nevertheless, among others that have nothing to do with it, and written again.
    """

    @classmethod
    def _missing_(cls, value: object) -> "Word | None":
        if not isinstance(value, str):
            return None
        word = str.__new__(cls, value)
        word._name_ = word._value_ = value
        return word


class Status(Word):
    """Where an execution stands.

    A word of a later version counts as open: such an execution keeps its place, and can only be ended here.
    """

    QUEUED = "queued"
    PENDING = "pending"
    RUNNING = "running"
    WAITING = "waiting"
    OK = "ok"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_open(self) -> bool:
        """Whether the execution may still change."""
        return self not in TERMINAL

    @property
    def shown(self) -> str:
        """What users are told."""
        return "pending" if self is Status.WAITING else self.value


OPEN = frozenset({Status.QUEUED, Status.PENDING, Status.RUNNING, Status.WAITING})
TERMINAL = frozenset(Status) - OPEN

FAILURES = frozenset({"failed", "unknown"})
"""Statuses of an action that did not do its work, as far as anybody knows."""

AWAITING = "waiting"
"""Status of an action that is to go on when what it waits for is there, or when its time is over."""

CLOSED = 2**31 - 1
"""Sequence number of a terminal execution: the fence alone keeps every result out."""

RESTARTS_KEPT = 20
"""How many restarts an execution tells, the last ones: one that no runner can take would tell of ever more.

Beside them that is kept by which it was cut short, which says what is not to be run any more.
"""

CARRIED = 0
"""Attempt number of what was taken over from another execution; an execution's own attempts count from 1."""


class Cause(Word):
    """What asked for an execution."""

    MANUAL = "manual"  # POST /workflows/{id}/trigger
    SCHEDULE = "schedule"  # a tick
    BACKFILL = "backfill"  # a tick of the past, made up for because somebody asked
    EVENT = "event"  # a record of Kafka: a request, or one of a topic that the workflow is subscribed to
    WEBHOOK = "webhook"  # POST /workflows/{id}/webhook, by a sender without a token
    WORKFLOW = "workflow"  # an action of another execution


def outcome_key(attempt: int, index: int) -> str:
    """Return the name of one attempt of the action at ``index``."""
    return f"{attempt}_{index}"


@frozen
class ActionOutcome:
    """What one attempt of one action did."""

    action_id: str
    index: int
    attempt: int
    # ok, failed, skipped (its condition did not hold), unknown (its runner died before it could tell), or waiting: the same
    # attempt of the action goes on, and has an outcome besides.
    status: str
    started_at: datetime
    finished_at: datetime
    logs: tuple[str, ...] = ()
    error: Mapping[str, Any] | None = None  # {"class": ..., "message": ...}
    output: Mapping[str, Any] | None = None
    next_index: int | None = None  # of the step to run after this one; None: the next one, or this one where it failed
    continued: bool = False  # it failed, and that does not count

    @property
    def key(self) -> str:
        """The place of this outcome among the execution's results; writing it twice is writing it once."""
        key = outcome_key(self.attempt, self.index)
        if self.is_cut_short:
            return f"{key}t"  # the attempt may have an outcome of its own: that after which it was to be retried, or a delay
        # It has an end besides, and may have waited more than once before that.
        return f"{key}w{to_millis(self.finished_at)}" if self.status == AWAITING else key

    @property
    def place(self) -> tuple[int, int, bool, bool, datetime]:
        """Where it stands in the order in which actions are run."""
        return (self.attempt, self.index, self.status != AWAITING, self.is_cut_short, self.finished_at)

    @property
    def is_cut_short(self) -> bool:
        """Whether it tells that the execution was cut short at this step."""
        return self.error is not None and self.error.get("class") in CUT_CLASSES and self.next_index is not None

    @property
    def is_cancellation(self) -> bool:
        """Whether it tells that the execution was cancelled at this step."""
        return self.is_cut_short and self.error is not None and self.error["class"] == Restart.CANCELLED.value

    @property
    def awaited(self) -> "Awaited | None":
        """What the action waits for; None where it does not."""
        if self.status != AWAITING:
            return None
        said = self.output or {}
        until = read_written(said["until"]) if "until" in said else None
        signal, ids = said.get("signal"), tuple(said.get("executionIds", ()))
        return Awaited(self.action_id, until, signal, None if signal else len(ids), ids)

    @property
    def is_wait(self) -> bool:
        """Whether an execution that waits after this one does so because the action asked for it, not to try it again."""
        return self.status in ("ok", AWAITING)

    @property
    def resume_index(self) -> int:
        """The position of the step to run when this was the last outcome."""
        if self.next_index is not None:
            return self.next_index
        return self.index + (self.status in ("ok", "skipped") or self.continued)


@dataclass(frozen=True)
class Awaited:
    """What an execution waits for: a signal, or the end of executions that it has triggered."""

    action_id: str
    until: datetime | None  # then it goes on anyway
    signal: str | None = None
    executions: int | None = None  # of how many the end is waited for; None of a signal
    execution_ids: tuple[str, ...] = ()  # lists are read without them


@dataclass(frozen=True)
class Failures:
    """The failed attempts of one action of an execution."""

    count: int
    since: datetime  # when the first of them began, or one that was interrupted before


@dataclass(frozen=True)
class Parent:
    """The action that has triggered an execution, and where it stands."""

    execution_id: str
    workflow_id: str
    action_id: str


@frozen
class Admission:
    """An execution comes to exist. Times are UTC."""

    execution_id: str
    workflow_id: str
    version: int
    cause: Cause
    created_at: datetime
    retries_left: int
    total_actions: int
    shard: int  # Kafka partition of the workflow id; tells which scheduler looks after it
    requested_at: datetime | None = None  # when it is handed to the runners, where that is later than created_at
    due_at: datetime | None = None  # of the tick
    lock_key: str | None = None  # None: not admitted but recorded as skipped
    queued: bool = False  # the lock is a place in the line, not the right to run
    reason: str | None = None  # why skipped
    deadline: datetime | None = None  # when its timeout is over, whatever it is doing
    input: Mapping[str, Any] | None = None  # what it was given when it was asked for
    reference: str | None = None  # what users know it by; see domain.reference
    origin_id: str | None = None  # the finished execution that this one repeats, or takes up where it failed
    takes_up: bool = False  # which of the two
    carried: Mapping[str, ActionOutcome] = field(default_factory=dict)  # see carry_over
    triggered_by: Parent | None = None  # where an action has asked for it
    is_unique: bool = False  # its id is random: nobody can have asked for it before


@frozen
class ActionFinished:
    """A runner finished one action; ``status`` is what the execution is from now on."""

    execution_id: str
    workflow_id: str
    epoch: int
    seq: int
    outcome: ActionOutcome
    status: Status  # RUNNING: more actions follow; WAITING: retry at wake_at; OK, FAILED or CANCELLED: the end
    retries_left: int
    runner: str = ""
    wake_at: datetime | None = None
    reason: str | None = None
    version: int = 0  # of the definition; 0: not told
    deadline: datetime | None = None  # of the handlers, which follow this one; None: as it was


class Restart(Word):
    """Why an execution is handed to the runners again."""

    RETRY = "retry"  # its wait is over: a new attempt
    WOKEN = "woken"  # its delay is over, or what it waits for is there: the same attempt goes on
    UNCLAIMED = "unclaimed"  # no runner had started it: still the same attempt
    LOST = "lost"  # its runner died: the same attempt, and one more loss in a row
    RELEASED = "released"  # it was queued, and the workflow is free: the first attempt
    HANDED_BACK = "handed-back"  # its runner was stopped: the same attempt, nothing was lost
    TIMED_OUT = "timed-out"  # its timeout is over: its handlers are run
    GIVEN_UP = "given-up"  # it has lost too many runners in a row: its handlers are run
    CANCELLED = "cancelled"  # somebody has cancelled it: of its handlers those are run that run in any case


INTERRUPTIONS = frozenset({Restart.LOST, Restart.HANDED_BACK})
"""A runner was at a step and did not finish it, as far as is recorded: what it was doing is done again."""

CUTS_SHORT = frozenset({Restart.TIMED_OUT, Restart.GIVEN_UP, Restart.CANCELLED})
"""Its actions are over: the step that it was at fails, in the error class of that name, and its handlers are run."""

CUT_CLASSES = frozenset(why.value for why in CUTS_SHORT)


@dataclass(frozen=True)
class Restarted:
    """An execution was handed to the runners again for another reason than a wait of its own, and goes on with a step.

    Retries and delays stand in its results.
    """

    at: datetime
    why: Restart
    attempt: int
    index: int  # of the step
    runner: str | None = None  # that was interrupted
    since: datetime | None = None  # when it had come to the step, or last went on with it, where it was interrupted
    reason: str | None = None  # why it was cut short, for people

    def known(self) -> dict[str, Any]:
        """Return what is known of it, by name: as documents and records tell it."""
        fields = {
            "at": self.at, "why": self.why.value, "attempt": self.attempt, "index": self.index,
            "runner": self.runner, "since": self.since, "reason": self.reason,
        }  # fmt: skip
        return {name: value for name, value in fields.items() if value is not None}


@dataclass(frozen=True)
class Reissued:
    """A (re)start is asked for under a new epoch."""

    execution_id: str
    workflow_id: str
    epoch: int  # the new one
    at: datetime
    why: Restart = Restart.RETRY
    reason: str | None = None  # why it is cut short, for people


@dataclass(frozen=True)
class Ended:
    """The execution ended without a result: cancelled, timed out, given up."""

    execution_id: str
    workflow_id: str
    status: Status
    reason: str
    at: datetime
    epoch: int | None = None  # ended only where it is under this one; None: whatever it is under
    expired: bool = False  # ended only where its deadline is over by then: it may have been given another one


Transition = ActionFinished | Reissued | Ended


@frozen
class Execution:
    """The state of one execution."""

    execution_id: str
    workflow_id: str
    version: int
    cause: Cause
    status: Status
    created_at: datetime
    retries_left: int
    total_actions: int
    shard: int
    epoch: int = 1
    seq: int = 0
    attempt: int = 1
    lost: int = 0  # runners in a row that died while they ran it, without a result in between
    due_at: datetime | None = None
    requested_at: datetime | None = None  # when it was last handed to the runners; None unless pending
    started_at: datetime | None = None
    finished_at: datetime | None = None
    wake_at: datetime | None = None
    resumed_at: datetime | None = None  # while open: when its last wait, for a retry or in a delay, was over
    owner: str | None = None  # id of the runner process, while running
    lock_key: str | None = None
    last_failed_action: str | None = None
    reason: str | None = None
    deadline: datetime | None = None  # while open: of its actions, or of its handlers once these have begun
    intents: tuple[str, ...] = ()  # keys of outcomes that a runner was about to bring about; see Executions.intend
    input: Mapping[str, Any] | None = None
    reference: str | None = None
    origin_id: str | None = None
    takes_up: bool = False  # its origin, where that failed
    triggered_by: Parent | None = None
    restarts: tuple[Restarted, ...] = ()  # the last ones, without retries and delays
    cut_off_since: datetime | None = None  # ended at its next step: when it had come to it, or last went on
    results: Mapping[str, ActionOutcome] = field(default_factory=dict)
    listed_wait: Awaited | None = field(default=None, compare=False)  # what it waits for, of one read without its results

    @property
    def ordered_results(self) -> list[ActionOutcome]:
        """Every attempt of every action, in the order they were run."""
        return sorted(self.results.values(), key=lambda outcome: outcome.place)

    @property
    def failures(self) -> dict[int, "Failures"]:
        """What failed or was interrupted before, by position of the action."""
        found: dict[int, Failures] = {}
        for restart in self.restarts:
            if restart.since is not None:
                found.setdefault(restart.index, Failures(0, restart.since))
        for outcome in self.ordered_results:
            if outcome.status == "failed":
                before = found.get(outcome.index, Failures(0, outcome.started_at))
                found[outcome.index] = Failures(before.count + 1, min(before.since, outcome.started_at))
        return found

    @property
    def last_outcome(self) -> ActionOutcome | None:
        """What was recorded last; positions rise within an attempt."""
        return max(self.results.values(), key=lambda outcome: outcome.place, default=None)

    @property
    def resume_index(self) -> int:
        """Position (from 0) of the step to run next; see :mod:`domain.flow`."""
        cut, last = self.cut_short, self.last_outcome
        if cut is not None and not any(outcome.is_cut_short for outcome in self.results.values()):
            return cut.index
        return 0 if last is None else last.resume_index

    @property
    def cut_short(self) -> Restarted | None:
        """How its actions were ended, so that its handlers could run; None where they were not."""
        return next((each for each in self.restarts if each.why in CUTS_SHORT), None)

    @property
    def is_at_actions(self) -> bool:
        """Whether it is at its actions, or before them, rather than at its handlers."""
        return self.cut_short is None and self.step_index < self.total_actions

    @property
    def is_being_cancelled(self) -> bool:
        """Whether its actions were cut short because somebody has cancelled it."""
        return self.cut_short is not None and self.cut_short.why is Restart.CANCELLED

    @property
    def may_be_cut_short(self) -> bool:
        """Whether there are actions that may be ended; else it has not begun, or is past them."""
        return self.status is not Status.QUEUED and self.is_at_actions

    @property
    def step_index(self) -> int:
        """Position of the step that it is at: of a delay, where it is in one, rather than of the step to run after it."""
        last = self.last_outcome
        return last.index if last is not None and self.is_delayed else self.resume_index

    @property
    def is_delayed(self) -> bool:
        """Whether it waits because a step asked for it, rather than to retry a step that failed."""
        last = self.last_outcome
        return self.status is Status.WAITING and last is not None and last.is_wait

    @property
    def awaited(self) -> Awaited | None:
        """What it waits for, besides time."""
        if self.status is not Status.WAITING:
            return None
        last = self.last_outcome
        return self.listed_wait if last is None else last.awaited

    @property
    def in_doubt(self) -> frozenset[int]:
        """Positions of the actions that were begun by a run that did not live to tell what became of them."""
        return frozenset(int(key.rpartition("_")[2]) for key in self.intents if key not in self.results)


def deadline_of(admitted_at: datetime, timeout: str | None) -> datetime | None:
    """Return when an execution with a total ``timeout`` (a duration, None: none) is over its time."""
    return None if timeout is None else admitted_at + parse_duration(timeout)


def altered(value: T, **changes: Any) -> T:
    """Return a copy with other values: ``dataclasses.replace`` for a fifth of its price, which every execution pays."""
    copy = object.__new__(type(value))
    copy.__dict__.update(value.__dict__)
    copy.__dict__.update(changes)
    return copy


def admit(admission: Admission) -> Execution:
    """Return the execution that ``admission`` makes: pending under its lock, or skipped from the start."""
    locked = admission.lock_key is not None
    return Execution(
        execution_id=admission.execution_id,
        workflow_id=admission.workflow_id,
        version=admission.version,
        cause=admission.cause,
        status=(Status.QUEUED if admission.queued else Status.PENDING) if locked else Status.SKIPPED,
        epoch=1 if locked else 0,
        seq=0 if locked else CLOSED,
        created_at=admission.created_at,
        retries_left=admission.retries_left,
        total_actions=admission.total_actions,
        shard=admission.shard,
        due_at=admission.due_at,
        requested_at=(admission.requested_at or admission.created_at) if locked and not admission.queued else None,
        finished_at=None if locked else admission.created_at,
        lock_key=admission.lock_key,
        reason=admission.reason,
        deadline=admission.deadline if locked else None,
        input=admission.input,
        reference=admission.reference,
        origin_id=admission.origin_id,
        takes_up=admission.takes_up,
        triggered_by=admission.triggered_by,
        results=admission.carried,
    )


def carry_over(origin: Execution) -> Mapping[str, ActionOutcome]:
    """Return what is done of ``origin`` as a retry of it begins with it: as of attempt 0, so as not to be run again.

    Handlers (``onFailure``, ``finally``) are not among it: they are for the end of the new execution. Nor is a delay
    in which it was ended, or its actions were: nobody has waited for it.
    """
    done = (
        outcome
        for outcome in origin.ordered_results
        if outcome.index < origin.total_actions and (outcome.status in ("ok", "skipped") or outcome.continued)
    )
    if origin.cut_short is not None:
        cut = origin.cut_short.index
        done = (outcome for outcome in done if outcome.index != cut)
    elif _ended_in_delay(origin):
        done = (outcome for outcome in done if outcome != origin.last_outcome)
    carried = (replace(outcome, attempt=CARRIED) for outcome in done)
    return {outcome.key: outcome for outcome in carried}


def _ended_in_delay(origin: Execution) -> bool:
    last = origin.last_outcome
    if last is None or last.status != "ok" or origin.finished_at is None:
        return False
    # A delay is recorded as ok when it begins, and only its output tells it from other actions.
    output = dict(last.output or {})
    until = output.pop("until", None)
    return not output and isinstance(until, str) and until > written(origin.finished_at)


def apply(execution: Execution, transition: Transition) -> Execution:
    """Return what ``transition`` makes of ``execution``: itself, unchanged, where the fence turns it away."""
    if not execution.status.is_open:
        return execution
    if isinstance(transition, ActionFinished):
        return _finish_action(execution, transition)
    if isinstance(transition, Reissued):
        return _reissue(execution, transition)
    if transition.epoch not in (None, execution.epoch):
        return execution
    if transition.expired and not _is_expired(execution, transition.at):
        return execution
    # What is cancelled ends as that, whatever keeps what is left of it from being run.
    status = Status.CANCELLED if execution.is_being_cancelled else transition.status
    closed = _close(execution, status, transition.at, transition.reason)
    since = _at_step_since(execution) if execution.status is Status.RUNNING else None
    # Whoever still runs it is fenced off.
    return altered(closed, epoch=execution.epoch + 1, cut_off_since=since)


def claim(execution: Execution, epoch: int, runner: str, at: datetime) -> Execution | None:
    """Return the execution started by ``runner`` under a new epoch, or None where the request is stale or already taken."""
    if execution.status is not Status.PENDING or execution.epoch != epoch:
        return None
    return altered(
        execution,
        status=Status.RUNNING,
        epoch=epoch + 1,
        seq=0,
        owner=runner,
        requested_at=None,
        started_at=min(filter(None, (execution.started_at, at))),
    )


def _finish_action(execution: Execution, result: ActionFinished) -> Execution:
    if execution.status not in OPEN or result.epoch != execution.epoch or result.seq <= execution.seq:
        return execution
    outcome = result.outcome
    changed = altered(
        execution,
        seq=result.seq,
        status=result.status,
        retries_left=result.retries_left,
        results={**execution.results, outcome.key: outcome},
        started_at=min(filter(None, (execution.started_at, outcome.started_at))),
        last_failed_action=outcome.action_id if outcome.status in FAILURES else execution.last_failed_action,
        requested_at=None,
        owner=result.runner,
        lost=0,  # whatever has killed its runners, it was not this action
        deadline=result.deadline or execution.deadline,
    )
    if result.status is Status.RUNNING:
        return changed
    if result.status is Status.WAITING:
        return altered(changed, owner=None, wake_at=result.wake_at, reason=result.reason)
    return _close(changed, result.status, outcome.finished_at, result.reason)


_RESTARTS_FROM = {
    Restart.RETRY: frozenset({Status.WAITING}),
    Restart.WOKEN: frozenset({Status.WAITING}),
    Restart.UNCLAIMED: frozenset({Status.PENDING}),
    Restart.RELEASED: frozenset({Status.QUEUED}),
    # Not from WAITING: nobody runs it, and its failed attempt would be run again without its backoff, under the same number.
    Restart.LOST: frozenset({Status.PENDING, Status.RUNNING}),
    Restart.HANDED_BACK: frozenset({Status.PENDING, Status.RUNNING}),
    Restart.TIMED_OUT: frozenset({Status.PENDING, Status.RUNNING, Status.WAITING}),
    Restart.GIVEN_UP: frozenset({Status.PENDING, Status.RUNNING}),
    Restart.CANCELLED: frozenset({Status.PENDING, Status.RUNNING, Status.WAITING}),
}


def _reissue(execution: Execution, request: Reissued) -> Execution:
    if request.epoch <= execution.epoch or execution.status not in _RESTARTS_FROM[request.why]:
        return execution
    cuts_short = request.why in CUTS_SHORT
    if cuts_short:
        if not execution.may_be_cut_short or (request.why is Restart.TIMED_OUT and not _is_expired(execution, request.at)):
            return execution
    # To wake what waits for a retry would run its failed action again under the same attempt, over its own record.
    elif execution.status is Status.WAITING and (request.why is Restart.WOKEN) != execution.is_delayed:
        return execution
    return altered(
        execution,
        status=Status.PENDING,
        epoch=request.epoch,
        seq=0,
        attempt=execution.attempt + (request.why is Restart.RETRY),
        # What its handlers do has killed nobody yet.
        lost=0 if cuts_short else execution.lost + (request.why is Restart.LOST),
        lock_key=execution.workflow_id if request.why is Restart.RELEASED else execution.lock_key,
        restarts=_restarts(execution, request),
        requested_at=request.at,
        resumed_at=request.at if execution.status is Status.WAITING else execution.resumed_at,
        # The handlers have a time of their own, which begins when they do.
        deadline=None if cuts_short else execution.deadline,
        wake_at=None,
        owner=None,
    )


def _is_expired(execution: Execution, at: datetime) -> bool:
    return execution.deadline is not None and execution.deadline <= at


def _restarts(execution: Execution, request: Reissued) -> tuple[Restarted, ...]:
    if request.why in (Restart.RETRY, Restart.WOKEN):
        return execution.restarts
    cuts_short = request.why in CUTS_SHORT
    interrupted = request.why in INTERRUPTIONS or (cuts_short and execution.status is Status.RUNNING)
    restarted = Restarted(
        at=request.at,
        why=request.why,
        attempt=execution.attempt,
        index=execution.step_index if cuts_short else execution.resume_index,
        runner=execution.owner if interrupted else None,
        since=_at_step_since(execution) if interrupted else None,
        reason=request.reason,
    )
    restarts = (*execution.restarts, restarted)
    kept = [each for each in restarts[:-RESTARTS_KEPT] if each.why in CUTS_SHORT]
    return (*kept, *restarts[-RESTARTS_KEPT:])


def _at_step_since(execution: Execution) -> datetime | None:
    """Return when a runner had come to the step that is next: at once after the one before, or when it last went on."""
    last = execution.last_outcome
    before = last.finished_at if last is not None and last.attempt != CARRIED else None
    restarted = execution.restarts[-1].at if execution.restarts else None
    return max(filter(None, (execution.started_at, before, execution.resumed_at, restarted)), default=None)


def _close(execution: Execution, status: Status, at: datetime, reason: str | None) -> Execution:
    return altered(
        execution,
        status=status,
        seq=CLOSED,
        finished_at=at,
        reason=reason,
        wake_at=None,
        resumed_at=None,
        owner=None,
        requested_at=None,
        lock_key=None,
        deadline=None,
    )
