"""Cron expressions in a time zone.

Five fields (minute, hour, day of month, month, day of week) with names, ranges, lists, steps, ``L`` and ``#``, or one of
the names in :data:`NAMED`. The library finds the local times that match; which instants those are is decided here:

- A local time that a zone skips (clocks go forward) runs at the next instant that exists, once however many were skipped.
- A local time that a zone repeats (clocks go back) runs once, the first time.
- An expression for every hour (its hour field admits all 24) means elapsed time: it runs in a repeated hour as well, and
  makes nothing up for a skipped one.

Both rules can be set (``gap``, ``overlap``) and then hold for every expression.
"""

from calendar import monthrange
from copy import copy
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from typing import Final, Literal
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from domain.errors import DomainError
from domain.instants import EPOCH

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

_VALUES: Final = {"minute": 60, "hour": 24, "day-of-month": 31, "month": 12, "day-of-week": 7}  # how many a field has
_SECOND: Final = timedelta(seconds=1)
_MINUTE: Final = timedelta(minutes=1)
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


def overlong_step(text: str) -> str | None:
    """Return what is wrong with a step that leads out of its field from anywhere; None where there is none.

    ``text`` is an expression that is understood: such a one is valid, and means the first value alone.
    """
    for (field, values), part in zip(_VALUES.items(), text.split(), strict=False):
        for term in part.split(","):
            step = term.partition("/")[2]
            if step and int(step) > values:
                return (
                    f"{text!r} has a step of {step} in the {field}, which has {values} values; write a step of {values} or "
                    "less, or a periodic trigger with an interval"
                )
    return None


class _Parsed:
    """The local times that match an expression, found without a look at each day.

    What a field admits is the library's reading. Which days of a month match depends on how long it is and on the weekday of
    its first day alone, so that 29 February on a Monday is found with one look at each year.
    """

    def __init__(self, fields: CronSim) -> None:
        self.is_hourly = len(fields.hours) == 24
        self._fields = fields
        self._hours = sorted(fields.hours)
        self._minutes = sorted(fields.minutes)
        self._days: dict[tuple[int, int], list[int]] = {}

    def next_match(self, after: datetime) -> datetime:
        """Return the first local time later than ``after`` that matches."""
        start = after.replace(second=0, microsecond=0) + _MINUTE
        if start.day in self._days_of(start.year, start.month):
            if start.hour in self._fields.hours:
                minute = next((each for each in self._minutes if each >= start.minute), None)
                if minute is not None:
                    return start.replace(minute=minute)
            hour = next((each for each in self._hours if each > start.hour), None)
            if hour is not None:
                return start.replace(hour=hour, minute=self._minutes[0])
        year, month, day = start.year, start.month, start.day
        while True:
            found = next((each for each in self._days_of(year, month) if each > day), None)
            if found is not None:
                return datetime(year, month, found, self._hours[0], self._minutes[0])  # noqa: DTZ001 - a local time
            year, month, day = (year, month + 1, 0) if month < 12 else (year + 1, 1, 0)

    def _days_of(self, year: int, month: int) -> list[int]:
        if month not in self._fields.months:
            return []
        kind = monthrange(year, month)
        if kind not in self._days:
            days = range(1, kind[1] + 1)
            self._days[kind] = [day for day in days if self._fields.match_day(date(year, month, day))]
        return self._days[kind]


@lru_cache(maxsize=8192)
def _parsed(text: str) -> _Parsed:
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
    return _Parsed(parsed)


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
    known = _known(text, zone, gap, overlap)
    since, due = known.span
    if not since <= after < due:
        due = _search(text, zone, after, gap, overlap)
        known.span = (after, due)
    return due


class _Known:
    """The latest answer: nothing is due within the span, so that what is due in years is not searched anew at each tick.

    One tuple, for threads ask as well.
    """

    def __init__(self) -> None:
        self.span = (EPOCH, EPOCH)


@lru_cache(maxsize=8192)
def _known(text: str, zone: str, gap: Gap | None, overlap: Overlap | None) -> _Known:
    return _Known()


def _search(text: str, zone: str, after: datetime, gap: Gap | None, overlap: Overlap | None) -> datetime:
    parsed = _parsed(text)
    gap = gap or ("skip" if parsed.is_hourly else "next")
    overlap = overlap or ("both" if parsed.is_hourly else "first")
    offset = _offset(ZoneInfo(zone), after)
    reached, local = after, _local(after, offset)
    match = parsed.next_match(local)
    while True:
        due = match.replace(tzinfo=timezone.utc) - offset
        transition = _first_transition(zone, reached, due)
        if transition is None:
            if not _is_repeated(zone, due, overlap):
                return due
            reached, local, match = due, match, parsed.next_match(match)
            continue
        # The clocks change before that local time comes: go on with the new offset.
        resumed = _local(transition.at, transition.after)
        if gap == "next" and transition.after > transition.before and match < resumed:
            return transition.at
        reached, offset, before, local = transition.at, transition.after, local, resumed - _SECOND
        if not before <= local < match:  # or else it is the next match from here as well, perhaps years ahead
            match = parsed.next_match(local)


def _local(at: datetime, offset: timedelta) -> datetime:
    return (at + offset).replace(tzinfo=None)


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
