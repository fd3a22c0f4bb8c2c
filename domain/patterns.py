"""How much the regular expressions and JSON paths of one definition may be: to understand them takes long.

``\\pL{1,100}`` is ten characters and a quarter of a second, in which a service does nothing else. So whoever takes a
definition from a user does that within :func:`bounded`: what it holds is counted, and once that is too much no more of it is
looked at. What was stored is read without, also where it was stored before anything was counted.

A unit is an instruction of the program that RE2 makes of an expression, about a microsecond.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

import re2

from domain.errors import DomainError

MOST: Final = 200_000
LARGEST: Final = 40_000  # what one counts that RE2 gives up on, or cannot read: other libraries may
_CHARACTER_OF_A_PATH: Final = 5
OPTIONS: Final = re2.Options()
OPTIONS.max_mem = 1 << 20  # of a compiled expression
OPTIONS.log_errors = False

_left: ContextVar[int] = ContextVar("left")


class TooMuchToUnderstand(DomainError):
    """The expressions and paths of a definition are too large."""

    def __init__(self) -> None:
        super().__init__(
            "is beyond what all regular expressions and JSON paths of a definition may be together; make them simpler, with "
            "smaller repetitions or ASCII classes such as [A-Za-z]"
        )


@contextmanager
def bounded() -> Iterator[None]:
    """Count what is understood inside."""
    token = _left.set(MOST)
    try:
        yield
    finally:
        _left.reset(token)


def expression(text: str) -> None:
    """Count a regular expression, before a library of whatever kind compiles it.

    Raises:
        TooMuchToUnderstand: it is too much, with all that came before.
    """
    if _left.get(None) is None:
        return
    _take(0)
    try:
        size = int(re2.compile(text, OPTIONS).programsize)
    except (re2.error, UnicodeError):
        size = LARGEST
    _take(len(text) + size)


def path(text: str) -> None:
    """Count a JSON path, before it is understood.

    Raises:
        TooMuchToUnderstand: it is too much, with all that came before.
    """
    if _left.get(None) is not None:
        _take(_CHARACTER_OF_A_PATH * len(text))


def of_schema(schema: Any) -> None:
    """Count the regular expressions of a JSON Schema.

    Raises:
        TooMuchToUnderstand: they are too much, with all that came before.
    """
    if _left.get(None) is None:
        return
    pending = [schema]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            found = value.get("patternProperties")
            for text in [value.get("pattern"), *(found if isinstance(found, dict) else ())]:
                if isinstance(text, str):
                    expression(text)
            pending.extend(value.values())


def _take(units: int) -> None:
    left = _left.get() - units
    _left.set(left)
    if left < 0:
        raise TooMuchToUnderstand
