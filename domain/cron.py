"""Cron expressions in a time zone.

Five fields (minute, hour, day of month, month, day of week) with names, ranges, lists, steps, ``L`` and ``#``, or one of
the names in :data:`NAMED`. The library finds the local times that match; which instants those are is decided here:

- A local time that a zone skips (clocks go forward) runs at the next instant that exists, once however many were skipped.
- A local time that a zone repeats (clocks go back) runs once, the first time.
- An expression for every hour (its hour field admits all 24) means elapsed time: it runs in a repeated hour as well, and
  makes nothing up for a skipped one.

Both rules can be set (``gap``, ``overlap``) and then hold for every expression.
"""

from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from domain.errors import DomainError

Gap = Literal["next", "skip"]
Overlap = Literal["first", "last", "both"]

NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}

_SECOND: Final = timedelta(seconds=1)
_DAY: Final = timedelta(days=1)
_NOON: Final = datetime(2024, 1, 1)  # noqa: DTZ001 - a local time, which has no zone yet


class BadExpression(DomainError):
    """Not a cron expression, or one that never matches."""


@dataclass(frozen=True)
class Transition:
    """A zone changes its offset from UTC."""

    at: datetime
    before: timedelta
    after: timedelta


@lru_cache(maxsize=1)
def zone_names() -> frozenset[str]:
    """Return the names of the time zones; what the machine calls its own is none of them."""
    return frozenset(available_timezones()) - {"localtime", "Factory"}


def check_expression(text: str) -> None:
    """Raise BadExpression where ``text`` cannot be understood or never matches."""
    _parsed(text)


@lru_cache(maxsize=8192)
def _parsed(text: str) -> CronSim:
    expression = NAMED.get(text.strip().lower(), text)
    mend = "write minute, hour, day of month, month and day of week, as in '30 3 * * mon-fri', or a name such as @daily"
    if expression.strip().startswith("@"):
        raise BadExpression(f"{text!r} is not one of {', '.join(NAMED)}")
    if len(expression.split()) != 5:
        raise BadExpression(f"{text!r} has {len(expression.split())} fields instead of 5; {mend}")
    try:
        parsed = CronSim(expression, _NOON)
    except (CronSimError, AssertionError, ValueError) as error:
        if str(error) == "Bad day-of-month" and _is_impossible(expression):
            raise BadExpression(f"{text!r} never matches: no such day in these months; name a day that exists") from None
        field = str(error).removeprefix("Bad ") if str(error).startswith("Bad ") else "field"
        raise BadExpression(f"{text!r} has a bad {field}; {mend}") from None
    if next(copy(parsed), None) is None:
        raise BadExpression(f"{text!r} never matches: no such day in these months; name a day that exists")
    return parsed


def _is_impossible(expression: str) -> bool:
    """Tell whether an expression is well-formed except that its days do not occur in its months."""
    minute, hour, day, _, weekday = expression.split()
    try:
        CronSim(f"{minute} {hour} {day} * {weekday}", _NOON)
    except (CronSimError, AssertionError, ValueError):
        return False
    return True


@lru_cache(maxsize=8192)
def _transitions(zone: str, year: int) -> tuple[Transition, ...]:
    """Return the changes of offset of a year, and those up to two days before and after it."""
    found = []
    place = ZoneInfo(zone)
    day = datetime(year, 1, 1, tzinfo=timezone.utc) - 2 * _DAY
    end = datetime(year + 1, 1, 1, tzinfo=timezone.utc) + 2 * _DAY
    offset = _offset(place, day)
    while day < end:
        following = _offset(place, day + _DAY)
        if following != offset:
            low, high = day, day + _DAY
            while high - low > _SECOND:
                middle = (low + (high - low) / 2).replace(microsecond=0)
                low, high = (middle, high) if _offset(place, middle) == offset else (low, middle)
            found.append(Transition(high, offset, following))
            offset = following
        day += _DAY
    return tuple(found)


def _offset(place: ZoneInfo, at: datetime) -> timedelta:
    return at.astimezone(place).utcoffset() or timedelta()


def _first_transition(zone: str, after: datetime, until: datetime) -> Transition | None:
    """Return the first change later than ``after`` and not later than ``until``."""
    for year in range(after.year, until.year + 1):
        for transition in _transitions(zone, year):
            if after < transition.at:
                return transition if transition.at <= until else None
    return None


def next_instant(
    text: str, zone: str, after: datetime, *, gap: Gap | None = None, overlap: Overlap | None = None
) -> datetime:
    """Return the first instant later than ``after`` at which the expression is due in ``zone``."""
    parsed = _parsed(text)
    hourly = len(parsed.hours) == 24
    gap = gap or ("skip" if hourly else "next")
    overlap = overlap or ("both" if hourly else "first")
    offset = _offset(ZoneInfo(zone), after)
    reached, local = after, _local(after, offset)
    while True:
        match = _next_match(parsed, local)
        due = match.replace(tzinfo=timezone.utc) - offset
        transition = _first_transition(zone, reached, due)
        if transition is None:
            if not _is_repeated(zone, due, overlap):
                return due
            reached, local = due, match
            continue
        # The clocks change before that local time comes: go on with the new offset.
        resumed = _local(transition.at, transition.after)
        if gap == "next" and transition.after > transition.before and match < resumed:
            return transition.at
        reached, offset, local = transition.at, transition.after, resumed - _SECOND


def _local(at: datetime, offset: timedelta) -> datetime:
    return (at + offset).replace(tzinfo=None)


def _next_match(parsed: CronSim, after: datetime) -> datetime:
    """Return the first local time later than ``after`` that matches."""
    simulation = copy(parsed)
    simulation.dt = after.replace(microsecond=0)
    return next(simulation)


def _is_repeated(zone: str, due: datetime, overlap: Overlap) -> bool:
    """Tell whether the local time of ``due`` comes twice, and this is not the time that counts."""
    if overlap == "both":
        return False
    for transition in _transitions(zone, due.year):
        length = transition.before - transition.after
        if length > timedelta() and (
            transition.at <= due < transition.at + length
            if overlap == "first"
            else transition.at - length <= due < transition.at
        ):
            return True
    return False
