"""What the services ask of the durable store: the contract that the MongoDB repositories and the fakes both keep.

Every method that writes several things at once shares its round trip with other callers of the same instant (group
commit), and answers each caller for itself. Every method raises :class:`StoreUnavailable` when the database cannot be
reached or refuses the write; nothing is half-done then that a later call would not repair.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from domain.access import Token
from domain.backfill import Backfill
from domain.execution import ActionFinished, Admission, Cause, Ended, Execution, Restart, Status
from domain.occurrence import Unfired
from domain.signal import Signal
from domain.subscription import Subscribed
from vault.keys import Sealed


class StoreError(Exception):
    """Base of what the store raises."""


class StoreUnavailable(StoreError):
    """The database cannot be reached or refused the write."""


class StoreRefused(StoreUnavailable):
    """The database was reached and did not do it: its disk is full, say, or it could not make it durable."""


class Unstorable(StoreRefused):
    """No document can hold this: it is too large, or a number is beyond 64 bits. It is so at every attempt."""


class WorkflowExists(StoreError):
    """A workflow of that id is there already."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"workflow {workflow_id} exists already")
        self.workflow_id = workflow_id


class VersionConflict(StoreError):
    """Somebody else changed the workflow in between."""

    def __init__(self, workflow_id: str, expected: int) -> None:
        super().__init__(f"workflow {workflow_id} is no longer at version {expected}")
        self.workflow_id = workflow_id
        self.expected = expected


@dataclass(frozen=True)
class Workflow:
    """A stored workflow: its current definition and where its schedule stands."""

    workflow_id: str
    version: int  # from 1
    definition: Mapping[str, Any]  # snake_case, as Definition.to_document() wrote it
    total_actions: int
    shard: int  # Kafka partition of the id
    created_at: datetime
    updated_at: datetime
    anchor: datetime  # of the schedule's grid
    next_run: datetime | None = None
    archived_at: datetime | None = None
    runs: int = 0  # ticks fired so far; counted where the trigger bounds them
    unfired: Unfired | None = None  # the ticks just before next_run, where they were not fired
    paused_at: datetime | None = None
    held_from: datetime | None = None  # the first tick that the pause holds
    subscribed_at: datetime | None = None  # when its subscription to a topic began; of an archived one it has ended
    tick_input: Mapping[str, Any] | None = None  # what is so by default, which is all that its ticks are given

    @property
    def subscribed(self) -> Subscribed | None:
        """Its subscription to a topic."""
        kafka = self.definition.get("kafka")
        if kafka is None or self.subscribed_at is None or self.archived_at is not None:
            return None
        return Subscribed.of(self.workflow_id, kafka, self.subscribed_at)


@dataclass(frozen=True)
class Admitted:
    """The execution is there, by this call."""

    execution_id: str


@dataclass(frozen=True)
class AlreadyAdmitted:
    """An execution of that very id was there before: a repeated tick or record."""

    execution_id: str


@dataclass(frozen=True)
class Locked:
    """Another execution of the workflow is open."""

    execution_id: str  # of the holder; "" where it ended in the meantime
    status: Status
    gives_way: bool = False  # the holder is of a backfill: whoever else is asked for is queued behind it


AdmissionAnswer = Admitted | AlreadyAdmitted | Locked


@dataclass(frozen=True)
class Started:
    """A runner began a certainly new request; written late, or together with its result."""

    execution_id: str
    epoch: int
    runner: str
    at: datetime


@dataclass(frozen=True)
class Backlog:
    """What is still to be done."""

    open: int  # executions
    pending_since: datetime | None  # when the one that waits longest for a runner was handed out


@dataclass(frozen=True)
class ExecutionFilter:
    """Which executions to list; None means any."""

    workflow_id: str | None = None
    statuses: frozenset[Status] | None = None
    created_from: datetime | None = None  # inclusive
    created_to: datetime | None = None  # exclusive
    causes: frozenset[Cause] | None = None
    reference: str | None = None


@dataclass(frozen=True)
class WorkflowFilter:
    """Which workflows to list; None means any."""

    prefix: str | None = None
    contains: str | None = None  # anywhere in the id, whatever the case
    trigger_type: str | None = None
    is_archived: bool = False


@dataclass(frozen=True)
class Due:
    """What the scheduler needs to know of a workflow to fire its next tick."""

    workflow_id: str
    version: int
    trigger: Mapping[str, Any]  # snake_case
    retries: int
    total_actions: int
    shard: int
    anchor: datetime
    next_run: datetime
    timeout: str | None = None
    overlap: Mapping[str, Any] | None = None  # snake_case; None: the default
    runs: int = 0
    unfired: Unfired | None = None
    tick_input: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, workflow: Workflow) -> "Due | None":
        """Return it for a workflow that was read in full; None where that has no next tick."""
        if workflow.next_run is None or workflow.archived_at is not None:
            return None
        definition = workflow.definition
        return cls(
            workflow_id=workflow.workflow_id,
            version=workflow.version,
            trigger=definition["trigger"],
            retries=definition["retries"],
            total_actions=workflow.total_actions,
            shard=workflow.shard,
            anchor=workflow.anchor,
            next_run=workflow.next_run,
            timeout=definition.get("timeout"),
            overlap=definition.get("overlap"),
            runs=workflow.runs,
            unfired=workflow.unfired,
            tick_input=workflow.tick_input,
        )


@dataclass(frozen=True)
class Advance:
    """A tick has its disposition: where the schedule stands now."""

    next_run: datetime | None
    runs: int | None = None  # None: as before
    unfired: Unfired | None = None  # the ticks just before next_run, where they were not fired
    step: timedelta | None = None  # that lies between any two ticks of the schedule, where that is always the same


@dataclass(frozen=True)
class Heartbeat:
    """A runner process is alive."""

    runner: str
    beat: int  # counts up; compared for change only, so that clocks need not agree
    info: Mapping[str, Any] = field(default_factory=dict)  # host, pid, started_at


class Executions(Protocol):
    """Executions, open and finished."""

    async def admit(self, admission: Admission) -> AdmissionAnswer:
        """Insert the execution. One insert decides: durable (majority, journaled) when this returns Admitted."""

    async def admit_in_order(self, admissions: Sequence[Admission]) -> Sequence[AdmissionAnswer]:
        """Admit open ones in one go, each only where those before it are there; return the answers of the first ones.

        The first that is Locked ends it, and what is refused behind others as well: those behind it are not admitted.
        """

    async def claim(self, execution_id: str, epoch: int, runner: str, at: datetime) -> Execution | None:
        """Start a doubtful request under ``epoch + 1``; None where it is stale, taken or ended."""

    async def mark_started(self, marks: Sequence[Started]) -> frozenset[str]:
        """Mark certainly new requests as running under their own epoch; return the ids that were no longer ours."""

    async def project(
        self, results: Sequence[ActionFinished], *, folded: Mapping[str, Execution] | None = None
    ) -> frozenset[str]:
        """Apply results in order; return the ids of executions whose results the fence turned away or did not find.

        ``folded`` are executions as these results leave them, where the caller has followed them since they were started
        under the epoch of the results: they need not be read to be ended. The fence decides all the same.
        """

    async def reissue(
        self, execution_id: str, epoch: int, at: datetime, why: Restart, reason: str | None = None
    ) -> Execution | None:
        """Raise ``epoch`` to ``epoch + 1`` and make it pending again; None where it moved on in the meantime.

        A queued one takes the workflow's lock by that; None also where another execution holds it. None also where it is to
        be cut short and its actions are over, or it is to have timed out and its deadline is not; ``reason`` says why it is.
        """

    async def end(self, ended: Ended) -> Execution | None:
        """End an open execution; None where it is unknown, ended already, or under another epoch than the one that is named.

        None also where only an expired one is to be ended, and its deadline is not over.

        The end is untold from then on, until :meth:`told` says otherwise.
        """

    async def withdraw(self, execution_id: str) -> bool:
        """Remove an execution that was admitted and is to be none after all; False where it is more than admitted by now."""

    async def told(self, ids: Sequence[str]) -> None:
        """Note that Kafka has acknowledged the news of these ends; see :meth:`untold`."""

    async def untold(self, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return executions that were ended by :meth:`end` and whose end Kafka has not acknowledged yet."""

    async def intend(self, execution_id: str, epoch: int, key: str, runner: str, at: datetime) -> bool:
        """Note that ``runner`` is about to bring about the outcome ``key``, and mark the execution as running.

        Durable when this returns True; False where the epoch is no longer the current one, or the execution has ended.
        """

    async def states(self, ids: Sequence[str]) -> Mapping[str, tuple[int, Status]]:
        """Return epoch and status of those of the executions that exist."""

    async def get(self, execution_id: str) -> Execution | None:
        """Return one execution."""

    async def holder(self, lock_key: str) -> Execution | None:
        """Return the open execution that holds ``lock_key``."""

    async def holders(self, lock_keys: Sequence[str]) -> Mapping[str, Execution]:
        """Return the open executions by lock key."""

    async def list(self, where: ExecutionFilter, *, before: str | None, limit: int) -> Sequence[Execution]:
        """Return executions, newest first, with ids smaller than ``before``, without input and the results of actions."""

    async def latest(self, workflow_id: str) -> Execution | None:
        """Return the newest execution of a workflow, without input and the results of actions."""

    async def recent(self, lock_keys: Mapping[str, Sequence[str]], limit: int) -> Mapping[str, Sequence[Execution]]:
        """Return the newest executions of each workflow, newest first, without input and the results of actions.

        ``lock_keys`` are, by workflow, those that its open executions may hold.
        """

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return waiting executions with ``wake_at`` up to ``until``, soonest first."""

    async def expiring(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return open executions with a deadline up to ``until``, soonest first."""

    async def unclaimed(self, before: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return pending executions handed out before ``before`` that no runner has started, the oldest first."""

    async def line(self, workflow_id: str) -> Sequence[Execution]:
        """Return the queued executions of a workflow, the one that waits longest first."""

    async def queued(self, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return queued executions."""

    async def owned(self, shards: frozenset[int]) -> Mapping[str, Sequence[Execution]]:
        """Return running executions by owner, without their results and inputs."""

    async def backlog(self, at: datetime) -> Backlog:
        """Count what is open, and look for the oldest that waited for a runner at an instant: for the metrics alone."""


class Workflows(Protocol):
    """Definitions and their schedules."""

    async def create(self, workflow: Workflow) -> Workflow:
        """Store version 1 (or the next one of an archived id). Raises WorkflowExists."""

    async def replace(self, workflow: Workflow) -> Workflow:
        """Store ``workflow`` as the version after ``workflow.version - 1``. Raises VersionConflict."""

    async def get(self, workflow_id: str) -> Workflow | None:
        """Return the current version, archived or not. Concurrent calls share one query."""

    async def get_version(self, workflow_id: str, version: int) -> Mapping[str, Any] | None:
        """Return the stored definition of one version (snake_case)."""

    async def versions(self, workflow_id: str, *, before: int | None, limit: int) -> Sequence[Workflow]:
        """Return the current and the superseded versions, newest first, with numbers smaller than ``before``.

        Of each, ``updated_at`` is when it was stored.
        """

    async def archive(self, workflow: Workflow, at: datetime) -> bool:
        """Archive: it runs no more and leaves the list; False where it is not as it was read any more.

        It is not where it was changed, paused, resumed or archived, or its schedule moved on. Ticks that were due and not
        fired are forgotten here: record them before (:class:`Occurrences`).
        """

    async def list(self, where: WorkflowFilter, *, after: str | None, limit: int) -> Sequence[Workflow]:
        """Return workflows by id, with ids greater than ``after``."""

    def due(self, until: datetime, shards: frozenset[int]) -> AsyncIterator[Due]:
        """Yield the workflows with ``next_run`` up to ``until``, soonest first."""

    async def upcoming(self, *, after: tuple[datetime, str] | None, until: datetime | None, limit: int) -> Sequence[Due]:
        """Return workflows by ``next_run`` and id, soonest first: due before ``until``, and behind the pair ``after``.

        Those without a next run, such as paused ones, are not among them.
        """

    async def subscribed(self) -> Sequence[Subscribed]:
        """Return the subscriptions of all workflows to topics."""

    async def overdue_since(self, now: datetime) -> datetime | None:
        """Return the earliest ``next_run`` that is not later than ``now``: the scheduler is late by that much."""

    async def advance(self, workflow_id: str, version: int, due: datetime, advance: Advance) -> bool:
        """Set where the schedule stands, where its next run is still ``due``; False where it moved on.

        It has moved on as well where the definition is at another ``version``: that may have other ticks to come.
        Unfired ticks that the new ones do not continue are forgotten here: record them before (:class:`Occurrences`).
        """

    async def pause(self, workflow_id: str, at: datetime, next_run: datetime) -> bool:
        """Hold the ticks from ``next_run`` on; False where that is not its next run any more."""

    async def resume(self, workflow_id: str, version: int, paused_at: datetime, advance: Advance) -> bool:
        """End the pause that began at ``paused_at``; False where it is over, or the definition is at another ``version``.

        That may have other ticks to come.
        """


class Occurrences(Protocol):
    """The ledger of ticks that were not fired."""

    async def record(self, unfired: Unfired) -> None:
        """Keep a range, once; the same range again, grown in the meantime, replaces what was kept."""

    async def list(self, workflow_id: str, *, before: datetime | None, limit: int) -> Sequence[Unfired]:
        """Return ranges of a workflow that begin before ``before``, newest first."""


class Backfills(Protocol):
    """Ranges of past ticks that are made up for."""

    async def add(self, backfill: Backfill) -> bool:
        """Store a new one; False where another one of its workflow is running. The same again changes nothing."""

    async def save(self, backfill: Backfill) -> bool:
        """Store a change, where the revision before is still there; False where it moved on."""

    async def get(self, backfill_id: str) -> Backfill | None:
        """Return one."""

    async def running(self, workflow_id: str) -> Backfill | None:
        """Return the one of a workflow that is running."""

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Backfill]:
        """Return running ones with ``wake_at`` up to ``until``, soonest first."""

    async def list(self, workflow_id: str, *, before: str | None, limit: int) -> Sequence[Backfill]:
        """Return those of a workflow, newest first, with ids smaller than ``before``."""

    async def covering(self, workflow_id: str, first: datetime, last: datetime) -> Sequence[Backfill]:
        """Return those of a workflow whose range has instants in [first, last]."""


class Signals(Protocol):
    """What executions are told; a signal is *unheeded* until its execution has gone on because of it, or has ended."""

    async def put(self, signal: Signal, attempt: int) -> Signal | None:
        """Keep a signal, unheeded, for the step that looks for it in an attempt, or a later one.

        Return what is kept under its execution and name: another one, where that was first; None where nothing is, because
        :meth:`close` was first.
        """

    async def close(self, execution_id: str, name: str, attempt: int, at: datetime) -> Signal | None:
        """Return a signal; where there is none, from now on none is kept for an attempt up to this one."""

    async def get(self, execution_id: str, name: str) -> Signal | None:
        """Return a signal, heeded or not."""

    async def unheeded(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Signal]:
        """Return unheeded signals that are to be looked at by ``until``, the one that waits longest first.

        At first that is when they are sent.
        """

    async def look_again(self, execution_id: str, name: str, at: datetime) -> None:
        """Say when an unheeded signal is to be looked at again."""

    async def heed(self, execution_id: str, name: str, at: datetime) -> None:
        """Note that a signal is heeded."""


class Runners(Protocol):
    """Heartbeats of runner processes."""

    async def beat(self, heartbeat: Heartbeat) -> None:
        """Write the heartbeat."""

    async def all(self) -> Sequence[Heartbeat]:
        """Return every heartbeat that was written and not removed."""

    async def remove(self, runner: str) -> None:
        """Remove the heartbeat: this runner has stopped, or is given up."""


class Secrets(Protocol):
    """Secrets, encrypted."""

    async def put(self, name: str, sealed: Sealed, at: datetime) -> bool:
        """Store a secret; True where there was none of that name."""

    async def replace(self, name: str, before: Sealed, after: Sealed) -> bool:
        """Store the same secret as it was encrypted anew; False where it was changed or deleted in the meantime."""

    async def all(self) -> Sequence[tuple[str, Sealed]]:
        """Return every secret as it was encrypted."""

    async def list(self) -> Sequence[tuple[str, str, datetime]]:
        """Return the name, key id and time of the last change of every secret, by name."""

    async def delete(self, name: str) -> bool:
        """Delete a secret; False where there is none."""


@dataclass(frozen=True)
class Variable:
    """What an installation has for a name in its definitions."""

    name: str
    value: Any  # JSON, not null
    updated_at: datetime


class Variables(Protocol):
    """Variables, by name."""

    async def put(self, variable: Variable) -> bool:
        """Store a variable; True where there was none of that name."""

    async def get(self, name: str) -> Variable | None:
        """Return a variable; None where there is none of that name."""

    async def all(self) -> Sequence[Variable]:
        """Return every variable, by name."""

    async def values(self) -> Mapping[str, Any]:
        """Return the value of every variable."""

    async def delete(self, name: str) -> bool:
        """Delete a variable; False where there is none."""


@dataclass(frozen=True)
class AuditEntry:
    """One change that somebody made."""

    entry_id: str  # sorts by time
    at: datetime
    who: str  # name of the token; anonymous without authentication
    token_id: str | None
    operation: str  # as in the API's document, such as replaceWorkflow
    path: str
    status: int
    request_id: str
    address: str | None = None
    changes: Sequence[Mapping[str, Any]] = ()  # path, before, after


@dataclass(frozen=True)
class AuditFilter:
    """Which entries to list; None means any."""

    path: str | None = None  # of this address, and of those below it
    who: str | None = None
    operation: str | None = None


@dataclass(frozen=True)
class KeptAnswer:
    """What a request with an Idempotency-Key was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class KeyClaim:
    """What is known of an Idempotency-Key."""

    is_ours: bool  # the caller is to carry out the request
    first_at: datetime  # when the key was first seen
    leased_at: datetime  # when the caller claimed it
    fingerprint: str  # of the first request
    answer: KeptAnswer | None = None


class Tokens(Protocol):
    """API tokens."""

    async def add(self, token: Token) -> None:
        """Store a new token."""

    async def get(self, token_id: str) -> Token | None:
        """Return a token, good or not."""

    async def all(self) -> Sequence[Token]:
        """Return every token, oldest first."""

    async def revoke(self, token_id: str, at: datetime) -> bool:
        """Revoke; False where there is none that is not revoked already."""

    async def note_use(self, token_id: str, at: datetime) -> None:
        """Write when a token was last used."""


class Audit(Protocol):
    """The audit log."""

    async def write(self, entry: AuditEntry) -> None:
        """Add an entry."""

    async def list(self, where: AuditFilter, *, before: str | None, limit: int) -> Sequence[AuditEntry]:
        """Return entries, newest first, with ids smaller than ``before``."""


class Idempotency(Protocol):
    """Answers to requests with an Idempotency-Key."""

    async def claim(self, key: str, fingerprint: str, now: datetime) -> KeyClaim:
        """Claim a key, or return what is known of it."""

    async def keep(self, key: str, claim: KeyClaim, answer: KeptAnswer) -> None:
        """Keep the answer of a key that was claimed, unless somebody else has claimed it since; so do the others."""

    async def release(self, key: str, claim: KeyClaim) -> None:
        """Forget a claimed key: its request changed nothing."""

    async def leave(self, key: str, claim: KeyClaim) -> None:
        """Leave a claimed key to whoever claims it next: nobody knows what became of its request."""
