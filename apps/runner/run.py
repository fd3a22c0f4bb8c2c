"""One attempt of an execution, as it is handed from what admits it to what runs it."""

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime
from typing import Any

from domain.execution import ActionOutcome, Failures, Parent, Restarted
from domain.frozen import frozen


@frozen
class Run:
    """One attempt to run: what the request, or the claimed execution, says."""

    execution_id: str
    workflow_id: str
    version: int
    epoch: int
    attempt: int
    retries_left: int
    resume_index: int
    cause: str
    failures: Mapping[int, Failures] = field(default_factory=dict)  # of earlier attempts, by position of the action
    started_at: datetime | None = None  # of the execution: that of its first run
    recorded: int = 0  # results recorded before this run
    created_at: datetime | None = None
    due_at: datetime | None = None
    reference: str | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    outcomes: tuple[ActionOutcome, ...] = ()  # what was recorded before this run
    deadline: datetime | None = None
    in_doubt: frozenset[int] = frozenset()  # begun by an earlier run that did not live to tell what became of them
    lost: int = 0  # runners in a row that died while they ran it
    cut_short: Restarted | None = None  # how its actions were ended
    triggered_by: Parent | None = None
    takes_up: str | None = None  # the execution that this one takes up where it failed
