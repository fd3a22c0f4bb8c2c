"""Triggers, and the arithmetic of when a workflow is next due.

A periodic workflow is due on the grid ``anchor + k * interval`` with k = 1, 2, …, or on ``startAt + k * interval`` with
k = 0, 1, … where it names a start; a cron workflow at the instants of its expressions; a ``once`` workflow at its instant.
Where on the grid a workflow stands never depends on when the last run began, ended or was released, so the cadence cannot
drift. Jitter delays the release of a tick and leaves its due instant, and so its identity, alone.
"""

import difflib
import hashlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice, takewhile
from typing import Annotated, Any, Final, Literal, Union

from pydantic import Field, ValidationInfo, field_serializer, field_validator

from domain.cron import Gap, Overlap, check_expression, next_instant, zone_names
from domain.durations import Duration, parse_duration
from domain.instants import MILLISECOND, WrittenInstant, to_millis
from domain.model import Model

MAX_EXPRESSIONS: Final = 20
LONGEST_JITTER: Final = timedelta(hours=24)


MisfirePolicy = Literal["last", "skip", "all"]


class Misfire(Model):
    """What becomes of ticks that were due while nothing could fire them."""

    policy: MisfirePolicy = Field(
        default="last",
        description="last: the last one is run and stands for all; skip: none is run; all: the last `max` are run in order, "
        "each under the overlap policy (skip would skip all but the first; queue lets them wait their turn).",
    )
    max: int = Field(
        default=100, strict=True, ge=1, le=1000, description="Most ticks that `all` makes up for; earlier ones are missed."
    )
    window: Duration | None = Field(default=None, description="Ticks that are late by more than this are missed.")


class Daylight(Model):
    """What becomes of local times that a change of the clocks skips or repeats."""

    gap: Gap | None = Field(default=None, description="A skipped local time: run at the next instant that exists, or not.")
    overlap: Overlap | None = Field(default=None, description="A repeated local time: run it first, last or both.")


class ManualTrigger(Model):
    """Runs when someone asks for it."""

    type: Literal["manual"]


class _Scheduled(Model):
    """What every trigger with ticks has."""

    allow_manual: bool = Field(default=False, strict=True, description="Whether it may also be triggered by hand.")
    misfire: Misfire = Field(
        default=Misfire(),
        exclude_if=lambda misfire: misfire == Misfire(),
        description="What becomes of ticks that were due while nothing could fire them; a word is short for its policy.",
    )

    @field_validator("misfire", mode="before", json_schema_input_type=Misfire | MisfirePolicy)
    @classmethod
    def _policy_alone(cls, value: Any) -> Any:
        """Take ``"skip"`` for ``{"policy": "skip"}``."""
        return {"policy": value} if isinstance(value, str) else value

    @field_serializer("misfire")
    def _shortly(self, value: Misfire) -> Any:
        return value.policy if value == Misfire(policy=value.policy) else value.to_document()


class _Recurring(_Scheduled):
    """What every trigger with many ticks has."""

    start_at: WrittenInstant | None = Field(default=None, description="No tick before this instant.")
    end_at: WrittenInstant | None = Field(default=None, description="No tick after this instant.")
    max_runs: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=1_000_000_000,
        description="How many ticks are fired in all; those of a backfill do not count.",
    )
    jitter: Duration | None = Field(
        default=None,
        description="Each tick is released up to this much later, by a delay of its own that never changes; before the "
        "next one is due.",
    )

    @field_validator("end_at")
    @classmethod
    def _ends_after_start(cls, end_at: datetime | None, info: ValidationInfo) -> datetime | None:
        start_at = info.data.get("start_at")
        if end_at and start_at and end_at < start_at:
            raise ValueError("must not be earlier than startAt")
        return end_at

    @field_validator("jitter")
    @classmethod
    def _jitter_is_bounded(cls, jitter: str | None) -> str | None:
        if jitter is not None and parse_duration(jitter) > LONGEST_JITTER:
            raise ValueError("must be 24h or less")
        return jitter


class PeriodicTrigger(_Recurring):
    """Runs every ``interval``."""

    type: Literal["periodic"]
    interval: Duration = Field(description="Time from one tick to the next, as in 10s, 5m, 1h or 1d (24 hours).")

    @field_validator("interval")
    @classmethod
    def _jitter_is_shorter(cls, interval: str, info: ValidationInfo) -> str:
        jitter = info.data.get("jitter")
        if jitter is not None and parse_duration(jitter) >= parse_duration(interval):
            raise ValueError(f"must be longer than the jitter of {jitter}")
        return interval


class CronTrigger(_Recurring):
    """Runs at the local times that its expressions name, in its time zone."""

    type: Literal["cron"]
    expression: tuple[str, ...] = Field(
        min_length=1,
        max_length=MAX_EXPRESSIONS,
        description="Five fields, or a name such as @daily; a list of them means each of them.",
        examples=["30 3 * * mon-fri"],
    )
    timezone: str = Field(default="UTC", description="Name in the IANA time zone database.", examples=["Europe/Berlin"])
    daylight: Daylight = Field(default=Daylight(), exclude_if=lambda daylight: daylight == Daylight())

    @field_validator("expression", mode="before", json_schema_input_type=str | tuple[str, ...])
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("expression")
    @classmethod
    def _expressions_match(cls, expressions: tuple[str, ...]) -> tuple[str, ...]:
        for expression in expressions:
            if len(expression) > 200:
                raise ValueError("must be at most 200 characters long")
            check_expression(expression)
        return expressions

    @field_serializer("expression")
    def _as_written(self, value: tuple[str, ...]) -> Any:
        return value[0] if len(value) == 1 else list(value)

    @field_validator("timezone")
    @classmethod
    def _zone_exists(cls, zone: str) -> str:
        if zone not in zone_names():
            near = difflib.get_close_matches(zone.lower(), {name.lower() for name in zone_names()}, n=1)
            names = [name for name in zone_names() if near and name.lower() == near[0]]
            hint = f"did you mean {names[0]}?" if names else "write one such as Europe/Berlin or UTC"
            raise ValueError(f"is not a time zone of the IANA database; {hint}")
        return zone


class OnceTrigger(_Scheduled):
    """Runs once, at an instant."""

    type: Literal["once"]
    at: WrittenInstant = Field(description="When it runs.")


Trigger = Annotated[Union[ManualTrigger, PeriodicTrigger, CronTrigger, OnceTrigger], Field(discriminator="type")]
_BOUNDS: Final = {"end_at", "max_runs"}
TRIGGER_TYPES: Final = ("manual", "periodic", "cron", "once")
ON_SCHEDULE_ALONE: Final = (
    'workflow {} runs on schedule; set "allowManual": true in its trigger to start it otherwise as well'
)


def next_due(trigger: Trigger, anchor: datetime, after: datetime) -> datetime | None:
    """Return the first due instant later than ``after``, or None where the trigger has no more ticks.

    ``anchor`` is the instant the grid stands on: when this trigger was first stored.
    """
    if isinstance(trigger, ManualTrigger):
        return None
    if isinstance(trigger, OnceTrigger):
        return trigger.at if trigger.at > after else None
    if isinstance(trigger, PeriodicTrigger):
        due = _next_on_grid(trigger, anchor, after)
    else:
        since = _since(trigger, after)
        due = min(_next_of(trigger, expression, since) for expression in trigger.expression)
    return None if trigger.end_at is not None and due > trigger.end_at else due


def _since(trigger: CronTrigger, after: datetime) -> datetime:
    # The tick at startAt itself counts, and due instants are later than what is asked for.
    return after if trigger.start_at is None else max(after, trigger.start_at - MILLISECOND)


def _next_of(trigger: CronTrigger, expression: str, after: datetime) -> datetime:
    return next_instant(expression, trigger.timezone, after, gap=trigger.daylight.gap, overlap=trigger.daylight.overlap)


def _next_on_grid(trigger: PeriodicTrigger, anchor: datetime, after: datetime) -> datetime:
    interval = parse_duration(trigger.interval)
    first = anchor + interval if trigger.start_at is None else trigger.start_at
    if after < first:
        return first
    return first + ((after - first) // interval + 1) * interval


def latest_due(trigger: Trigger, anchor: datetime, due: datetime, now: datetime) -> datetime:
    """Return the last due instant from ``due``, which is one, up to ``now``."""
    if isinstance(trigger, PeriodicTrigger):
        interval = parse_duration(trigger.interval)
        last = now if trigger.end_at is None else min(now, trigger.end_at)
        return due + max(timedelta(), last - due) // interval * interval
    # Back from now in growing steps to a tick, then halving up to the last one: a year of minutes takes some forty looks.
    low, high = due, now
    step = timedelta(minutes=1)
    while now - step > due:
        found = next_due(trigger, anchor, now - step)
        if found is not None and found <= now:
            low = found
            break
        step *= 2
    while True:
        following = next_due(trigger, anchor, low)
        if following is None or following > high:
            return low
        low = following
        middle = low + (high - low) / 2
        later = next_due(trigger, anchor, middle)
        if later is not None and later <= high:
            low = later
        else:
            high = middle


def dues(trigger: Trigger, anchor: datetime, after: datetime, until: datetime, limit: int) -> list[datetime]:
    """Return the first ``limit`` due instants later than ``after`` and not later than ``until``."""
    return list(islice(takewhile(lambda due: due <= until, ticks(trigger, anchor, after)), limit))


def ticks(trigger: Trigger, anchor: datetime, after: datetime) -> Iterator[datetime]:
    """Yield the due instants later than ``after``, in order."""
    if isinstance(trigger, CronTrigger) and len(trigger.expression) > 1:
        yield from _merged(trigger, after)
        return
    due = next_due(trigger, anchor, after)
    while due is not None:
        yield due
        due = next_due(trigger, anchor, due)


def _merged(trigger: CronTrigger, after: datetime) -> Iterator[datetime]:
    """Yield the instants of several expressions, each of which is asked once for each of its own."""
    since = _since(trigger, after)
    coming = {expression: _next_of(trigger, expression, since) for expression in trigger.expression}
    while True:
        due = min(coming.values())
        if trigger.end_at is not None and due > trigger.end_at:
            return
        yield due
        for expression, instant in coming.items():
            if instant == due:
                coming[expression] = _next_of(trigger, expression, due)


def jitter_of(trigger: Trigger, anchor: datetime, workflow_id: str, due: datetime) -> timedelta:
    """Return by how much the release of a tick is delayed: the same at every look, up to the trigger's jitter.

    A tick is always released before the next one is due: those that wait for it would come late, and be missed.
    """
    written = getattr(trigger, "jitter", None)
    if written is None:
        return timedelta()
    longest = parse_duration(written)
    following = next_due(trigger, anchor, due)
    if following is not None:
        longest = min(longest, following - due - MILLISECOND)
    drawn = int.from_bytes(hashlib.sha256(f"jitter\0{workflow_id}\0{to_millis(due)}".encode()).digest()[:8], "big")
    return drawn % (longest // MILLISECOND + 1) * MILLISECOND


def step_of(trigger: Trigger) -> timedelta | None:
    """Return what lies between any two ticks, None where that is not always the same."""
    return parse_duration(trigger.interval) if isinstance(trigger, PeriodicTrigger) else None


def max_runs_of(trigger: Trigger) -> int | None:
    """Return how many ticks the trigger fires in all, None where there is no bound."""
    return getattr(trigger, "max_runs", None)


def allows_manual(trigger: Trigger) -> bool:
    """Tell whether the workflow may be triggered by hand."""
    return isinstance(trigger, ManualTrigger) or trigger.allow_manual


def grid_of(trigger: Trigger) -> dict[str, Any]:
    """Return what decides on which grid a trigger's ticks lie; as long as it is the same, it goes on over a change."""
    written = trigger.model_dump(exclude={"allow_manual", "misfire", "jitter", *_BOUNDS})
    return {**written, "interval": step_of(trigger)}  # 24h and 1d are the same


def bounds_of(trigger: Trigger) -> dict[str, Any]:
    """Return what decides how far the ticks go on the grid."""
    return trigger.model_dump(include=_BOUNDS)
