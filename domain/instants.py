"""Instants: UTC-aware datetimes in whole milliseconds."""

from datetime import datetime, timedelta, timezone

from domain.errors import DomainError

MILLISECOND = timedelta(milliseconds=1)
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


class NaiveDatetime(DomainError):
    """An instant has no time zone; give it one, as in 2026-01-31T12:00:00Z."""


def instant(value: datetime) -> datetime:
    """Return ``value`` in UTC, cut to the millisecond.

    Raises:
        NaiveDatetime: ``value`` has no time zone.
    """
    if value.tzinfo is None:
        raise NaiveDatetime(f"{value.isoformat()} has no time zone; write for example {value.isoformat()}Z")
    value = value.astimezone(timezone.utc)
    return value.replace(microsecond=value.microsecond // 1000 * 1000)


def from_millis(millis: int) -> datetime:
    """Return the instant ``millis`` milliseconds after 1970-01-01T00:00:00Z."""
    return EPOCH + timedelta(milliseconds=millis)


def to_millis(value: datetime) -> int:
    """Return the whole milliseconds from 1970-01-01T00:00:00Z to ``value``."""
    return (value - EPOCH) // MILLISECOND
