"""Signals that others have published to Kafka, with the stores replaced by fakes."""

import json
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest

from actions.registry import WorkflowDefinition
from apps.runner.definitions import Definitions
from apps.runner.signals import ForeignSignals
from apps.waking import Waker
from domain.execution import ActionOutcome, Admission, Cause, Ended, Status, admit
from events.records import ExecutionSignal
from events.wire import Decoder
from store.interfaces import StoreUnavailable, Workflow
from tests.fakes.stores import FakeExecutions, FakeSignals, FakeWorkflows

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
EXECUTION = "019ab5d0-0000-7000-8000-000000000001"
WAIT = {
    "type": "wait-for-signal",
    "actionId": "approve",
    "payloadSchema": {"type": "object", "properties": {"by": {"type": "string"}}},
}
SIGNAL = {"workflow_id": "w", "execution_id": EXECUTION, "signal": "approve", "payload": {"by": "Ada"}}


class World:
    def __init__(self):
        self.executions, self.workflows, self.signals = FakeExecutions(), FakeWorkflows(), FakeSignals()
        self.handed_out, self.letters, self.acked = [], [], []
        self.taker = ForeignSignals(
            executions=self.executions,
            definitions=Definitions(self.workflows),
            signals=self.signals,
            waker=Waker(executions=self.executions, signals=self.signals, hand_out=self.hand_out),
            refuse=self.refuse,
        )
        definition = WorkflowDefinition.model_validate(
            {"workflowId": "w", "trigger": {"type": "manual"}, "actions": [WAIT, {"type": "log", "message": "x"}]}
        )
        self.workflows.heads["w"] = Workflow("w", 1, definition.to_document(), 2, 0, T0, T0, T0)
        asked = admit(Admission(EXECUTION, "w", 1, Cause.MANUAL, T0, 0, 2, 3, lock_key="w"))
        said = {"signal": "approve", "until": "2026-01-02T00:00:00.000Z"}
        self.waits = ActionOutcome("approve", 0, 1, "waiting", T0, T0, output=said)
        self.put(asked, status=Status.WAITING, results={self.waits.key: self.waits}, wake_at=T0)

    def put(self, execution, **changes):
        self.executions.found[EXECUTION] = replace(execution, **changes)

    async def hand_out(self, execution):
        self.handed_out.append(execution)

    async def refuse(self, ticket, reason):
        self.letters.append(reason)
        ticket.finish()

    async def take(self, *records):
        for offset, record in enumerate(records, start=len(self.acked)):
            raw = record if isinstance(record, bytes) else json.dumps(record).encode()
            message = SimpleNamespace(topic="workflow.signal", partition=3, offset=offset, tp=("s", 3), value=raw)
            event = SimpleNamespace(
                value=Decoder(ExecutionSignal)(raw), message=message, ack=lambda offset=offset: self.acked.append(offset)
            )
            await self.taker.take(event)


@pytest.fixture
def world():
    return World()


async def test_it_is_kept_and_wakes_what_waits_for_it_once_however_often_it_is_delivered(world):
    await world.take(SIGNAL, SIGNAL)
    kept = await world.signals.get(EXECUTION, "approve")
    assert (kept.payload, kept.sender, kept.shard) == ({"by": "Ada"}, "kafka", 3)
    (woken,) = world.handed_out
    assert (woken.status, woken.epoch) == (Status.PENDING, 2)
    assert (world.letters, world.acked) == ([], [0, 1])


async def test_one_that_comes_before_its_step_is_kept_for_it(world):
    world.put(world.executions.found[EXECUTION], status=Status.RUNNING, results={})
    await world.take({**SIGNAL, "payload": None})
    assert (await world.signals.get(EXECUTION, "approve")).payload == {}
    assert world.handed_out == world.letters == []


async def test_without_the_database_it_waits_and_is_not_lost(world, monkeypatch):
    put, failures = world.signals.put, [StoreUnavailable("no answer")] * 2

    async def at_last(signal, attempt):
        if failures:
            raise failures.pop()
        return await put(signal, attempt)

    monkeypatch.setattr(world.signals, "put", at_last)
    monkeypatch.setattr("apps.runner.patience.RETRY_DELAY", 0)
    await world.take(SIGNAL)
    assert len(world.handed_out) == 1
    assert (world.letters, world.acked) == ([], [0])


@pytest.mark.parametrize(
    ("word", "record", "said"),
    [
        ("no JSON", b"{oops", "value: Invalid JSON"),
        ("no signal", {"workflow_id": "w", "execution_id": EXECUTION}, "signal: is required"),
        ("a field too many", {**SIGNAL, "payloads": {}}, "payloads: is not known here"),
        ("no execution id", {**SIGNAL, "execution_id": "7"}, "execution_id: '7' must be an execution id"),
        ("no name", {**SIGNAL, "signal": "a b"}, "signal: 'a b' is not the name of a signal"),
        ("no such execution", {**SIGNAL, "execution_id": EXECUTION[:-1] + "9"}, "execution_id: workflow w has no execution"),
        ("that of another workflow", {**SIGNAL, "workflow_id": "v"}, "execution_id: workflow v has no execution"),
        ("what no step waits for", {**SIGNAL, "signal": "go"}, "Workflow w, version 1, has no signal go; its steps"),
        ("a payload that does not fit", {**SIGNAL, "payload": {"by": 7}}, "payload.by: 7 is not of type"),
        ("no object", {**SIGNAL, "payload": 7}, "payload: "),
    ],
)
async def test_what_no_execution_can_be_told_is_a_dead_letter_and_stops_nothing(world, logs, word, record, said):
    await world.take(record)
    (reason,) = world.letters
    assert reason.startswith(said)
    assert logs == [], "the sender is wrong, not the runner"
    await world.take(SIGNAL)
    assert len(world.handed_out) == 1
    assert world.acked == [0, 1]


@pytest.mark.parametrize(
    ("version", "said"), [(1, "version 1 of workflow w cannot be read here"), (2, "workflow w has no version 2")]
)
async def test_what_no_runner_can_read_is_a_dead_letter(world, logs, version, said):
    document = {**world.workflows.heads["w"].definition, "actions": [{"type": "of-a-plug-in"}]}
    world.workflows.heads["w"] = replace(world.workflows.heads["w"], definition=document)
    world.put(world.executions.found[EXECUTION], version=version)
    await world.take(SIGNAL)
    (reason,) = world.letters
    assert reason.startswith(said)
    assert logs == []


async def test_another_payload_under_the_same_name_is_a_dead_letter(world):
    await world.take(SIGNAL, {**SIGNAL, "payload": {"by": "Bob"}})
    (reason,) = world.letters
    assert "was sent to execution" in reason
    assert (await world.signals.get(EXECUTION, "approve")).payload == {"by": "Ada"}


async def test_what_has_ended_is_told_nothing(world):
    await world.executions.end(Ended(EXECUTION, "w", Status.CANCELLED, "over", T0))
    await world.take(SIGNAL)
    (reason,) = world.letters
    assert "has ended already: it is cancelled" in reason
    assert world.signals.kept == {}
