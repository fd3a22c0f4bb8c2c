"""Cursors come back as the id they were made of, and nothing else passes."""

from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

from apps.workflows.cursors import ExecutionCursor, PlaceCursor, WorkflowCursor, cut, encode, place, read_place
from domain.instants import EPOCH, LATEST

WORKFLOWS: TypeAdapter[str] = TypeAdapter(WorkflowCursor)
EXECUTIONS: TypeAdapter[str] = TypeAdapter(ExecutionCursor)
PLACES: TypeAdapter[str] = TypeAdapter(PlaceCursor)
EXECUTION_ID = "019a0b61-40fd-722f-8b92-fa8f070d257a"


@pytest.mark.parametrize("workflow_id", ["a", "ab", "abc", "a.b-c_D", "x" * 128])
def test_a_workflow_id_comes_back(workflow_id: str) -> None:
    assert WORKFLOWS.validate_python(encode(workflow_id)) == workflow_id


def test_an_execution_id_comes_back() -> None:
    assert EXECUTIONS.validate_python(encode(EXECUTION_ID)) == EXECUTION_ID


@pytest.mark.parametrize(
    "cursor",
    [
        pytest.param("", id="empty"),
        pytest.param("!", id="not base64"),
        pytest.param("_w", id="not UTF-8"),
        pytest.param("\N{GRINNING FACE}", id="not ASCII"),
        pytest.param(encode("$ne"), id="not an id"),
        pytest.param("A" * 300, id="too long"),
    ],
)
@pytest.mark.parametrize("adapter", [WORKFLOWS, EXECUTIONS], ids=["workflows", "executions"])
def test_anything_else_is_refused(adapter: TypeAdapter[str], cursor: str) -> None:
    with pytest.raises(ValidationError):
        adapter.validate_python(cursor)


def test_a_cursor_of_workflows_is_none_of_executions() -> None:
    with pytest.raises(ValidationError):
        EXECUTIONS.validate_python(encode("a"))


@pytest.mark.parametrize("at", [EPOCH, EPOCH + timedelta(days=20_000, milliseconds=1), LATEST - timedelta(milliseconds=1)])
def test_a_place_in_time_comes_back(at) -> None:
    assert read_place(PLACES.validate_python(encode(place(at, "a.b")))) == (at, "a.b")


@pytest.mark.parametrize("text", ["a", " a", "1", "1 ", "x a", "-1 a", "1 $ne", "1 a b", "9" * 15 + " a", "1" * 16 + " a"])
def test_what_is_no_place_in_time_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        PLACES.validate_python(encode(text))


@pytest.mark.parametrize(("found", "page", "has_more"), [("", "", False), ("ab", "ab", False), ("abc", "ab", True)])
def test_a_page_goes_on_behind_its_last_item_where_more_was_found(found: str, page: str, has_more: bool) -> None:
    shown, cursor = cut(list(found), 2, str)
    assert shown == list(page)
    assert cursor == (encode("b") if has_more else None)
