"""How much a template may do: its work is counted, so that it ends, and so that what it makes stays small.

One unit is one item looked at, or ``CHARACTERS_PER_UNIT`` characters. All templates of a step together get ``UNITS``, which
are a few tenths of a second at most; what they do is charged before it is done, so that nothing large is made first and
measured afterwards.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final

from templates.errors import RenderError

UNITS: Final = 200_000
CHARACTERS_PER_UNIT: Final = 32
LONGEST_TEXT: Final = 1_000_000  # characters of any text that a template makes on its way
LARGEST_NUMBER: Final = 2**63 - 1

_left: ContextVar[int] = ContextVar("left")


@contextmanager
def budget(units: int = UNITS) -> Iterator[None]:
    """Give what is done inside a budget; that of what is around it, where there is one."""
    if _left.get(None) is not None:
        yield
        return
    token = _left.set(units)
    try:
        yield
    finally:
        _left.reset(token)


def charge(units: int) -> None:
    """Count work that is about to be done.

    Raises:
        RenderError: the budget is used up.
    """
    budgeted = _left.get(None)
    if budgeted is None:
        return
    left = budgeted - units
    if left < 0:
        raise RenderError("the template does too much; work on less data, or split it over several actions")
    _left.set(left)


def charge_text(length: int) -> None:
    """Count text of ``length`` characters that is about to be made."""
    if length > LONGEST_TEXT:
        raise RenderError(f"the template makes a text of more than {LONGEST_TEXT} characters; make it shorter")
    charge(1 + length // CHARACTERS_PER_UNIT)


def charge_value(value: Any) -> None:
    """Count the work of looking at all of ``value``."""
    if isinstance(value, str):
        charge(1 + len(value) // CHARACTERS_PER_UNIT)
    elif isinstance(value, (dict, list, tuple)):
        pending: list[Any] = [value]
        while pending:
            item = pending.pop()
            if isinstance(item, dict):
                charge(1 + len(item))
                pending.extend(item.values())
            elif isinstance(item, (list, tuple)):
                charge(1 + len(item))
                pending.extend(item)
            elif isinstance(item, str):
                charge(len(item) // CHARACTERS_PER_UNIT)
