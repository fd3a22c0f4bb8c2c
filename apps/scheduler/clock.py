"""The two clocks: the wall clock says what is due, the monotonic one measures how long something has lasted."""

from collections.abc import Callable
from datetime import datetime, timezone

Clock = Callable[[], datetime]
Monotonic = Callable[[], float]


def wall_clock() -> datetime:
    """Return the current instant, in microseconds: the agenda needs more than the milliseconds that are stored."""
    return datetime.now(timezone.utc)
