"""``POST /executions/{id}/signals/{name}`` over HTTP."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal

import pytest

from domain.execution import ActionFinished, ActionOutcome, Restart, Restarted, Status
from domain.signal import Signal
from events.records import ExecutionRequest
from tests.workflows.client import LOG, Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore

NOBODY = "00000000-0000-7000-8000-000000000000"
UNTIL = START + timedelta(days=1)
BY_ADA = {"payload": {"by": "Ada"}}
SCHEMA = {"type": "object", "required": ["by"], "properties": {"by": {"type": "string"}}}
APPROVE = {"type": "wait-for-signal", "actionId": "approve", "signal": "approved", "payloadSchema": SCHEMA}


async def started(api: Client, store: MemoryStore, **more: Any) -> str:
    """Return an execution that runs its first action and comes to the step that waits next."""
    await api.create("a", **{"actions": [LOG, APPROVE], **more})
    execution_id = await api.trigger("a")
    store.executions.start(execution_id, START)
    return execution_id


def note(
    store: MemoryStore,
    execution_id: str,
    status: str,
    after: Status,
    *,
    output: Mapping[str, Any] | None = None,
    next_index: int | None = None,
    continued: bool = False,
    step: tuple[str, int] = ("approve", 1),
) -> None:
    """Let the runner say what became of a step: the one that waits."""
    found = store.executions.documents[execution_id]
    outcome = ActionOutcome(*step, 1, status, START, START, output=output, next_index=next_index, continued=continued)
    wake_at = UNTIL if after is Status.WAITING else None
    store.executions.apply(
        ActionFinished(execution_id, "a", found.epoch, found.seq + 1, outcome, after, found.retries_left, wake_at=wake_at)
    )


async def waiting(api: Client, store: MemoryStore) -> str:
    """Return an execution that waits for the signal ``approved``."""
    execution_id = await started(api, store)
    note(store, execution_id, "waiting", Status.WAITING, output={"signal": "approved", "until": "2026-02-01T12:00:00.000Z"})
    return execution_id


def address(execution_id: str, name: str = "approved") -> str:
    return f"/v1/executions/{execution_id}/signals/{name}"


async def test_what_waits_for_it_goes_on(api: Client, store: MemoryStore, requests: FakeTopic, clock: Clock) -> None:
    execution_id = await waiting(api, store)
    shown = (await api.get(f"/executions/{execution_id}")).body
    assert (shown["status"], shown["nextAttemptAt"]) == ("pending", "2026-02-01T12:00:00.000Z")
    awaited = {"signal": "approved", "executions": None, "actionId": "approve", "until": "2026-02-01T12:00:00.000Z"}
    assert shown["waitingFor"] == awaited
    (listed,) = (await api.get("/executions")).body["items"]
    assert listed["waitingFor"] == awaited
    assert [outcome["status"] for outcome in shown["executedActions"]] == ["waiting"]
    clock.move(5)
    answer = await api.send("POST", address(execution_id), json=BY_ADA)
    assert answer.status == 202
    assert answer.body == {
        "status": "signal accepted",
        "executionId": execution_id,
        "signal": "approved",
        "at": "2026-01-31T12:00:05.000Z",
        "sender": "anonymous",
        "goesOn": True,
    }
    kept = await store.signals.get(execution_id, "approved")
    assert (kept.payload, kept.sender, kept.at) == ({"by": "Ada"}, "anonymous", clock.now)
    key, event = requests.sent[-1]
    assert isinstance(event, ExecutionRequest)
    woken = store.executions.documents[execution_id]
    assert (key, event.execution_id, event.epoch, event.attempt) == ("a", execution_id, woken.epoch, 1)
    shown = (await api.get(f"/executions/{execution_id}")).body
    assert (shown["status"], shown["waitingFor"], shown["nextAttemptAt"]) == ("pending", None, None)


async def test_one_that_comes_early_is_kept(api: Client, store: MemoryStore, requests: FakeTopic) -> None:
    execution_id = await started(api, store)
    note(store, execution_id, "ok", Status.RUNNING, step=("log-1", 0))
    before = list(requests.sent)
    answer = await api.send("POST", f"/executions/{execution_id}/signals/approved", json=BY_ADA)
    assert (answer.status, answer.body["goesOn"]) == (202, False)
    assert requests.sent == before
    assert await store.signals.get(execution_id, "approved") is not None


async def test_one_that_is_stored_while_the_execution_comes_to_its_step_wakes_it(
    api: Client, store: MemoryStore, requests: FakeTopic, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runner has looked before the signal was there, and the request has read the execution before it waited."""
    execution_id = await started(api, store)
    put = store.signals.put

    async def meanwhile(signal: Signal, attempt: int) -> Signal:
        kept: Signal = await put(signal, attempt)
        note(store, execution_id, "waiting", Status.WAITING, output={"signal": "approved"})
        return kept

    monkeypatch.setattr(store.signals, "put", meanwhile)
    answer = await api.send("POST", address(execution_id), json=BY_ADA)
    assert (answer.status, answer.body["goesOn"]) == (202, True)
    _, event = requests.sent[-1]
    assert isinstance(event, ExecutionRequest)
    assert event.epoch == store.executions.documents[execution_id].epoch


async def test_a_payload_is_optional(api: Client, store: MemoryStore) -> None:
    plain = {"type": "wait-for-signal", "actionId": "done"}
    execution_id = await started(api, store, actions=[LOG, plain])
    assert (await api.send("POST", address(execution_id, "done"))).status == 202
    assert (await store.signals.get(execution_id, "done")).payload == {}


async def test_the_same_again_is_accepted_again_also_at_the_end(api: Client, store: MemoryStore, clock: Clock) -> None:
    execution_id = await waiting(api, store)
    first = await api.send("POST", address(execution_id), json=BY_ADA)
    clock.move(60)
    assert (await api.send("POST", address(execution_id), json=BY_ADA)).body == first.body
    store.executions.start(execution_id, clock.now)
    note(store, execution_id, "ok", Status.OK, output={"signal": "approved"})
    assert (await api.send("POST", address(execution_id), json=BY_ADA)).body == first.body
    assert [entry.operation for entry in store.audit.entries].count("signalExecution") == 1


async def test_another_payload_is_refused_with_what_counts(api: Client, store: MemoryStore) -> None:
    execution_id = await waiting(api, store)
    await api.send("POST", address(execution_id), json={"payload": {"by": "Ada", "amount": 1}})
    problem = (await api.send("POST", address(execution_id), json={"payload": {"by": "Ada", "amount": True}})).problem(409)
    assert problem["type"] == "urn:problem-type:signal-sent-before"
    assert "at 2026-01-31T12:00:00.000Z by anonymous, with another payload" in problem["detail"]


async def test_the_order_of_its_fields_makes_no_other_payload(api: Client, store: MemoryStore) -> None:
    execution_id = await waiting(api, store)
    for payload in ({"by": "Ada", "amount": 1}, {"amount": 1, "by": "Ada"}):
        assert (await api.send("POST", address(execution_id), json={"payload": payload})).status == 202


async def test_a_key_is_heeded(api: Client, store: MemoryStore) -> None:
    execution_id = await waiting(api, store)
    headers = {"Idempotency-Key": "approval-1"}
    first = await api.send("POST", address(execution_id), json=BY_ADA, headers=headers)
    again = await api.send("POST", address(execution_id), json=BY_ADA, headers=headers)
    assert (again.body, again.headers["Idempotency-Replayed"]) == (first.body, "true")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"by": "Ada"}, "by", id="the payload itself"),
        pytest.param({"payload": "yes"}, "payload", id="no object"),
        pytest.param({"payload": {"by": 1}}, "payload.by", id="against the schema"),
        pytest.param({}, "payload", id="none where the schema asks for something"),
    ],
)
async def test_a_bad_payload_is_refused_by_its_field(api: Client, store: MemoryStore, body: Any, field: str) -> None:
    execution_id = await waiting(api, store)
    refused = await api.send("POST", address(execution_id), json=body)
    assert refused.fields() == [field]
    assert "input" not in refused.body["detail"]
    assert await store.signals.get(execution_id, "approved") is None


@pytest.mark.parametrize(
    ("execution_id", "name", "field"), [("nonsense", "approved", "executionId"), (NOBODY, "no.name", "name")]
)
async def test_an_address_that_is_none(api: Client, execution_id: str, name: str, field: str) -> None:
    assert (await api.send("POST", address(execution_id, name))).fields() == [field]


async def test_an_unknown_execution(api: Client) -> None:
    assert (await api.send("POST", address(NOBODY))).problem(404)["type"] == "urn:problem-type:unknown-execution"


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        pytest.param([LOG, APPROVE, {"type": "wait-for-signal", "actionId": "paid"}], "approved, paid", id="others"),
        pytest.param([LOG], "no step of type wait-for-signal", id="none at all"),
    ],
)
async def test_a_name_that_nothing_waits_for(api: Client, store: MemoryStore, actions: Any, words: str) -> None:
    execution_id = await started(api, store, actions=actions)
    # The names are those of the version that it runs.
    change = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [{**APPROVE, "signal": "shipped"}]}
    assert (await api.send("PUT", "/workflows/a", json=change)).status == 200
    problem = (await api.send("POST", address(execution_id, "shipped"), json=BY_ADA)).problem(404)
    assert problem["type"] == "urn:problem-type:unknown-signal"
    assert words in problem["detail"]


async def test_what_has_ended_is_told_nothing(api: Client, store: MemoryStore) -> None:
    execution_id = await waiting(api, store)
    await api.send("POST", f"/executions/{execution_id}/cancel")
    problem = (await api.send("POST", address(execution_id), json=BY_ADA)).problem(409)
    assert (problem["type"], problem["executionStatus"]) == ("urn:problem-type:execution-finished", "cancelled")
    assert await store.signals.get(execution_id, "approved") is None


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        pytest.param({"status": "failed"}, "(failed), so that {}; a retry waits anew, when it has ended.", id="failed"),
        pytest.param({"status": "failed", "continued": True}, "(failed), so that {}.", id="does not count"),
        pytest.param({"status": "skipped"}, "(skipped), so that {}.", id="skipped"),
        pytest.param({"status": "ok", "step": ("log-1", 0)}, "(not run), so that {}.", id="passed over"),
    ],
)
async def test_it_is_too_late_when_the_step_is_over(
    api: Client, store: MemoryStore, outcome: Mapping[str, Any], words: str
) -> None:
    execution_id = await started(api, store, onFailure=[LOG])
    note(store, execution_id, after=Status.RUNNING, next_index=2, **outcome)
    problem = (await api.send("POST", address(execution_id), json=BY_ADA)).problem(409)
    assert problem["type"] == "urn:problem-type:signal-too-late"
    told = words.format("nothing waits for signal approved any more")
    assert problem["detail"] == f"Execution {execution_id} has gone past step approve {told}"
    assert problem["retryWaits"] is ("a retry waits anew" in words)


@pytest.mark.parametrize(("why", "became"), [(Restart.TIMED_OUT, "timed out"), (Restart.GIVEN_UP, "given up")])
async def test_it_is_too_late_when_the_actions_were_ended(
    why: Restart, became: str, api: Client, store: MemoryStore
) -> None:
    """Also before a runner has recorded so, for it will not look for the signal any more."""
    execution_id = await waiting(api, store)
    found = store.executions.documents[execution_id]
    store.executions.documents[execution_id] = replace(
        found, status=Status.PENDING, restarts=(Restarted(found.created_at, why, 1, found.resume_index),)
    )
    problem = (await api.send("POST", address(execution_id), json=BY_ADA)).problem(409)
    assert f"has gone past step approve ({became})" in problem["detail"]
    assert problem["retryWaits"] is True
    assert await store.signals.get(execution_id, "approved") is None


async def test_a_step_that_is_retried_still_waits(api: Client, store: MemoryStore) -> None:
    execution_id = await waiting(api, store)
    note(store, execution_id, "failed", Status.WAITING)  # its time was over, and its policy tries it again
    answer = await api.send("POST", address(execution_id), json=BY_ADA)
    assert (answer.status, answer.body["goesOn"]) == (202, False)


@pytest.mark.parametrize("broker", ["refusing", "failing", "silent"])
async def test_with_kafka_away_it_is_kept_all_the_same(
    api: Client, store: MemoryStore, requests: FakeTopic, broker: Literal["refusing", "failing", "silent"]
) -> None:
    execution_id = await waiting(api, store)
    requests.broker = broker
    assert (await api.send("POST", address(execution_id), json=BY_ADA)).status == 202
    assert store.executions.documents[execution_id].status is Status.PENDING


async def test_with_the_database_away_it_says_so(api: Client, store: MemoryStore) -> None:
    execution_id = await waiting(api, store)
    store.network.down = True
    answer = await api.send("POST", address(execution_id), json=BY_ADA)
    answer.problem(503)
    assert answer.headers["Retry-After"]


async def test_a_body_that_is_too_large(api: Client, store: MemoryStore) -> None:
    execution_id = await waiting(api, store)
    (await api.send("POST", address(execution_id), json={"payload": {"by": "x" * 20_000}})).problem(413)
