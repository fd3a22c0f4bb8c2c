"""What templates see: the data of one execution as it stands."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from domain.execution import ActionOutcome
from domain.flow import failure
from domain.instants import written


def outcome_data(outcome: ActionOutcome) -> dict[str, Any]:
    """Return what ``actions.<id>`` is."""
    seen: dict[str, Any] = {
        "status": outcome.status,
        "attempt": outcome.attempt,
        "output": dict(outcome.output or {}),
        "logs": list(outcome.logs),
    }
    if outcome.error is not None:
        seen["error"] = _error(outcome)
    return seen


def execution_data(
    *,
    execution_id: str,
    workflow_id: str,
    version: int,
    attempt: int,
    cause: str,
    created_at: datetime | None,
    due_at: datetime | None,
    reference: str | None,
    given: Mapping[str, Any],
    outcomes: Iterable[ActionOutcome],
) -> dict[str, Any]:
    """Return all roots but ``secrets`` and ``vars``; of an action that was attempted repeatedly, the last attempt counts."""
    outcomes = sorted(outcomes, key=lambda outcome: outcome.place)
    failed = failure(outcomes)
    return {
        "input": dict(given),
        "trigger": {"cause": cause, "dueAt": _text(due_at), "createdAt": _text(created_at)},
        "execution": {
            "id": execution_id,
            "workflowId": workflow_id,
            "version": version,
            "attempt": attempt,
            "createdAt": _text(created_at),
            "dueAt": _text(due_at),
            "reference": reference,
            "status": "ok" if failed is None else "cancelled" if failed.is_cancellation else "failed",
            "failure": None if failed is None else {"actionId": failed.action_id, **_error(failed)},
        },
        "actions": {outcome.action_id: outcome_data(outcome) for outcome in outcomes},
    }


def _error(failed: ActionOutcome) -> dict[str, Any]:
    error = failed.error or {}
    return {"class": error.get("class", ""), "message": error.get("message", "")}


def _text(value: datetime | None) -> str | None:
    return None if value is None else written(value)
