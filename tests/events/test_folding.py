"""What records and executions say of each other."""

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from domain.execution import (
    ActionFinished,
    ActionOutcome,
    Admission,
    Cause,
    Ended,
    Execution,
    Parent,
    Restart,
    Restarted,
    Status,
    admit,
)
from events.folding import (
    ended_record,
    ended_transition,
    parent_of,
    request_record,
    requested_execution,
    restarts_of,
    result_transition,
)
from events.records import ActionResult, Event, ExecutionEnded, ExecutionRequest
from events.topics import partition_of
from events.wire import Decoder, encode


def at(seconds):
    return datetime(2026, 1, 31, 12, 0, seconds, tzinfo=timezone.utc)


def told(seconds):
    return f"2026-01-31T12:00:{seconds:02}Z"


def sent(record: Event) -> Event:
    """Return a record as whoever reads it gets it."""
    received = Decoder(type(record))(encode(record))
    assert isinstance(received, type(record)), received
    return received


ADMISSION = Admission(
    "e", "w", 3, Cause.SCHEDULE, at(0), retries_left=2, total_actions=4, shard=partition_of("w"), requested_at=at(1),
    due_at=at(2), deadline=at(59), input={"a": 1}, origin_id="o", takes_up=True, lock_key="w",
    triggered_by=Parent("p", "v", "call"), reference="order-17",
)  # fmt: skip
OUTCOME = ActionOutcome(
    "a", 1, 2, "failed", at(10), at(11), logs=("a line",), error={"class": "c", "message": "m"}, output={"b": 2},
    next_index=3, continued=True,
)  # fmt: skip
CARRIED = replace(OUTCOME, index=0, attempt=0)
EXECUTION: Execution = replace(
    admit(ADMISSION), epoch=7, attempt=2, lost=1, started_at=at(5), results={"0_0": CARRIED, "2_1": OUTCOME},
    restarts=(Restarted(at(8), Restart.LOST, 1, 1, "r", since=at(6)), Restarted(at(9), Restart.UNCLAIMED, 1, 1)),
)  # fmt: skip
PARENT = {"execution_id": "p", "workflow_id": "v", "action_id": "call"}
RESTARTS = [
    {"at": told(8), "why": "lost", "attempt": 1, "index": 1, "runner": "r", "since": told(6)},
    {"at": told(9), "why": "unclaimed", "attempt": 1, "index": 1},
]


def test_a_request_tells_where_an_execution_stands():
    assert json.loads(encode(request_record(EXECUTION))) == {
        "workflow_id": "w", "execution_id": "e", "epoch": 7, "version": 3, "cause": "schedule", "attempt": 2,
        "retries_left": 2, "total_actions": 4, "lost": True, "created_at": told(0), "requested_at": told(1),
        "due_at": told(2), "origin_id": "o", "takes_up": True, "carried": 1, "lost_attempts": 1, "restarts": RESTARTS,
        "recorded": 2, "started_at": told(5), "deadline": told(59), "input": {"a": 1}, "triggered_by": PARENT,
        "reference": "order-17",
    }  # fmt: skip


def test_an_end_tells_where_an_execution_stood():
    ended = replace(
        EXECUTION, status=Status.CANCELLED, finished_at=at(20), reason="asked", epoch=8, cut_off_since=at(15),
    )  # fmt: skip
    assert json.loads(encode(ended_record(ended))) == {
        "workflow_id": "w", "execution_id": "e", "ended": "cancelled", "at": told(20), "reason": "asked", "version": 3,
        "cause": "schedule", "epoch": 8, "attempt": 2, "lost_attempts": 1, "restarts": RESTARTS, "cut_off_since": told(15),
        "retries_left": 2, "total_actions": 4, "recorded": 2, "created_at": told(0), "due_at": told(2),
        "started_at": told(5), "origin_id": "o", "takes_up": True, "carried": 1, "triggered_by": PARENT,
        "reference": "order-17", "event": "execution-ended",
    }  # fmt: skip
    record = sent(ended_record(ended))
    assert isinstance(record, ExecutionEnded)
    assert ended_transition(record) == Ended("e", "w", Status.CANCELLED, "asked", at(20))
    assert restarts_of(record) == EXECUTION.restarts
    assert parent_of(record) == EXECUTION.triggered_by


def test_no_end_is_told_of_what_is_open():
    with pytest.raises(ValueError, match="e is still open"):
        ended_record(EXECUTION)


def test_what_has_just_been_admitted_is_told_in_full_by_its_request():
    """So that it is started without a look at MongoDB."""
    asked = admit(ADMISSION)
    request = sent(request_record(asked))
    assert isinstance(request, ExecutionRequest)
    assert (request.lost, request.lost_attempts, request.restarts, request.recorded) == (False, None, None, None)
    assert requested_execution(request) == asked
    assert requested_execution(ExecutionRequest(workflow_id="w", requested_at=at(1))).created_at == at(1)


def test_a_cause_of_a_later_version_is_kept():
    request = request_record(admit(ADMISSION))
    request.cause = "telegram"
    assert request_record(requested_execution(sent(request))).cause == "telegram"


def test_a_result_is_all_that_it_told():
    record = sent(
        ActionResult(
            workflow_id="w", execution_id="e", epoch=7, seq=2, version=3, runner="r", attempt=2, action_id="a", index=1,
            status="failed", execution_status="waiting", retries_left=1, total_actions=4, started_at=at(10),
            finished_at=at(11), logs=["a line"], error={"class": "c", "message": "m"}, output={"b": 2},
            wake_at=at(11) + timedelta(seconds=1), reason="why", next_index=3, continued=True, deadline=at(59),
        )
    )  # fmt: skip
    assert isinstance(record, ActionResult)
    assert result_transition(record) == ActionFinished(
        "e", "w", 7, 2, OUTCOME, Status.WAITING, 1, "r", wake_at=at(12), reason="why", version=3, deadline=at(59)
    )
