"""Cursors come back as the id they were made of, and nothing else passes."""

import pytest
from pydantic import TypeAdapter, ValidationError

from apps.workflows.cursors import ExecutionCursor, WorkflowCursor, encode

WORKFLOWS: TypeAdapter[str] = TypeAdapter(WorkflowCursor)
EXECUTIONS: TypeAdapter[str] = TypeAdapter(ExecutionCursor)
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
