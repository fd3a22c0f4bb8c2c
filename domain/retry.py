"""Retry as a decision: never a sleep.

A policy is written in up to three places, and what is nearer wins field by field: the action's ``retry``, the workflow's
``retry``, and the workflow's short form ``retries`` and ``backoff`` (``retries: 3`` says the same as ``retry: {attempts:
4}``, ``backoff.base`` the same as ``retry.initial``). An action whose own ``retry`` gives ``attempts`` has a budget of its
own and leaves the execution's ``retries_left`` alone; all others share that.

The wait before retry ``n`` (1, 2, …) of an action is exponential with full jitter (Marc Brooker, "Exponential Backoff And
Jitter", AWS Architecture Blog, 2015): uniform between 0 and ``min(cap, initial * factor ** (n - 1))``. Full jitter spreads a
crowd of failed executions best; ``jitter: none`` waits the whole bound. A ``Retry-After`` lengthens the wait, up to
``retryAfterCap``.

Whether a failure is worth repeating depends on its status where it has one, else on its error class. A class in
``on.errors`` covers those that extend it by a hyphen: ``timeout`` covers ``timeout-connect``.
"""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final, Literal, TypeVar

from pydantic import Field, model_validator
from typing_extensions import Self

from domain.durations import Duration, parse_duration
from domain.instants import instant
from domain.model import Model
from domain.statuses import Statuses, includes

T = TypeVar("T")

MAX_RETRIES = 100
RETRYABLE_STATUSES: Final[tuple[int | str, ...]] = (408, 425, 429, "5xx")
RETRYABLE_ERRORS: Final = (
    "dns",
    "connect",
    "connection",
    "tls",
    "disconnected",
    "proxy",
    "throttled",
    "timeout",
    "internal",
    "busy",
)
ERROR_CLASS_PATTERN: Final = r"^([a-z][a-z0-9-]{0,63}|\*)$"
ANY_ERROR: Final = "*"

Jitter = Literal["full", "none"]
Factor = Annotated[float, Field(strict=True, ge=1.0, le=10.0, allow_inf_nan=False)]
ErrorClass = Annotated[str, Field(pattern=ERROR_CLASS_PATTERN, examples=["timeout", "connect", "*"])]


class Backoff(Model):
    """How long to wait before a retry."""

    base: Duration = Field(default="1s", description="Bound of the wait before the first retry of a step.")
    factor: Factor = Field(default=2.0, description="What the bound is multiplied by for each further retry of that step.")
    cap: Duration = Field(default="5m", description="Longest wait.")
    jitter: Jitter = Field(default="full", description="full: uniform between 0 and the bound; none: the whole bound.")

    @model_validator(mode="after")
    def _cap_is_not_below_base(self) -> Self:
        if parse_duration(self.cap) < parse_duration(self.base):
            raise ValueError(f"cap {self.cap} is shorter than base {self.base}; raise cap or lower base")
        return self

    def bound(self, retry: int) -> timedelta:
        """Return the longest wait before retry number ``retry`` (from 1)."""
        cap = parse_duration(self.cap).total_seconds()
        # Past 2**64 seconds the cap has won long since; the exponent is cut so that the power cannot overflow.
        growth = self.factor ** min(retry - 1, 64)
        return timedelta(seconds=min(cap, parse_duration(self.base).total_seconds() * growth))


class RetryOn(Model):
    """Which failures are worth repeating."""

    statuses: tuple[Statuses, ...] = Field(
        default=RETRYABLE_STATUSES, max_length=50, description="Statuses, classes such as 5xx and ranges such as 500-504."
    )
    errors: tuple[ErrorClass, ...] = Field(
        default=RETRYABLE_ERRORS, max_length=50, description="Error classes; timeout covers timeout-connect, * covers all."
    )


class Retry(Model):
    """How often, when and on what an action is tried again; what is absent is taken from the workflow or the default."""

    attempts: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=MAX_RETRIES + 1,
        description=f"Attempts in all, the first included (default 4, {MAX_RETRIES + 1} at most).",
    )
    initial: Duration | None = Field(
        default=None, description="Bound of the wait before the first retry of a step (default 1s)."
    )
    factor: Factor | None = Field(
        default=None, description="What the bound is multiplied by for each further retry of that step (default 2)."
    )
    cap: Duration | None = Field(default=None, description="Longest wait (default 5m).")
    jitter: Jitter | None = Field(
        default=None, description="full: uniform between 0 and the bound (default); none: the whole bound."
    )
    budget: Duration | None = Field(
        default=None, description="No retry begins later than this after the action first began (default: no limit)."
    )
    on: RetryOn | None = Field(default=None, description="Which failures are worth repeating.")
    retry_after_cap: Duration | None = Field(
        default=None, description="How much of a Retry-After is honoured at most (default 5m)."
    )
    retry_unsafe: bool | None = Field(
        default=None,
        strict=True,
        description="false: a POST, a PATCH or a message is repeated only when it certainly never left, also after its"
        " runner died or was stopped: then its outcome is unknown (default true: the Idempotency-Key lets receivers tell a"
        " repetition).",
    )


@dataclass(frozen=True)
class RetryPolicy:
    """A policy with nothing left open."""

    retries: int
    backoff: Backoff
    on: RetryOn
    budget: timedelta | None
    retry_after_cap: timedelta
    retry_unsafe: bool
    own_budget: bool  # whether ``retries`` are the action's own rather than shared by the whole execution

    def waits(self) -> list[timedelta]:
        """Return the longest wait before each retry, as far as the budget reaches."""
        waits: list[timedelta] = []
        for retry in range(1, self.retries + 1):
            wait = self.backoff.bound(retry)
            # With jitter shorter waits may still fit; what the budget certainly ends is a retry that must wait in full. One
            # that would have to begin at the very end of it does not: the attempts themselves take time.
            if self.budget is not None and self.backoff.jitter == "none" and sum(waits, wait) >= self.budget:
                break
            waits.append(wait if self.budget is None else min(wait, self.budget))
        return waits

    def longest_total(self) -> timedelta:
        """Return how long all its waits take together at most."""
        total = sum(self.waits(), timedelta())
        return total if self.budget is None else min(total, self.budget)


def resolve_retry(action: Retry | None, workflow: Retry | None, *, retries: int, backoff: Backoff) -> RetryPolicy:
    """Return the policy of an action.

    Raises:
        ValueError: what was written in different places does not fit together.
    """
    own, shared = action or Retry(), workflow or Retry()
    attempts = own.attempts or retries + 1  # the workflow's own attempts are its retries; see its definition
    resolved = Backoff(
        base=_first(own.initial, shared.initial, backoff.base),
        factor=_first(own.factor, shared.factor, backoff.factor),
        cap=_first(own.cap, shared.cap, backoff.cap),
        jitter=_first(own.jitter, shared.jitter, backoff.jitter),
    )
    budget = own.budget or shared.budget
    return RetryPolicy(
        retries=attempts - 1,
        backoff=resolved,
        on=_first(own.on, shared.on, RetryOn()),
        budget=parse_duration(budget) if budget else None,
        retry_after_cap=parse_duration(own.retry_after_cap or shared.retry_after_cap or "5m"),
        retry_unsafe=_first(own.retry_unsafe, shared.retry_unsafe, True),
        own_budget=own.attempts is not None,
    )


def check_retry(action: Retry | None, workflow: Retry | None, *, backoff: Backoff) -> None:
    """Refuse a policy that contradicts itself.

    Raises:
        ValueError: with what does not fit, in the words of ``retry``.
    """
    own, shared = action or Retry(), workflow or Retry()
    initial = _first(own.initial, shared.initial, backoff.base)
    cap = _first(own.cap, shared.cap, backoff.cap)
    budget = own.budget or shared.budget
    if parse_duration(cap) < parse_duration(initial):
        raise ValueError(f"cap {cap} is shorter than initial {initial}; raise cap or lower initial")
    if budget and parse_duration(budget) < parse_duration(initial):
        raise ValueError(f"budget {budget} is shorter than initial {initial}: no retry would fit; raise budget")


def _first(*values: T | None) -> T:
    return next(value for value in values if value is not None)


@dataclass(frozen=True)
class Failure:
    """What the decision needs to know of a failed action."""

    error_class: str
    status: int | None = None
    retry_after: float | None = None  # seconds, as the receiver asked
    maybe_done: bool = False  # it is not idempotent and may have reached the receiver


@dataclass(frozen=True)
class RetryDecision:
    """Retry at ``at``; ``retries_left`` of the execution remain after that one."""

    at: datetime
    retries_left: int


@dataclass(frozen=True)
class NoRetry:
    """It ends here; ``why`` is for people."""

    why: str


def decide_retry(
    policy: RetryPolicy,
    failure: Failure,
    *,
    retries_left: int,
    failed_before: int,
    first_started_at: datetime,
    failed_at: datetime,
    uniform: float,
) -> RetryDecision | NoRetry:
    """Return when to retry an action that failed at ``failed_at``, or why not.

    ``retries_left`` is what is left of the execution's budget, ``failed_before`` how many attempts of this very action
    failed before, ``first_started_at`` when the first of them (or this one) began; ``uniform`` is drawn from [0, 1).
    """
    used = failed_before if policy.own_budget else policy.retries - retries_left
    if used >= policy.retries:
        return NoRetry(_used_up(policy))
    if failure.status is not None:
        if not includes(policy.on.statuses, failure.status):
            return NoRetry(f"status {failure.status} is not retried")
    elif not _covers(policy.on.errors, failure.error_class):
        return NoRetry(f"errors of class {failure.error_class} are not retried")
    if failure.maybe_done and not policy.retry_unsafe:
        return NoRetry("it may have arrived, and retryUnsafe is false")
    # By its own failures, also where it shares the retries: that others have failed says nothing of what it waits for.
    wait = policy.backoff.bound(failed_before + 1)
    if policy.backoff.jitter == "full":
        wait *= uniform
    if failure.retry_after is not None and math.isfinite(failure.retry_after):
        cap = policy.retry_after_cap
        wait = max(wait, timedelta(seconds=min(max(failure.retry_after, 0.0), cap.total_seconds())))
    at = instant(failed_at + wait)
    if policy.budget is not None and at > first_started_at + policy.budget:
        return NoRetry(f"the next retry would begin after the budget of {policy.budget.total_seconds():.0f} s")
    return RetryDecision(at=at, retries_left=retries_left - (not policy.own_budget))


def _used_up(policy: RetryPolicy) -> str:
    if not policy.retries:
        return "no retries were asked for"
    # The execution may have retries left all the same, and shows them.
    return f"its own {policy.retries + 1} attempts are used up" if policy.own_budget else "no retries are left"


def _covers(classes: tuple[str, ...], error_class: str) -> bool:
    return any(name in (ANY_ERROR, error_class) or error_class.startswith(f"{name}-") for name in classes)
