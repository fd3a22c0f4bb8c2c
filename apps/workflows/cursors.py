"""Opaque cursors: the id after which the next page of a list starts."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from domain.identifiers import is_execution_id, is_workflow_id
from domain.instants import LATEST, from_millis, to_millis

T = TypeVar("T")

_PLACE = re.compile(r"(\d{1,15}) (.+)")


def encode(last_id: str) -> str:
    """Return the cursor to what follows ``last_id``."""
    return urlsafe_b64encode(last_id.encode()).decode().rstrip("=")


def cut(found: Sequence[T], limit: int, place: Callable[[T], str]) -> tuple[Sequence[T], str | None]:
    """Return the page of a list of which ``limit + 1`` items were asked for, and the cursor to what follows, if anything.

    ``place`` is the id of an item.
    """
    page = found[:limit]
    return page, encode(place(page[-1])) if len(found) > len(page) else None


def _decoder(is_id: Callable[[object], bool]) -> AfterValidator:
    def decode(cursor: str) -> str:
        try:
            last_id = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
        except ValueError:
            last_id = ""
        if not is_id(last_id):
            raise ValueError("is not a cursor of this list; send nextCursor as it was answered, or leave it out")
        return last_id

    return AfterValidator(decode)


WorkflowCursor = Annotated[str, Field(max_length=200), _decoder(is_workflow_id)]
"""A cursor among workflows, decoded to the id."""

ExecutionCursor = Annotated[str, Field(max_length=200), _decoder(is_execution_id)]
"""A cursor among executions, decoded to the id."""


def place(at: datetime, workflow_id: str) -> str:
    """Return where something stands in a list of workflows in order of time."""
    return f"{to_millis(at)} {workflow_id}"


def read_place(text: str) -> tuple[datetime, str]:
    """Return the instant and the id that :func:`place` has put into one."""
    millis, _, workflow_id = text.partition(" ")
    return from_millis(int(millis)), workflow_id


def _is_place(value: object) -> bool:
    match = _PLACE.fullmatch(str(value))
    return match is not None and int(match[1]) < to_millis(LATEST) and is_workflow_id(match[2])


PlaceCursor = Annotated[str, Field(max_length=200), _decoder(_is_place)]
"""A cursor among workflows in order of time, decoded to a :func:`place`."""
