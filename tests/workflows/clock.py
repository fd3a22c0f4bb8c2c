"""A clock that the test sets."""

from datetime import datetime, timedelta, timezone

START = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def move(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
