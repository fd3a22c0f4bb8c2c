"""What a route takes, answers and asks of its caller, declared once, beside its view.

A view class has ``operations``: by method in lower case, an :class:`Operation`. The access check reads the scope from it,
the audit log its id, and ``/openapi.json`` is made of nothing else. A route without one is closed to all but
administrators where it changes anything, and a test fails for it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from domain.access import Scope

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """One successful answer."""

    description: str
    model: type[BaseModel] | None = None  # None: no body, or one that no model describes
    content_type: str | None = JSON
    headers: Mapping[str, str] = field(default_factory=dict)  # name -> what for


@dataclass(frozen=True)
class Operation:
    """One method of one route."""

    id: str  # unique; a verb and a noun, as in createWorkflow
    summary: str
    answers: Mapping[int, Answer]
    tag: str = "workflows"
    scope: Scope = Scope.VIEWER
    description: str = ""
    query: type[BaseModel] | None = None  # the parameters that it takes; any other is refused
    lets_parameters_be: bool = False  # instead: whoever asks may have some of their own
    body: type[BaseModel] | None = None
    body_is_required: bool = True
    example: Any = None  # of the body
    refusals: tuple[type[Exception], ...] = ()  # beyond those that follow from query, body, scope and the database
    is_conditional: bool = False  # takes If-Match and If-None-Match
    uses_database: bool = True
    takes_key: bool = True  # a POST: whether Idempotency-Key is heeded
    changes: bool = True  # a POST: whether it changes anything, and so belongs in the audit log
    is_routine: bool = False  # not in the audit log when done by nobody in particular: what it does is recorded anyway


def operation_of(view: Any, method: str) -> Operation | None:
    """Return what a view declares of a method; HEAD is what GET is."""
    name = "get" if method.upper() == "HEAD" else method.lower()
    found: Operation | None = getattr(view, "operations", {}).get(name)
    return found


def needed_scope(view: Any, method: str) -> Scope:
    """Return the scope that a route asks for."""
    operation = operation_of(view, method)
    if operation is not None:
        return operation.scope
    # Not declared: reading is for everybody who may read, a change that nobody has thought about for administrators.
    return Scope.VIEWER if method.upper() in ("GET", "HEAD", "OPTIONS") else Scope.ADMIN
