"""``POST /workflows/{id}/trigger`` over HTTP."""

import asyncio
from typing import Any

import pytest

from domain.execution import Ended, Status
from domain.identifiers import asked_at, is_execution_id
from events.records import ExecutionRequest
from events.topics import partition_of
from tests.workflows.client import Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore


@pytest.mark.parametrize("prefix", ["", "/v1"])
@pytest.mark.parametrize("body", [pytest.param(None, id="no body"), pytest.param({}, id="empty object")])
async def test_accepted(api: Client, store: MemoryStore, requests: FakeTopic, prefix: str, body: Any) -> None:
    await api.create("a", retries=5)
    answer = await api.send("POST", f"{prefix}/workflows/a/trigger", json=body)
    assert answer.status == 202
    execution_id = answer.body["executionId"]
    assert answer.body == {"status": "workflow triggered", "executionId": execution_id}
    assert answer.headers["Location"] == f"/v1/executions/{execution_id}"
    assert is_execution_id(execution_id)
    assert asked_at(execution_id) == START

    execution = store.executions.documents[execution_id]
    assert execution.status is Status.PENDING
    assert execution.lock_key == "a"
    assert execution.shard == partition_of("a")
    assert requests.sent == [
        (
            "a",
            ExecutionRequest(
                workflow_id="a",
                execution_id=execution_id,
                epoch=1,
                version=1,
                cause="manual",
                attempt=1,
                retries_left=5,
                total_actions=1,
                created_at=START,
                requested_at=START,
            ),
        )
    ]


async def test_the_type_of_an_empty_body_does_not_matter(api: Client) -> None:
    await api.create("a")
    answer = await api.send("POST", "/workflows/a/trigger", headers={"Content-Type": "application/octet-stream"})
    assert answer.status == 202


@pytest.mark.parametrize("shown", ["pending", "busy"])
async def test_in_progress(api: Client, store: MemoryStore, clock: Clock, requests: FakeTopic, shown: str) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    if shown == "busy":
        store.executions.start(execution_id, clock.now)
    problem = (await api.send("POST", "/workflows/a/trigger")).problem(409)
    assert problem["status"] == "workflow in progress"
    assert problem["triggerStatus"] == shown
    assert problem["executionId"] == execution_id
    assert len(requests.sent) == 1


async def test_free_again_when_the_execution_ended(api: Client, store: MemoryStore, clock: Clock) -> None:
    await api.create("a")
    first = await api.trigger("a")
    store.executions.apply(Ended(first, "a", Status.CANCELLED, "asked for", clock.now))
    assert await api.trigger("a") != first


async def test_of_fifty_at_once_one_is_accepted(api: Client, store: MemoryStore, requests: FakeTopic) -> None:
    await api.create("a")
    answers = await asyncio.gather(*(api.send("POST", "/workflows/a/trigger") for _ in range(50)))
    accepted = [answer.body["executionId"] for answer in answers if answer.status == 202]
    assert len(accepted) == 1
    assert {answer.body["executionId"] for answer in answers} == set(accepted)
    assert sum(answer.status == 409 for answer in answers) == 49
    assert list(store.executions.documents) == accepted
    assert len(requests.sent) == 1


async def test_a_periodic_workflow_is_not_triggered_by_hand(api: Client, store: MemoryStore) -> None:
    await api.create("a", trigger={"type": "periodic", "interval": "1h"})
    problem = (await api.send("POST", "/workflows/a/trigger")).problem(409)
    assert problem["type"] == "urn:problem-type:not-triggered-by-hand"
    assert '"allowManual": true' in problem["detail"]
    assert not store.executions.documents


async def test_a_periodic_workflow_that_allows_it_is(api: Client) -> None:
    await api.create("a", trigger={"type": "periodic", "interval": "1h", "allowManual": True})
    await api.trigger("a")


async def test_the_current_version_runs(api: Client, requests: FakeTopic) -> None:
    await api.create("a")
    action = {"type": "log", "message": "x"}
    await api.send("PUT", "/workflows/a", json={"trigger": {"type": "manual"}, "actions": [action, action]})
    await api.trigger("a")
    request: Any = requests.sent[0][1]
    assert (request.version, request.total_actions) == (2, 2)


async def test_unknown(api: Client) -> None:
    (await api.send("POST", "/workflows/a/trigger")).problem(404)


async def test_archived(api: Client, store: MemoryStore) -> None:
    await api.create("a")
    await api.send("DELETE", "/workflows/a")
    (await api.send("POST", "/workflows/a/trigger")).problem(404)
    assert not store.executions.documents


@pytest.mark.parametrize("broker", ["refusing", "failing", "silent"])
async def test_accepted_while_kafka_is_away(api: Client, store: MemoryStore, requests: FakeTopic, broker: Any) -> None:
    await api.create("a")
    requests.broker = broker
    execution_id = await api.trigger("a")
    # The scheduler publishes what nobody picked up.
    assert store.executions.documents[execution_id].status is Status.PENDING


async def test_refused_while_the_database_is_away(api: Client, store: MemoryStore, requests: FakeTopic) -> None:
    await api.create("a")
    store.network.down = True
    answer = await api.send("POST", "/workflows/a/trigger")
    answer.problem(503)
    assert int(answer.headers["Retry-After"]) > 0
    assert not requests.sent
    store.network.down = False
    await api.trigger("a")


async def test_nobody_waits_for_long_for_a_database_that_comes_and_goes(
    api: Client, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each thing that is asked of it was bounded, and all of them together took longer than clients wait."""
    await api.create("a", overlap="allow")
    goes_on, proper = asyncio.Event(), store.executions.admit

    async def admit(admission: Any) -> Any:
        await goes_on.wait()
        return await proper(admission)

    monkeypatch.setattr(store.executions, "admit", admit)
    headers = {"Idempotency-Key": "k"}
    with monkeypatch.context() as impatient:
        impatient.setattr("apps.workflows.views.PATIENCE", 0.01)
        answer = await api.send("POST", "/workflows/a/trigger", headers=headers)
    answer.problem(503)
    assert int(answer.headers["Retry-After"]) > 0
    goes_on.set()
    again = await api.send("POST", "/workflows/a/trigger", headers=headers)
    assert again.status == 202
    assert [*store.executions.documents] == [again.body["executionId"]], "what was repeated with its key is started once"


async def test_unknown_fields_are_refused(api: Client, store: MemoryStore) -> None:
    await api.create("a")
    answer = await api.send("POST", "/workflows/a/trigger", json={"input": 1, "delay": "5s"})
    assert sorted(answer.fields()) == ["delay", "input"]
    assert 'goes into input, as in {"input": ' in answer.problem(400)["errors"][0]["message"]
    assert not store.executions.documents


async def test_what_the_input_leaves_out_is_so_by_default(api: Client, store: MemoryStore, requests: FakeTopic) -> None:
    schema = {"required": ["region"], "properties": {"region": {"default": "eu"}}}
    await api.create("a", inputSchema=schema, reference="{{ input.region }}", overlap="allow")
    for _ in range(2):
        headers = {"Idempotency-Key": "k"}
        answer = await api.send("POST", "/workflows/a/trigger", json={"input": {"n": 1}}, headers=headers)
    (execution,) = store.executions.documents.values()
    assert (execution.execution_id, execution.reference) == (answer.body["executionId"], "eu")
    shown = await api.send("GET", f"/executions/{execution.execution_id}")
    assert shown.body["input"] == {"n": 1, "region": "eu"} == requests.sent[0][1].input
    told = await api.send("POST", "/workflows/a/dry-run", json={"input": {"n": 1}})
    assert (told.body["valid"], told.body["reference"]) == (True, "eu")


async def test_run_again_fills_in_what_is_so_by_default_by_now(api: Client, store: MemoryStore, clock: Clock) -> None:
    await api.create("a")
    origin = await api.trigger("a")
    await store.executions.end(Ended(origin, "a", Status.CANCELLED, "over", clock.now))
    schema = {"properties": {"region": {"default": "eu"}}}
    body = {"trigger": {"type": "manual"}, "actions": [{"type": "log", "message": "x"}], "inputSchema": schema}
    await api.send("PUT", "/workflows/a", json=body)
    again = await api.send("POST", f"/executions/{origin}/run-again")
    assert store.executions.documents[again.body["executionId"]].input == {"region": "eu"}
    assert store.executions.documents[origin].input is None


async def test_ticks_are_given_what_is_so_by_default(api: Client, store: MemoryStore) -> None:
    schema = {"required": ["region"], "properties": {"region": {"default": "eu"}}}
    periodic = {"type": "periodic", "interval": "10s"}
    await api.create("a", trigger=periodic, inputSchema=schema)
    stored = await store.workflows.get("a")
    assert stored is not None
    assert stored.tick_input == {"region": "eu"}
    await api.send("PUT", "/workflows/a", json={"trigger": periodic, "actions": [{"type": "log", "message": "x"}]})
    stored = await store.workflows.get("a")
    assert stored is not None
    assert stored.tick_input is None
