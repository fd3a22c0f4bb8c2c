"""Durations as people write them: a positive whole number and a unit, as in ``10s``, ``5m``, ``1h``, ``1d``.

A day is 24 hours, also where the clocks change: no duration knows of a time zone.
"""

import re
from datetime import timedelta
from functools import lru_cache
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from domain.errors import DomainError

DURATION_PATTERN: Final = r"^[1-9][0-9]*[smhd]$"
_DURATION = re.compile(r"([1-9][0-9]{0,8})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
LONGEST: Final = timedelta(days=366)


class BadDuration(DomainError):
    """Not a positive whole number with a unit of s, m, h or d, or longer than 366 days."""


@lru_cache(maxsize=4096)
def parse_duration(text: str) -> timedelta:
    """Return the length of ``text``, between one second and 366 days.

    Raises:
        BadDuration: ``text`` is not a duration, or too long.
    """
    match = _DURATION.fullmatch(text)
    if match is None:
        raise BadDuration(f"{text!r} is not a duration; write a positive whole number and s, m, h or d, such as 10s or 1d")
    length = timedelta(seconds=int(match[1]) * _SECONDS[match[2]])
    if length > LONGEST:
        raise BadDuration(f"{text!r} is longer than {LONGEST.days} days; write {LONGEST.days}d or less")
    return length


def duration_text(length: timedelta) -> str:
    """Return ``length`` as a person would write it: in the largest unit that leaves nothing over."""
    seconds = round(length.total_seconds())
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _checked(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[
    str,
    Field(max_length=16, examples=["10s", "5m", "1h", "1d"], json_schema_extra={"pattern": DURATION_PATTERN}),
    AfterValidator(_checked),
]
"""A duration field; kept as written, read with :func:`parse_duration`."""
