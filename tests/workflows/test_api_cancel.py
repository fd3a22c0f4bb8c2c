"""``POST /executions/{id}/cancel`` over HTTP."""

from datetime import timedelta
from typing import Any, Literal

import pytest

from events.records import ExecutionEnded
from tests.workflows.client import Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore

NOBODY = "00000000-0000-7000-8000-000000000000"


@pytest.mark.parametrize("state", ["pending", "running"])
async def test_an_open_execution_ends_at_once(
    api: Client, store: MemoryStore, ends: FakeTopic, clock: Clock, state: str
) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    if state == "running":
        store.executions.start(execution_id, clock.now)
    clock.now = START + timedelta(seconds=5)
    answer = await api.send("POST", f"/executions/{execution_id}/cancel", json={"reason": "wrong month"})
    assert answer.status == 200
    assert (answer.body["status"], answer.body["reason"]) == ("cancelled", "wrong month")
    assert answer.body["finishedAt"] == "2026-01-31T12:00:05.000Z"
    assert [(key, event.execution_id, event.ended) for key, event in ends.sent] == [("a", execution_id, "cancelled")]
    assert isinstance(ends.sent[0][1], ExecutionEnded)
    assert not store.executions.ends_untold
    await api.trigger("a")


async def test_a_reason_is_optional(api: Client) -> None:
    await api.create("a")
    answer = await api.send("POST", f"/v1/executions/{await api.trigger('a')}/cancel")
    assert (answer.status, answer.body["reason"]) == (200, "cancelled by hand")


async def test_what_has_ended_is_not_cancelled(api: Client, ends: FakeTopic) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    await api.send("POST", f"/executions/{execution_id}/cancel")
    problem = (await api.send("POST", f"/executions/{execution_id}/cancel")).problem(409)
    assert problem["type"] == "urn:problem-type:execution-finished"
    assert (problem["executionId"], problem["executionStatus"]) == (execution_id, "cancelled")
    assert len(ends.sent) == 1


FINALLY: Any = {"onFailure": [{"type": "log", "message": "failed"}], "finally": [{"type": "log", "message": "tidied up"}]}


async def test_what_runs_in_any_case_runs_first(
    api: Client, store: MemoryStore, requests: FakeTopic, ends: FakeTopic, clock: Clock
) -> None:
    await api.create("a", **FINALLY)
    execution_id = await api.trigger("a")
    store.executions.start(execution_id, clock.now)
    epoch = store.executions.found[execution_id].epoch
    for _ in range(2):  # a repetition changes nothing
        answer = await api.send("POST", f"/executions/{execution_id}/cancel", json={"reason": "wrong month"})
        assert (answer.status, answer.body["status"], answer.body["finishedAt"]) == (200, "pending", None)
        (restart,) = answer.body["restarts"]
        assert (restart["why"], restart["index"]) == ("cancelled", 0)
    _, request = requests.sent[-1]
    assert (request.epoch, request.restarts[0]["why"], request.restarts[0]["reason"]) == (
        epoch + 1,
        "cancelled",
        "wrong month",
    )
    assert not ends.sent
    (await api.send("POST", "/workflows/a/trigger")).problem(409)


@pytest.mark.parametrize("is_under_way", [False, True], ids=["before it", "during it"])
async def test_now_ends_it_without(api: Client, ends: FakeTopic, is_under_way: bool) -> None:
    await api.create("a", **FINALLY)
    execution_id = await api.trigger("a")
    if is_under_way:
        await api.send("POST", f"/executions/{execution_id}/cancel")
    answer = await api.send("POST", f"/executions/{execution_id}/cancel", json={"now": True, "reason": "at once"})
    assert (answer.status, answer.body["status"], answer.body["reason"]) == (200, "cancelled", "at once")
    assert len(ends.sent) == 1


async def test_what_runs_on_failure_alone_is_not_run(api: Client, ends: FakeTopic) -> None:
    await api.create("a", onFailure=FINALLY["onFailure"])
    answer = await api.send("POST", f"/executions/{await api.trigger('a')}/cancel")
    assert (answer.body["status"], len(ends.sent)) == ("cancelled", 1)


async def test_an_unknown_execution(api: Client) -> None:
    (await api.send("POST", f"/executions/{NOBODY}/cancel")).problem(404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({"reason": ""}, "reason", id="empty reason"),
        pytest.param({"reason": "x" * 501}, "reason", id="long reason"),
        pytest.param({"why": "x"}, "why", id="unknown field"),
        pytest.param({"now": "yes"}, "now", id="a word"),
    ],
)
async def test_a_bad_body_is_refused_by_the_fields_name(api: Client, body: Any, field: str) -> None:
    await api.create("a")
    assert (await api.send("POST", f"/executions/{await api.trigger('a')}/cancel", json=body)).fields() == [field]


@pytest.mark.parametrize("broker", ["refusing", "failing", "silent"])
async def test_with_kafka_away_it_is_cancelled_all_the_same_and_told_later(
    api: Client, store: MemoryStore, ends: FakeTopic, broker: Literal["refusing", "failing", "silent"]
) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    ends.broker = broker
    assert (await api.send("POST", f"/executions/{execution_id}/cancel")).status == 200
    assert store.executions.ends_untold == {execution_id}


async def test_with_the_database_away_it_says_so(api: Client, store: MemoryStore) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    store.network.down = True
    answer = await api.send("POST", f"/executions/{execution_id}/cancel")
    answer.problem(503)
    assert answer.headers["Retry-After"]
