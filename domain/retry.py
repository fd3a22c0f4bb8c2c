"""Retry as a decision: never a sleep.

The wait before retry ``n`` (1, 2, …) is exponential with full jitter (Marc Brooker, "Exponential Backoff And Jitter",
AWS Architecture Blog, 2015): uniform between 0 and ``min(cap, base * factor ** (n - 1))``. Full jitter spreads a crowd of
failed executions best; ``jitter: none`` waits the whole bound.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from domain.durations import Duration, parse_duration
from domain.instants import instant
from domain.model import Model

MAX_RETRIES = 100


class Backoff(Model):
    """How long to wait before a retry."""

    base: Duration = Field(default="1s", description="Bound of the wait before the first retry.")
    factor: float = Field(
        default=2.0, ge=1.0, le=10.0, description="What the bound is multiplied by for each further retry."
    )
    cap: Duration = Field(default="5m", description="Longest wait.")
    jitter: Literal["full", "none"] = Field(
        default="full", description="full: uniform between 0 and the bound; none: the whole bound."
    )

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


@dataclass(frozen=True)
class RetryDecision:
    """Retry at ``at``; ``retries_left`` remain after that one."""

    at: datetime
    retries_left: int


def decide_retry(
    *, retries_left: int, retries: int, backoff: Backoff, failed_at: datetime, uniform: float
) -> RetryDecision | None:
    """Return when to retry an attempt that failed at ``failed_at``, or None where the budget is used up.

    ``uniform`` is drawn from [0, 1) by the caller.
    """
    if retries_left <= 0:
        return None
    bound = backoff.bound(retries - retries_left + 1)
    wait = bound * uniform if backoff.jitter == "full" else bound
    return RetryDecision(at=instant(failed_at + wait), retries_left=retries_left - 1)
