"""Rates as people write them: a positive whole number and a unit of time, as in ``1/s``, ``30/m``, ``6/h``."""

import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from domain.errors import DomainError

RATE_PATTERN: Final = r"^[1-9][0-9]{0,3}/[smh]$"
_RATE = re.compile(r"([1-9][0-9]{0,3})/([smh])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600}
SHORTEST: Final = timedelta(milliseconds=50)


class BadRate(DomainError):
    """Not a positive whole number per s, m or h, or more than 20 a second."""


def parse_rate(text: str) -> timedelta:
    """Return the time from one to the next at the rate ``text``, at least 50 ms.

    Raises:
        BadRate: ``text`` is not a rate, or too high.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise BadRate(f"{text!r} is not a rate; write a positive whole number and /s, /m or /h, such as 1/s, 30/m or 6/h")
    apart = timedelta(seconds=_SECONDS[match[2]]) / int(match[1])
    if apart < SHORTEST:
        raise BadRate(f"{text!r} is more than 20 a second; write 20/s or less")
    return apart


def _checked(text: str) -> str:
    parse_rate(text)
    return text


Rate = Annotated[
    str,
    Field(max_length=16, examples=["1/s", "30/m", "6/h"], json_schema_extra={"pattern": RATE_PATTERN}),
    AfterValidator(_checked),
]
"""A rate field; kept as written, read with :func:`parse_rate`."""
