"""Sets of HTTP statuses as people write them: ``404``, ``"5xx"``, ``"200-299"``."""

import re
from functools import lru_cache
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from domain.errors import DomainError

_RANGE: Final = re.compile(r"([1-5])xx|([1-5][0-9]{2})(?:-([1-5][0-9]{2}))?")


class BadStatuses(DomainError):
    """Not a status between 100 and 599, a class such as 5xx, or a range such as 200-299."""


@lru_cache(maxsize=512)
def _bounds(written: int | str) -> tuple[int, int]:
    match = _RANGE.fullmatch(str(written))
    if match is None:
        raise BadStatuses(f"{written!r} is not a set of statuses; write for example 404, 5xx or 200-299")
    if match[1]:
        return int(match[1]) * 100, int(match[1]) * 100 + 99
    first, last = int(match[2]), int(match[3] or match[2])
    if last < first:
        raise BadStatuses(f"{written!r} ends before it begins; write {last}-{first}")
    return first, last


def _checked(written: Any) -> Any:
    # Before the union is looked at, whose own complaint would name each of its members.
    if isinstance(written, bool) or not isinstance(written, int | str):
        raise BadStatuses("must be a status or a range of them, such as 404, 5xx or 200-299")
    _bounds(written if isinstance(written, int) else written[:10])
    return written


Statuses = Annotated[int | str, Field(examples=[404, "5xx", "200-299"]), BeforeValidator(_checked)]
"""One status, or a class or range of them; kept as written."""


def includes(written: tuple[int | str, ...], status: int) -> bool:
    """Tell whether ``status`` is in one of the sets."""
    return any(first <= status <= last for first, last in map(_bounds, written))
