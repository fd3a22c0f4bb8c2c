"""Signals: how an execution is told that it may go on.

Life cycle: the execution, the definition that it runs and what is kept of that name are read. What was not sent before is
checked, then stored, durably, and only after that the execution is woken where it waits for it (:mod:`apps.signalling`).
From the insert on the signal counts, whoever crashes: a step that is reached later finds it, and the scheduler wakes what
was left. Whoever sends the same again is therefore accepted again, also when the execution has long ended.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actions.registry import WorkflowDefinition
from actions.wait_for_signal import WaitForSignalAction
from apps.signalling import Waker
from apps.workflows.errors import (
    AlreadyFinished,
    SignalSentBefore,
    SignalTooLate,
    UnknownExecution,
    UnknownSignal,
    UnknownVersion,
)
from domain.execution import AWAITING, Execution
from domain.inputs import check_input
from domain.signal import Signal
from store.interfaces import Executions, Signals, Workflows


@dataclass(frozen=True)
class Sent:
    """A signal that is kept, and what has come of it so far."""

    signal: Signal
    is_new: bool
    goes_on: bool  # the execution had come to the step that waits for it


async def send(
    execution_id: str,
    name: str,
    payload: Mapping[str, Any],
    *,
    sender: str,
    executions: Executions,
    workflows: Workflows,
    signals: Signals,
    waker: Waker,
    now: datetime,
) -> Sent:
    """Tell an execution something, once.

    Raises:
        UnknownExecution: there is none of that id.
        UnknownVersion: the definition that it runs is not there any more.
        UnknownSignal: no step of its definition waits for that.
        SignalSentBefore: it was told something else under that name.
        AlreadyFinished: it has ended.
        SignalTooLate: it has gone past the step that waits for that.
        BadInput: the payload cannot be carried, or does not obey the step's schema.
        StoreUnavailable: whether it is kept is not known; sending it again is safe.
    """
    found = await executions.get(execution_id)
    if found is None:
        raise UnknownExecution(execution_id)
    document = await workflows.get_version(found.workflow_id, found.version)
    if document is None:
        raise UnknownVersion(found.workflow_id, found.version)
    definition = WorkflowDefinition.from_document(dict(document))
    step = definition.signals.get(name)
    if step is None:
        raise UnknownSignal(found.workflow_id, found.version, name, list(definition.signals))
    kept = await signals.get(execution_id, name)
    is_new = kept is None
    if kept is None:
        if not found.status.is_open:
            raise AlreadyFinished(execution_id, found.status)
        if definition.steps.index(step) < found.resume_index:
            raise SignalTooLate(execution_id, name, step.action_id or "", _status(found, step))
        check_input(payload, step.payload_schema, "payload")
        sent = Signal(execution_id, name, payload, now, sender, found.shard)
        kept = await signals.put(sent)
        is_new = kept is sent
    if _written(kept.payload) != _written(payload):
        raise SignalSentBefore(execution_id, name, kept.at, kept.sender)
    found = await waker.wake(execution_id, name, now) or found
    return Sent(kept, is_new, goes_on=_status(found, step) in ("ok", AWAITING))


def _status(found: Execution, step: WaitForSignalAction) -> str | None:
    """Return how the step stands; None where the execution has not come to it."""
    of_step = [each.status for each in found.ordered_results if each.action_id == step.action_id]
    return of_step[-1] if of_step else None


def _written(payload: Mapping[str, Any]) -> str:
    # As text: 1, 1.0 and true are the same to Python.
    return json.dumps(payload, sort_keys=True)
