"""What a running action is given and what it answers."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from domain.excerpts import excerpt
from domain.execution import Parent, Status
from domain.frozen import frozen
from domain.instants import EPOCH
from domain.retry import Failure
from domain.signal import Signal
from vault.interfaces import NoSecrets, NoVariables, SecretValues, VariableValues
from vault.redaction import Redactor

if TYPE_CHECKING:
    from actions.http.connections import Connections

Send = Callable[[str, bytes | None, bytes, Sequence[tuple[str, bytes]]], Awaitable[tuple[int, int]]]
"""Sends a message (topic, key, value, headers) and returns partition and offset when the broker has acknowledged it."""

ERROR_CLASSES: Final = (
    "dns", "connect", "tls", "proxy", "throttled", "certificate", "blocked-address", "tls-settings", "url", "request",
    "timeout", "timeout-connect", "timeout-first-byte", "timeout-idle", "timeout-total", "token",
    "status", "disconnected", "bad-response", "too-many-redirects", "insecure-redirect", "bad-redirect", "body-decode",
    "assertion", "connection", "refused", "internal", "template", "secret", "variable", "bad-input", "fail", "too-large",
    "crashed", "unknown-outcome", "timed-out", "given-up", "busy", "not-startable", "no-signal", "not-ended", "child-failed",
    "circle", "cancelled",
)  # fmt: skip
"""How what is built in fails; private kinds may have classes of their own."""

LONGEST_REASON: Final = 300  # characters, fewer where they take more than a byte each


@dataclass(frozen=True)
class Child:
    """An execution that an action has triggered, now or in an earlier attempt."""

    execution_id: str
    status: Status
    is_kept: bool = False  # the execution that this one takes up had triggered it, and it did not fail


class NotTriggered(Exception):
    """Not everything that an action was to trigger was started.

    ``number`` (from 0) tells which one is in the way, None where it is all of them; ``done`` how many were started.
    """

    def __init__(self, error_class: str, message: str, *, number: int | None = None, done: int = 0) -> None:
        super().__init__(message)
        self.error_class = error_class
        self.number = number
        self.done = done


class Trigger(Protocol):
    """Starts a workflow on behalf of an action, once for each input."""

    async def __call__(
        self, context: "Context", workflow_id: str, inputs: Sequence[Mapping[str, Any]], within: float, *, waits: bool
    ) -> list[Child]:
        """Return what was started, in order; where the workflow is busy, it is waited for, up to so many seconds.

        ``waits`` tells whether the action is going to wait for their end.

        Raises:
            NotTriggered: not all of it was.
        """


@dataclass(frozen=True)
class ChildEnd:
    """How an execution has ended that an action has triggered."""

    execution_id: str
    status: str  # ok, failed, cancelled, or gone, where it has been removed since
    reason: str | None = None
    # The output of its last action that succeeded; None where those of all together are too large for an output.
    result: Mapping[str, Any] | None = field(default_factory=dict)

    @property
    def told_reason(self) -> str | None:
        """Why it did not succeed, in so few bytes that an output can tell it of a thousand of them."""
        if self.reason is None or self.status == Status.OK.value:
            return None
        told = excerpt(self.reason, LONGEST_REASON)
        size = len(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace")) - len('""')
        # The mark of a cut takes three bytes, any other character up to six, where it is written as an escape.
        return told if size <= LONGEST_REASON + 2 else excerpt(told, LONGEST_REASON // 6)


Ends = Callable[[Sequence[str]], Awaitable[list[ChildEnd] | None]]
"""Returns how executions have ended, in order; None where one of them has not."""


class Signalled(Protocol):
    """How an action looks for a signal."""

    async def __call__(self, execution_id: str, name: str, *, over: int | None = None) -> Signal | None:
        """Return what an execution was told under a name; None where nobody has sent that.

        Where an attempt of the step is ``over`` by that, whoever sends it only then is told that it is too late.
        """


@dataclass(frozen=True)
class Resources:
    """What the runner shares among all executions."""

    http: "Connections"
    secrets: SecretValues = field(default_factory=NoSecrets)
    variables: VariableValues = field(default_factory=NoVariables)  # asked for before an action is run
    send: Send | None = None
    trigger: Trigger | None = None
    ends: Ends | None = None
    signalled: Signalled | None = None
    publish_own_topics: bool = False  # whether messages may go to the topics of this system


@frozen
class Context:
    """Where an action runs."""

    execution_id: str
    workflow_id: str
    action_id: str
    attempt: int  # from 1
    epoch: int
    resources: Resources
    created_at: datetime = EPOCH  # of the execution: when it was asked for
    waited: Mapping[str, Any] | None = None  # the output with which this very attempt has answered Awaiting before
    triggered_by: Parent | None = None  # where an action of another execution has asked for this one
    takes_up: str | None = None  # the execution that this one takes up where it failed

    async def secret(self, name: str) -> str:
        """Return the value of a secret.

        Raises:
            UnknownSecret: there is none of this name.
        """
        return await self.resources.secrets.get(name)

    @property
    def idempotency_key(self) -> str:
        """Stable over attempts, so that a receiver can tell a repetition."""
        return idempotency_key(self.execution_id, self.action_id)


def idempotency_key(execution_id: str, action_id: str) -> str:
    """Return what is the same over all attempts of an action of an execution, and of no other."""
    return f"{execution_id}:{action_id}"


@dataclass(frozen=True)
class Succeeded:
    """The action did its work."""

    logs: tuple[str, ...] = ()
    output: dict[str, Any] | None = None


@dataclass(frozen=True)
class Failed:
    """The action did not do its work; ``error_class`` is a stable name, ``message`` is for people."""

    error_class: str
    message: str
    logs: tuple[str, ...] = ()
    output: dict[str, Any] | None = None
    status: int | None = None  # of the response, where there was one
    retry_after: float | None = None  # seconds that the receiver asked to wait
    maybe_done: bool = False  # it is not idempotent and may have reached the receiver
    is_in_doubt: bool = False  # it was begun, and nobody has told what became of it
    error: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "error", {"class": self.error_class, "message": self.message})

    @property
    def failure(self) -> Failure:
        """What the retry decision needs to know."""
        return Failure(self.error_class, self.status, self.retry_after, self.maybe_done)


@dataclass(frozen=True)
class Skipped:
    """The action was not to be done, because its condition did not hold."""

    logs: tuple[str, ...] = ()
    output: dict[str, Any] | None = None


@dataclass(frozen=True)
class Delayed:
    """The action is done, and the next one begins at ``until``."""

    until: datetime
    logs: tuple[str, ...] = ()
    output: dict[str, Any] | None = None


@dataclass(frozen=True)
class Awaiting:
    """The action is run once more, in the same attempt, when what it waits for is there, or at ``until``.

    What that is its output says: the name of a ``signal``, or ``executionIds``, all of which are to have ended.
    """

    until: datetime
    logs: tuple[str, ...] = ()
    output: dict[str, Any] | None = None


Outcome = Succeeded | Failed | Skipped | Delayed | Awaiting


def redacted(outcome: Outcome, redactor: Redactor) -> Outcome:
    """Return an outcome without what ``redactor`` knows."""
    if isinstance(outcome, Failed):
        outcome = replace(outcome, message=redactor.value(outcome.message))
    outcome = replace(outcome, logs=tuple(redactor.value(list(outcome.logs))))
    # By what is waited for an execution is woken: nothing of anybody's is in there.
    return outcome if isinstance(outcome, Awaiting) else replace(outcome, output=redactor.data(outcome.output))
