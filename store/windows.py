"""Reading backwards or forwards in time in bounded steps.

SecantusDB sorts whatever a filter finds before it cuts to the limit, so a list of the newest ones that is asked for at once
reads everything that there is. A window is a range of an index; each reaches further than the last, and whoever has
found enough asks no further.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from domain.identifiers import asked_at, earliest_execution_id, is_execution_id
from domain.instants import EPOCH

# From, inclusive; to, exclusive; None: without end.
Window = tuple[datetime | None, datetime | None]
IdWindow = tuple[str | None, str | None]

_REACHES = tuple(timedelta(hours=hours) for hours in (1, 24, 8 * 24, 45 * 24))
# The first ones hold little even at a thousand executions a second, and a list that finds nothing asks no more often than
# there are windows.
_REACHES_OF_IDS = tuple(timedelta(seconds=seconds) for seconds in (4, 60, 960, 4 * 3600, 3 * 86400, 45 * 86400))

_REACHES_AHEAD = tuple(timedelta(minutes=minutes) for minutes in (1, 15, 2 * 60, 24 * 60, 8 * 24 * 60))


def within(window: Window | IdWindow, field: str) -> dict[str, Any]:
    """Return the filter for what has its ``field`` in a window: none for one without ends."""
    bounds = {operator: bound for operator, bound in zip(("$gte", "$lt"), window, strict=True) if bound is not None}
    return {field: bounds} if bounds else {}


def backwards(before: datetime | None, now: datetime) -> Iterator[Window]:
    """Yield windows that cover everything before ``before`` (None: everything), newest first."""
    high, top = before, min(before or now, now)
    for reach in _REACHES:
        low = max(top - reach, EPOCH)
        yield low, high
        high = low
    yield None, high


def forwards(start: datetime | None, until: datetime | None, now: datetime) -> Iterator[Window]:
    """Yield windows that cover everything from ``start`` up to ``until`` (None: everything), soonest first."""
    low, base = start, max(start or now, now)
    for reach in _REACHES_AHEAD:
        high = base + reach
        if until is not None and high >= until:
            break
        yield low, high
        low = high
    yield low, until


def windows_of_ids(low: str | None, high: str | None, now: datetime, newest: datetime | None = None) -> Iterator[IdWindow]:
    """Cut the ids from ``low`` up to ``high`` into windows, newest first, each reaching further back than the last.

    At ``newest``, where executions are known to be, they begin to be short again. The first is open to the future and the
    last to the past where ``low`` and ``high`` do not say otherwise: the time in an id that somebody chose himself may be
    anything.
    """
    top = asked_at(high) if high is not None and is_execution_id(high) and high < earliest_execution_id(now) else now
    tops = [top] if newest is None or newest >= top else [top, newest]
    for number, top in enumerate(tops, start=1):
        for reach in _REACHES_OF_IDS:
            start = max(top - reach, EPOCH)
            if number < len(tops) and start <= tops[number]:
                break
            bound = earliest_execution_id(start)
            if low is not None and bound <= low:
                yield low, high
                return
            if high is None or bound < high:
                yield bound, high
                high = bound
    yield low, high
