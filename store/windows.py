"""Reading backwards in time in bounded steps.

SecantusDB sorts whatever a filter finds before it cuts to the limit, so a list of the newest ones that is asked for at once
reads everything that there is. A window is a range of an index; each reaches further back than the last, and whoever has
found enough asks no further.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from domain.instants import EPOCH

Window = tuple[datetime | None, datetime | None]  # from, inclusive; to, exclusive; None: without end

_REACHES = tuple(timedelta(hours=hours) for hours in (1, 24, 8 * 24, 45 * 24))


def backwards(before: datetime | None, now: datetime) -> Iterator[Window]:
    """Yield windows that cover everything before ``before`` (None: everything), newest first."""
    high, top = before, min(before or now, now)
    for reach in _REACHES:
        low = max(top - reach, EPOCH)
        yield low, high
        high = low
    yield None, high
