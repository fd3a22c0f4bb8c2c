"""The clock of the runner."""

from datetime import datetime, timezone


def now() -> datetime:
    """Return the current instant, in whole milliseconds as instants are stored."""
    found = datetime.now(timezone.utc)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)
