"""``delay``: lets time pass, without a runner.

The execution waits in the database, as it does for a retry, and the scheduler hands it to the runners again when the time
has come. What comes back goes on with the next step, in the same attempt.
"""

from datetime import datetime, timezone
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator
from typing_extensions import Self

from actions.durations import OpenDuration
from actions.running import Context, Delayed, Failed, Outcome, Succeeded
from domain.action import Action
from domain.durations import LONGEST, parse_duration
from domain.errors import DomainError
from domain.excerpts import excerpt
from domain.instants import instant, written
from templates.template import is_open


def _instant(text: str, info: ValidationInfo) -> str:
    if not is_open(text, info):
        parse_instant(text)
    return text


def parse_instant(text: str) -> datetime:
    """Return the instant that ``text`` names.

    Raises:
        ValueError: it names none.
    """
    try:
        # datetime.fromisoformat takes Z from Python 3.11 on only.
        return instant(datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text))
    except (ValueError, OverflowError):
        raise ValueError(f"{excerpt(text, 40)!r} is not an instant; write one such as 2026-01-31T12:00:00Z") from None


class DelayAction(Action):
    """Waits for a time, or until an instant."""

    waits: ClassVar[bool] = False

    type: Literal["delay"]
    duration: Annotated[OpenDuration, Field(examples=["10s", "2h", "1d"])] | None = Field(
        default=None, description="How long to wait."
    )
    until: Annotated[str, Field(max_length=1000), AfterValidator(_instant)] | None = Field(
        default=None, description="Until when to wait, instead of duration; no wait where that has passed."
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.duration is None) == (self.until is None):
            raise ValueError("write either duration or until")
        return self


async def run(action: DelayAction, context: Context) -> Outcome:
    """Say until when to wait."""
    now = instant(datetime.now(timezone.utc))
    try:
        until = now + parse_duration(action.duration) if action.duration is not None else parse_instant(action.until or "")
    except (DomainError, ValueError) as error:
        return Failed("bad-input", str(error))
    if until > now + LONGEST:
        return Failed("bad-input", f"{until.isoformat()} is more than {LONGEST.days} days ahead")
    shown = written(until)
    if until <= now:
        return Succeeded(logs=(f"{shown} has passed",), output={"until": shown})
    return Delayed(until, logs=(f"waits until {shown}",), output={"until": shown})
