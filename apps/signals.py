"""Signals: how an execution is told that it may go on.

Life cycle: what is kept of that name is read. What was not sent before is checked against the definition that the execution
runs, then stored, durably, and only after that the execution is woken where it waits for it (:mod:`apps.waking`). From the
insert on the signal counts, whoever crashes: a step that is reached later finds it, and the scheduler wakes what was left.
Whoever sends the same again is therefore accepted again, also when the execution has long ended.

A step whose time is over writes in the same place that it waits no longer (:mod:`actions.wait_for_signal`). Whichever of the
two comes second meets the first: the step goes on by the signal after all, or whoever sends it is told that it is too late.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actions.registry import WorkflowDefinition
from actions.wait_for_signal import WaitForSignalAction
from apps.waking import Waker
from domain.execution import AWAITING, ActionOutcome, Execution, Status
from domain.inputs import check_input
from domain.instants import written
from domain.signal import Signal
from store.interfaces import Signals


@dataclass(frozen=True)
class Sent:
    """A signal that is kept, and what has come of it so far."""

    signal: Signal
    is_new: bool
    goes_on: bool  # the execution had come to the step that waits for it


class NotHeeded(Exception):
    """An execution cannot be told this."""


class HasEnded(NotHeeded):
    """The execution has ended."""

    def __init__(self, execution_id: str, status: Status) -> None:
        super().__init__(f"Execution {execution_id} has ended already: it is {status.shown}.")
        self.status = status


class UnknownSignal(NotHeeded):
    """No step of the definition that the execution runs waits for a signal of that name."""

    def __init__(self, workflow_id: str, version: int, name: str, known: Sequence[str]) -> None:
        there_are = f"its steps wait for {', '.join(known)}" if known else "it has no step of type wait-for-signal"
        super().__init__(f"Workflow {workflow_id}, version {version}, has no signal {name}; {there_are}.")


class SignalTooLate(NotHeeded):
    """The execution has gone past the step that waits for the signal; ``became`` tells what became of that.

    ``retry_waits`` tells whether the step waits anew where the execution is taken up again, when it has ended.
    """

    def __init__(self, execution_id: str, name: str, action_id: str, became: str, *, retry_waits: bool) -> None:
        self.retry_waits = retry_waits
        mend = "; a retry waits anew, when it has ended" if retry_waits else ""
        super().__init__(
            f"Execution {execution_id} has gone past step {action_id} ({became}), "
            f"so that nothing waits for signal {name} any more{mend}."
        )


class SignalSentBefore(NotHeeded):
    """The execution was told something else under that name."""

    def __init__(self, execution_id: str, name: str, at: datetime, sender: str) -> None:
        super().__init__(
            f"Signal {name} was sent to execution {execution_id} before, at {written(at)} by {sender}, with another "
            "payload; that one counts. Send the same to be told so, or nothing."
        )


async def send(
    signal: Signal, execution: Execution, definition: WorkflowDefinition, *, signals: Signals, waker: Waker
) -> Sent:
    """Tell an execution, which runs that definition, something once.

    Raises:
        UnknownSignal: no step of the definition waits for that.
        SignalSentBefore: it was told something else under that name.
        HasEnded: it has ended.
        SignalTooLate: it has gone past the step that waits for that.
        BadInput: the payload cannot be carried, or does not obey the step's schema.
        StoreUnavailable: whether it is kept is not known; sending it again is safe.
    """
    execution_id, name = signal.execution_id, signal.name
    step = definition.signals.get(name)
    if step is None:
        raise UnknownSignal(execution.workflow_id, execution.version, name, list(definition.signals))
    kept = await signals.get(execution_id, name)
    is_new = kept is None
    if kept is None:
        if not execution.status.is_open:
            raise HasEnded(execution_id, execution.status)
        index, cut = definition.steps.index(step), execution.cut_short
        if index < execution.resume_index or (cut is not None and index < execution.total_actions):
            last = _last(execution, step)
            # What failed and does not count is done, and a retry takes it over as it is.
            has_failed = last is not None and last.status == "failed" and not last.continued
            became = "not run" if last is None else last.status
            if cut is not None and index == execution.resume_index:  # and no runner has recorded so yet
                became, has_failed = cut.why.value.replace("-", " "), True
            raise SignalTooLate(execution_id, name, step.action_id or "", became, retry_waits=has_failed)
        check_input(signal.payload, step.payload_schema, "payload")
        kept = await signals.put(signal, _attempt_to_come(execution))
        if kept is None:
            is_retried = not step.continue_on_error
            raise SignalTooLate(execution_id, name, step.action_id or "", "no-signal", retry_waits=is_retried)
        is_new = kept is signal
    if _written(kept.payload) != _written(signal.payload):
        raise SignalSentBefore(execution_id, name, kept.at, kept.sender)
    found = await waker.wake(execution_id, name, signal.at) or execution
    last = _last(found, step)
    return Sent(kept, is_new, goes_on=last is not None and last.status in ("ok", AWAITING))


def _last(found: Execution, step: WaitForSignalAction) -> ActionOutcome | None:
    """Return what was recorded last of the step; None where the execution has not come to it."""
    of_step = [each for each in found.ordered_results if each.action_id == step.action_id]
    return of_step[-1] if of_step else None


def _attempt_to_come(execution: Execution) -> int:
    """Return the attempt in which the step at which an execution stands is run next, or is being run."""
    waits_for_retry = execution.status is Status.WAITING and not execution.is_delayed
    return execution.attempt + waits_for_retry


def _written(payload: Mapping[str, Any]) -> str:
    # As text: 1, 1.0 and true are the same to Python.
    return json.dumps(payload, sort_keys=True)
