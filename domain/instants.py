"""Instants: UTC-aware datetimes in whole milliseconds."""

import re
from datetime import datetime, timedelta, timezone
from typing import Annotated, Any, Final

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

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
    if value.tzinfo is not timezone.utc:
        value = value.astimezone(timezone.utc)
    beyond = value.microsecond % 1000
    return value.replace(microsecond=value.microsecond - beyond) if beyond else value


def from_millis(millis: int) -> datetime:
    """Return the instant ``millis`` milliseconds after 1970-01-01T00:00:00Z."""
    return EPOCH + timedelta(milliseconds=millis)


def to_millis(value: datetime) -> int:
    """Return the whole milliseconds from 1970-01-01T00:00:00Z to ``value``."""
    return (value - EPOCH) // MILLISECOND


def written(value: datetime) -> str:
    """Return an instant as everybody is shown it: RFC 3339 in UTC to the millisecond, as in 2026-01-31T12:00:00.000Z."""
    return f"{value.replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"


def read_written(text: str) -> datetime:
    """Return the instant that :func:`written` has written."""
    return datetime.fromisoformat(f"{text[:-1]}+00:00")  # which takes Z from Python 3.11 on only


INSTANT_RULE: Final = "must be an instant such as 2026-01-31T12:00:00Z"
LATEST: Final = datetime(2200, 1, 1, tzinfo=timezone.utc)


def _is_written_out(value: Any) -> Any:
    # Pydantic would read a bare number as seconds or milliseconds since 1970, as its size suggests.
    if not isinstance(value, datetime) and not (isinstance(value, str) and re.match(r"\d{4}-", value)):
        raise ValueError(INSTANT_RULE)
    return value


def _in_range(value: datetime) -> datetime:
    try:
        value = instant(value)
    except OverflowError:
        raise ValueError(INSTANT_RULE) from None
    if not EPOCH <= value < LATEST:
        raise ValueError("must lie between the years 1970 and 2200")
    return value


WrittenInstant = Annotated[AwareDatetime, BeforeValidator(_is_written_out), AfterValidator(_in_range)]
"""An instant as people write it: RFC 3339 with a time zone; kept in UTC and whole milliseconds."""
