"""Golden payloads: what was once published stays readable, and is written the same way."""

import json
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from events.records import (
    ActionResult,
    BackfillAsked,
    DeadLetter,
    Event,
    ExecutionEnded,
    ExecutionRequest,
    ExecutionSignal,
    HolderEnded,
    ParentRecord,
    RestartRecord,
    WakeUp,
    WorkflowChanged,
)
from events.topics import ALL, PARTITIONS, partition_of
from events.wire import Decoder, EventSchema, Malformed, encode, json_schema, passed_over

GOLDEN = Path(__file__).parent / "golden"
NOON = datetime(2026, 11, 24, 12, 0, 0, 123000, tzinfo=timezone.utc)
DAWN = datetime(2026, 11, 3, 6, 0, tzinfo=timezone.utc)
EXECUTION_ID = "019ab5d0-0000-7000-8000-000000000001"
RELEASED: RestartRecord = {"at": DAWN, "why": "released", "attempt": 1, "index": 0}
LOST: RestartRecord = {"at": NOON, "why": "lost", "attempt": 1, "index": 1, "runner": "host-1-ab", "since": DAWN}
GIVEN_UP: RestartRecord = {**LOST, "why": "given-up", "reason": "given up: 4 attempts were lost with their runner"}
PARENT: ParentRecord = {"execution_id": EXECUTION_ID, "workflow_id": "v", "action_id": "call"}

RECORDS: dict[str, Event] = {
    "execution-request": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, version=2, cause="schedule", attempt=1, retries_left=3,
        total_actions=2, created_at=NOON, requested_at=NOON, due_at=NOON,
    ),
    "execution-request-of-a-retry": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, version=2, cause="manual", attempt=1, retries_left=3,
        total_actions=2, created_at=NOON, requested_at=NOON, origin_id="019ab5d0-0000-7000-8000-000000000000", takes_up=True,
        carried=1,
    ),
    "execution-request-of-a-backfill": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, version=2, cause="backfill", attempt=1, retries_left=3,
        total_actions=2, created_at=NOON, requested_at=NOON, due_at=DAWN,
    ),
    "execution-request-of-a-workflow": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, version=2, cause="workflow", attempt=1, retries_left=3,
        total_actions=2, created_at=NOON, requested_at=NOON, triggered_by=PARENT,
    ),
    "execution-request-by-hand": ExecutionRequest(workflow_id="w"),
    "action-result": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, seq=1, version=2, runner="host-1-ab", attempt=1,
        action_id="call", index=0, status="failed", execution_status="waiting", retries_left=2, total_actions=2,
        started_at=NOON,
        finished_at=NOON, logs=["line"], error={"class": "status", "message": "503"}, wake_at=NOON, reason="call failed",
    ),
    "execution-ended": ExecutionEnded(
        workflow_id="w", execution_id=EXECUTION_ID, ended="cancelled", at=NOON, reason="asked", version=2
    ),
    "execution-request-again": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=3, version=2, cause="manual", attempt=1, retries_left=3,
        total_actions=2, lost=True, created_at=NOON, requested_at=NOON, lost_attempts=1, recorded=1, started_at=NOON,
    ),
    "execution-request-after-restarts": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=5, version=2, cause="manual", attempt=1, retries_left=3,
        total_actions=2, lost=True, created_at=NOON, requested_at=NOON, lost_attempts=1, recorded=1, started_at=NOON,
        restarts=[RELEASED, LOST],
    ),
    "execution-request-after-giving-up": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=9, version=2, cause="manual", attempt=1, retries_left=3,
        total_actions=2, created_at=NOON, requested_at=NOON, recorded=1, started_at=NOON, restarts=[LOST, GIVEN_UP],
    ),
    "execution-ended-after-restarts": ExecutionEnded(
        workflow_id="w", execution_id=EXECUTION_ID, ended="cancelled", at=NOON, reason="asked", version=2, cause="manual",
        epoch=5, attempt=1, lost_attempts=1, retries_left=3, total_actions=2, recorded=1, created_at=NOON, started_at=NOON,
        restarts=[LOST], cut_off_since=NOON,
    ),
    "action-result-of-a-restart": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=4, seq=1, version=2, runner="host-1-ab", attempt=1,
        action_id="call", index=1, status="ok", execution_status="ok", retries_left=3, total_actions=2, started_at=NOON,
        finished_at=NOON, recorded=1, execution_started_at=NOON,
    ),
    "execution-ended-in-full": ExecutionEnded(
        workflow_id="w", execution_id=EXECUTION_ID, ended="skipped", at=NOON, reason="busy", version=2, cause="schedule",
        epoch=1, attempt=1, lost_attempts=0, retries_left=3, total_actions=2, recorded=0, created_at=NOON, due_at=NOON,
    ),
    "execution-ended-of-a-retry": ExecutionEnded(
        workflow_id="w", execution_id=EXECUTION_ID, ended="cancelled", at=NOON, reason="asked", version=2, cause="manual",
        epoch=2, attempt=1, lost_attempts=0, retries_left=3, total_actions=2, recorded=1, created_at=NOON,
        origin_id="019ab5d0-0000-7000-8000-000000000000", takes_up=True,
        carried=1,
    ),
    "execution-ended-of-a-workflow": ExecutionEnded(
        workflow_id="w", execution_id=EXECUTION_ID, ended="cancelled", at=NOON, reason="asked", version=2, cause="workflow",
        epoch=2, attempt=1, lost_attempts=0, retries_left=3, total_actions=2, recorded=0, created_at=NOON,
        triggered_by=PARENT,
    ),
    "execution-request-with-input": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, version=2, cause="manual", attempt=1, retries_left=3,
        total_actions=2, created_at=NOON, requested_at=NOON, deadline=NOON, input={"n": 1, "text": "é", "list": [None, {}]},
    ),
    "execution-request-with-a-reference": ExecutionRequest(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, version=2, cause="manual", attempt=1, retries_left=3,
        total_actions=2, created_at=NOON, requested_at=NOON, reference="order-17",
    ),
    "execution-ended-of-a-reference": ExecutionEnded(
        workflow_id="w", execution_id=EXECUTION_ID, ended="skipped", at=NOON, reason="busy", version=2, cause="event",
        epoch=0, attempt=1, lost_attempts=0, retries_left=3, total_actions=2, recorded=0, created_at=NOON,
        reference="order-17",
    ),
    "execution-signal": ExecutionSignal(workflow_id="w", execution_id=EXECUTION_ID, signal="approved"),
    "execution-signal-with-payload": ExecutionSignal(
        workflow_id="w", execution_id=EXECUTION_ID, signal="approved", payload={"by": "Ada", "list": [None, {}]}
    ),
    "action-result-with-output": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, seq=1, version=2, runner="host-1-ab", attempt=1,
        action_id="call", index=0, status="ok", execution_status="running", retries_left=3, total_actions=2,
        started_at=NOON, finished_at=NOON, logs=["line"], output={"status": 200, "json": {"a": [1.5, True, None]}},
        kind="http-request",
    ),
    "action-result-that-leads-to-a-handler": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, seq=2, version=2, runner="host-1-ab", attempt=1,
        action_id="call", index=0, status="failed", execution_status="running", retries_left=3, total_actions=2,
        started_at=NOON, finished_at=NOON, error={"class": "fail", "message": "no"}, kind="fail", next_index=2,
    ),
    "action-result-that-leads-to-a-handler-with-a-time-of-its-own": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=4, seq=1, version=2, runner="host-1-ab", attempt=1,
        action_id="call", index=0, status="failed", execution_status="running", retries_left=3, total_actions=2,
        started_at=DAWN, finished_at=NOON, error={"class": "timed-out", "message": "timed out after 10m"}, kind="fail",
        next_index=2, recorded=0, execution_started_at=DAWN, deadline=NOON,
    ),
    "action-result-of-a-wait": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, seq=1, version=2, runner="host-1-ab", attempt=1,
        action_id="approve", kind="wait-for-signal", index=0, status="waiting", execution_status="waiting", retries_left=3,
        total_actions=2, started_at=NOON, finished_at=NOON, wake_at=NOON, reason="action approve: waits",
        logs=["waits for signal approve until 2026-11-24T12:00:00.123Z"],
        output={"signal": "approve", "until": "2026-11-24T12:00:00.123Z"},
    ),
    "action-result-that-does-not-count": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, seq=1, version=2, runner="host-1-ab", attempt=1,
        action_id="call", index=0, status="failed", execution_status="running", retries_left=3, total_actions=2,
        started_at=NOON, finished_at=NOON, error={"class": "fail", "message": "no"}, kind="fail", continued=True,
    ),
    "action-result-of-a-delay": ActionResult(
        workflow_id="w", execution_id=EXECUTION_ID, epoch=1, seq=1, version=2, runner="host-1-ab", attempt=1,
        action_id="pause", index=0, status="ok", execution_status="waiting", retries_left=3, total_actions=2,
        started_at=NOON, finished_at=NOON, logs=["waits until 2026-11-24T12:00:00.123Z"], kind="delay",
        output={"until": "2026-11-24T12:00:00.123Z"}, wake_at=NOON, reason="action pause: waits",
    ),
    "execution-ended-by-its-deadline": ExecutionEnded(
        workflow_id="w", execution_id=EXECUTION_ID, ended="failed", at=NOON, reason="timed out after 10m", version=2,
        cause="manual", epoch=3, attempt=2, lost_attempts=1, retries_left=2, total_actions=2, recorded=1, created_at=NOON,
        started_at=NOON,
    ),
    "wake-up": WakeUp(workflow_id="w", execution_id=EXECUTION_ID, epoch=1, wake_at=NOON),
    "wake-up-after-a-delay": WakeUp(workflow_id="w", execution_id=EXECUTION_ID, epoch=1, wake_at=NOON, delay=True),
    "workflow-changed": WorkflowChanged(workflow_id="w", version=2),
    "holder-ended": HolderEnded(workflow_id="w"),
    "backfill-asked": BackfillAsked(workflow_id="w"),
    "dead-letter-of-nothing": DeadLetter(
        topic="workflow.execution", partition=1, offset=2, reason="the record has no value", at=NOON
    ),
    "dead-letter": DeadLetter(
        topic="workflow.execution", partition=1, offset=2, reason="bad", at=NOON, key="dw==",
        value="e30=",
    ),
}  # fmt: skip


def decoder(record: Event) -> Decoder:
    return next(Decoder(*spec.records) for spec in ALL if type(record) in spec.records)


@pytest.mark.parametrize("name", RECORDS)
def test_golden_payloads_are_read(name):
    raw = (GOLDEN / f"{name}.json").read_bytes().strip()
    found = decoder(RECORDS[name])(raw)
    assert not isinstance(found, Malformed), found
    assert found.asdict() == RECORDS[name].asdict()


@pytest.mark.parametrize("name", [name for name in RECORDS if name != "execution-request-by-hand"])
def test_golden_payloads_are_written(name):
    assert encode(RECORDS[name]) == (GOLDEN / f"{name}.json").read_bytes().strip()


def test_every_record_has_a_golden_payload():
    assert {type(record) for record in RECORDS.values()} == {record for spec in ALL for record in spec.records}
    assert {file.stem for file in GOLDEN.iterdir()} == RECORDS.keys()


@pytest.mark.parametrize("record", [record for spec in ALL for record in spec.records], ids=lambda record: record.__name__)
def test_every_field_of_a_record_is_in_some_golden_payload(record):
    """A field that came later has a payload with it and one without it, as it is met on a topic kept for a week."""
    payloads = [json.loads((GOLDEN / f"{name}.json").read_bytes()) for name, each in RECORDS.items() if type(each) is record]
    optional = {name for name, default in record._options.defaults.items() if default is None}
    assert {name for payload in payloads for name in payload} == set(record._options.fields)
    assert not [name for name in optional if all(name in payload for payload in payloads)]


@pytest.mark.parametrize(
    ("word", "raw", "field"),
    [
        ("nothing", None, "no value"),
        ("empty", b"", "no value"),
        ("no JSON", b"{oops", "Invalid JSON"),
        ("a list", b"[]", "object"),
        ("missing field", b"{}", "workflow_id"),
        ("number for text", b'{"workflow_id": 3}', "workflow_id"),
        ("null for text", b'{"workflow_id": null}', "workflow_id"),
        ("text for number", b'{"workflow_id": "w", "epoch": "1"}', "epoch"),
        ("no instant", b'{"workflow_id": "w", "created_at": "soon"}', "created_at"),
        ("no offset", b'{"workflow_id": "w", "created_at": "2026-01-31T12:00:00"}', "created_at"),
        ("not UTF-8", b'{"workflow_id": "\xff"}', "value"),
    ],
)
def test_what_does_not_decode_becomes_a_value_that_names_the_field(word, raw, field):
    found = Decoder(ExecutionRequest)(raw)
    assert isinstance(found, Malformed)
    assert field in found.reason
    assert found.raw == raw


def test_a_record_of_mistakes_has_a_short_reason():
    """It is to fit into a dead letter, and may hold as many mistakes as bytes."""
    raw = json.dumps(
        {"event": "action-result", "logs": [1] * 100_000, **{f"{number}": "x" for number in range(1000)}}
    ).encode()
    found = decoder(RECORDS["action-result"])(raw)
    assert found.reason.count("logs") == 1
    found = Decoder(ExecutionRequest)(json.dumps({"workflow_id": "w", "restarts": [1] * 100_000}).encode())
    assert found.reason.count("restarts") == 1
    found = decoder(RECORDS["action-result"])(json.dumps({"event": "x" * 100_000}).encode())
    assert found.reason.startswith("value: ")
    assert len(found.reason) <= 2000


@pytest.mark.parametrize("record", [record for spec in ALL for record in spec.records], ids=lambda record: record.__name__)
def test_what_is_told_apart_by_its_tag_is_documented_with_it(record):
    documented = json_schema(record)
    assert ("event" in documented["required"]) == ("event" in record._options.fields)


def test_what_no_reader_would_take_is_not_written():
    """Half of a surrogate pair, as a template can make one."""
    result = decoder(RECORDS["action-result-with-output"])((GOLDEN / "action-result-with-output.json").read_bytes())
    result.logs, result.output = ["a\ud800"], {"\udfff": ["b\ud800", 2**70]}
    found = decoder(result)(encode(result))
    assert (found.logs, found.output) == (["a?"], {"?": ["b?", 2**70]})


def test_fields_of_a_later_version_are_ignored():
    found = Decoder(ExecutionRequest)(b'{"workflow_id": "w", "of_the_future": 1}')
    assert isinstance(found, ExecutionRequest)
    assert not any("additionalProperties" in json_schema(record) for spec in ALL for record in spec.records)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"workflow_id": "w", "execution_id": "e", "signal": "s", "payload": {"a": 1, "b": {"a": 2}}}', ""),
        (b'{"workflow_id": "w", "signals": 1}', "signals: is not known here; remove it or check its spelling"),
        (b'{"signal": "s", "signal": "t"}', "signal: is given twice in one object; keep one of them"),
        (b'{"payload": {"a": 1, "a": 1}}', "a: is given twice in one object; keep one of them"),
        (
            b'{"z": 1, "b": 1, "b": 2}',
            "b: is not known here; remove it or check its spelling; z: is not known here; remove it or check its spelling",
        ),
    ],
    ids=["nothing", "unknown", "twice", "twice within", "both"],
)
def test_what_would_have_no_effect_is_told(raw, said):
    assert passed_over(raw, ExecutionSignal) == said


def test_what_would_have_no_effect_is_told_in_short():
    assert len(passed_over(json.dumps({"x" * 10_000: 1}).encode(), ExecutionSignal)) < 200
    assert len(passed_over(json.dumps({str(number): 1 for number in range(1000)}).encode(), ExecutionSignal)) == 2000


def test_keys_and_values_are_read_and_written_as_others_wrote_them():
    schema = EventSchema(ExecutionSignal)
    for key, read in ((b"w", "w"), (b"\xff", "\\xff"), (None, None)):
        assert schema.loads_key(None, SimpleNamespace(key=key)) == read
    name, headers = "execution-signal", {"a": b"1"}
    raw = (GOLDEN / f"{name}.json").read_bytes().strip()
    assert schema.loads_value(None, SimpleNamespace(value=raw)).asdict() == RECORDS[name].asdict()
    for key in ("w", b"w"):
        assert schema.dumps_key(None, key, headers=headers) == (b"w", headers)
    for value in (RECORDS[name], raw, raw.decode()):
        assert schema.dumps_value(None, value, headers=headers) == (raw, headers)


def test_defaults_are_not_shared():
    raw = (GOLDEN / "action-result.json").read_bytes()
    first, second = decoder(RECORDS["action-result"])(raw), decoder(RECORDS["action-result"])(raw)
    first.logs.append("x")
    assert second.logs == ["line"]


@pytest.mark.parametrize(
    ("key", "murmur2"),
    [("21", -973932308), ("foobar", -790332482), ("a-little-bit-long-string", -985981536), ("abc", 479470107)],
)
def test_partitions_are_those_of_every_kafka_client(key, murmur2):
    """The hashes are the reference values of Apache Kafka's own UtilsTest.testMurmur2."""
    assert partition_of(key) == (murmur2 & 0x7FFFFFFF) % PARTITIONS
