"""What an execution is in MongoDB: its document, and the stage by which the scheduler finds an open one.

Fields are absent rather than null, so that sparse indexes stay small. Arbitrary JSON (errors, outputs) is kept as JSON text:
its keys may hold dots and dollars. What an execution waits for stands in its results, and once more beside them for lists.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any

from domain.execution import TERMINAL, ActionOutcome, Awaited, Cause, Execution, Parent, Restart, Restarted, Status
from domain.instants import to_millis
from store.windows import IdWindow

Document = dict[str, Any]

ENDED = "ended"  # the stage of what is to be moved

_FIELDS = (
    "attempt", "created_at", "cut_off_since", "deadline", "due_at", "epoch", "finished_at", "last_failed_action",
    "lock_key", "lost", "origin_id", "owner", "reason", "reference", "requested_at", "resumed_at", "retries_left", "seq",
    "shard", "started_at", "total_actions", "version", "wake_at", "workflow_id",
)  # fmt: skip


_RESTARTED, _AWAITED, _PARENT = ([field.name for field in fields(kind)] for kind in (Restarted, Awaited, Parent))


def to_document(execution: Execution) -> Document:
    """Return the document of an execution, without the fields that are None."""
    document: Document = {"_id": execution.execution_id, "status": execution.status.value, "cause": execution.cause.value}
    values = vars(execution)
    document.update({name: value for name in _FIELDS if (value := values[name]) is not None})
    if execution.reference is not None:
        document["reference_key"] = _reference_key(execution.reference, execution.execution_id)
    if execution.takes_up:
        document["takes_up"] = True
    if execution.intents:
        document["intents"] = list(execution.intents)
    if execution.restarts:
        document["restarts"] = [restart.known() for restart in execution.restarts]
    if execution.triggered_by is not None:
        document["triggered_by"] = asdict(execution.triggered_by)
    if execution.input is not None:
        document["input"] = _json(execution.input)
    if execution.awaited is not None:
        document["awaited"] = _awaited_document(execution.awaited)
    document["results"] = {key: _outcome_document(outcome) for key, outcome in execution.results.items()}
    return document


def _reference_key(reference: str, execution_id: str) -> str:
    """Return one key for what is asked of references: those of one, by their ids.

    A text rather than two fields, as the stage is; and a sparse index on two fields of which every document has one would
    hold them all. No reference holds a line break.
    """
    return f"{reference}\n{execution_id}"


def keys_of_reference(reference: str, ids: IdWindow) -> IdWindow:
    """Return the bounds of the keys of a reference, within those of ids."""
    low, high = ids
    return _reference_key(reference, low or ""), f"{reference}\v" if high is None else _reference_key(reference, high)


def _json(value: Any) -> str:
    """Return JSON text that takes as many bytes as runners count: what they accept together must fit into a document."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def live_document(execution: Execution) -> Document:
    """Return the document of an execution among the open ones: with its stage, by which the scheduler finds it."""
    return {**to_document(execution), "stage": _stage(execution)}


def _stage(execution: Execution) -> str:
    """Return one key for all that the scheduler asks: what an open execution is at, and since or until when it is.

    One index rather than one for each of its questions, because every execution pays for every index; and a text rather
    than two fields, because SecantusDB narrows the look-up by a range of the first field of an index only.
    """
    if execution.status in TERMINAL:
        return ENDED
    status = execution.status
    at = execution.requested_at if status is Status.PENDING else execution.wake_at if status is Status.WAITING else None
    return status.value if at is None else stage_at(status, at)


def stage_at(status: Status, at: datetime) -> str:
    return f"{status.value} {to_millis(at):015d}"


def stages_up_to(status: Status, at: datetime) -> Document:
    """Return the bounds of the stages of a status up to an instant, which belongs to them."""
    return {"$gte": f"{status.value} ", "$lte": stage_at(status, at)}


def from_document(document: Mapping[str, Any]) -> Execution:
    """Return the execution of a document; what a later version has added to it is left out."""
    return Execution(
        execution_id=document["_id"],
        status=Status(document["status"]),
        cause=Cause(document["cause"]),
        takes_up=document.get("takes_up", False),
        intents=tuple(document.get("intents", ())),
        restarts=tuple(
            Restarted(**{**_known(each, _RESTARTED), "why": Restart(each["why"])}) for each in document.get("restarts", ())
        ),
        results={key: _outcome(entry) for key, entry in document.get("results", {}).items()},
        listed_wait=Awaited(**_known(document["awaited"], _AWAITED)) if "awaited" in document else None,
        triggered_by=Parent(**_known(document["triggered_by"], _PARENT)) if "triggered_by" in document else None,
        input=json.loads(document["input"]) if "input" in document else None,
        **_known(document, _FIELDS),
    )


def _known(document: Mapping[str, Any], names: Iterable[str]) -> Document:
    return {name: document[name] for name in names if name in document}


def _awaited_document(awaited: Awaited) -> Document:
    """Return what lists tell of a wait, which they read without the results: its ids may be a thousand."""
    told = {
        "action_id": awaited.action_id, "until": awaited.until, "signal": awaited.signal, "executions": awaited.executions,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}


def _outcome_document(outcome: ActionOutcome) -> Document:
    document: Document = {
        "action_id": outcome.action_id,
        "index": outcome.index,
        "attempt": outcome.attempt,
        "status": outcome.status,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "logs": list(outcome.logs),
    }
    if outcome.error is not None:
        document["error"] = _json(outcome.error)
    if outcome.output is not None:
        document["output"] = _json(outcome.output)
    if outcome.next_index is not None:
        document["next_index"] = outcome.next_index
    if outcome.continued:
        document["continued"] = True
    return document


def _outcome(document: Mapping[str, Any]) -> ActionOutcome:
    return ActionOutcome(
        action_id=document["action_id"],
        index=document["index"],
        attempt=document["attempt"],
        status=document["status"],
        started_at=document["started_at"],
        finished_at=document["finished_at"],
        logs=tuple(document["logs"]),
        error=json.loads(document["error"]) if "error" in document else None,
        output=json.loads(document["output"]) if "output" in document else None,
        next_index=document.get("next_index"),
        continued=document.get("continued", False),
    )
