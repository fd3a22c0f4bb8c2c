"""Opaque cursors: the id after which the next page of a list starts."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

from domain.identifiers import is_execution_id, is_workflow_id

T = TypeVar("T")


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
