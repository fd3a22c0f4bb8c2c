"""Retry from the failed action, and run again: new executions that name their origin."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from apps.workflows.app import WorkflowsApp
from domain.execution import ActionFinished, ActionOutcome, Admission, Ended, Execution, Status
from domain.instants import written
from events.records import ExecutionRequest
from store.interfaces import StoreUnavailable
from tests.workflows.client import LOG, Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore

THREE: list[dict[str, Any]] = [LOG, {**LOG, "message": "second"}, {**LOG, "message": "third"}]
NOBODY = "019ab5d0-0000-7000-8000-000000000001"


def finish(store: MemoryStore, execution_id: str, *statuses: str) -> Execution:
    """Have a runner run the actions; a failure ends the execution."""
    execution = store.executions.documents[execution_id]
    if execution.owner is None:
        execution = store.executions.start(execution_id, START)
    first = execution.resume_index
    for seq, status in enumerate(statuses, start=1):
        index = first + seq - 1
        last = index + 1 == execution.total_actions
        execution = store.executions.apply(
            ActionFinished(
                execution_id=execution_id,
                workflow_id=execution.workflow_id,
                epoch=execution.epoch,
                seq=seq,
                outcome=ActionOutcome(f"log-{index + 1}", index, 1, status, START, START, logs=(f"line {index}",)),
                status=Status.FAILED if status == "failed" else Status.OK if last else Status.RUNNING,
                retries_left=0,
            )
        )
    return execution


@pytest.mark.parametrize("what", ["retry", "run-again"])
async def test_a_crash_before_the_answer_is_kept_starts_nothing_twice(
    api: Client, store: MemoryStore, requests: FakeTopic, clock: Clock, what: str
) -> None:
    await api.create("w", actions=THREE, retries=0)
    origin = await api.trigger("w")
    finish(store, origin, "ok", "failed")
    headers = {"Idempotency-Key": "again"}
    first = await api.send("POST", f"/executions/{origin}/{what}", headers=headers)
    finish(store, first.body["executionId"], *(["ok"] * (2 if what == "retry" else 3)))
    # As if the process had died before it kept the answer, and the new execution had ended meanwhile.
    (key,) = store.idempotency.keys
    store.idempotency.keys[key] = replace(store.idempotency.keys[key], answer=None)
    clock.move(31)
    again = await api.send("POST", f"/executions/{origin}/{what}", headers=headers)
    assert again.body == first.body
    assert len(store.executions.documents) == len(requests.sent) == 2


@pytest.mark.parametrize("what", ["retry", "run-again"])
async def test_what_is_repeated_has_the_input_of_its_origin_and_all_of_its_time(
    api: Client, store: MemoryStore, clock: Clock, what: str
) -> None:
    """However long before it was accepted its key was seen first."""
    await api.create("w", timeout="1m")
    origin = (await api.send("POST", "/workflows/w/trigger", json={"input": {"x": 1}})).body["executionId"]
    finish(store, origin, "failed")
    admit, asked = store.executions.admit, []

    async def away(admission: Admission) -> None:
        asked.append(admission)
        raise StoreUnavailable("connection refused")

    headers = {"Idempotency-Key": "again"}
    store.executions.admit = away
    (await api.send("POST", f"/executions/{origin}/{what}", headers=headers)).problem(503)
    store.executions.admit = admit
    clock.move(3600)
    started = (await api.send("POST", f"/executions/{origin}/{what}", headers=headers)).body["executionId"]
    execution = store.executions.documents[started]
    assert (execution.input, execution.deadline) == ({"x": 1}, clock.now + timedelta(minutes=1))
    assert execution.requested_at == clock.now, "or it would count as lost on its way to a runner"
    assert [(admission.execution_id, admission.is_unique) for admission in asked] == [(started, False)]


@pytest.mark.parametrize("what", ["retry", "run-again"])
async def test_what_is_repeated_is_due_when_its_origin_was(
    api: Client, store: MemoryStore, requests: FakeTopic, what: str
) -> None:
    """Else the report of Monday's tick is one of the day on which it is taken up, after the fix."""
    await api.create("w", actions=THREE, retries=0)
    origin = await api.trigger("w")
    store.executions.documents[origin] = replace(store.executions.documents[origin], due_at=START - timedelta(days=1))
    finish(store, origin, "ok", "failed")
    started = (await api.send("POST", f"/executions/{origin}/{what}")).body["executionId"]
    _, request = requests.sent[-1]
    assert request.due_at == START - timedelta(days=1)
    assert (await api.send("GET", f"/executions/{started}")).body["dueAt"] == written(START - timedelta(days=1))


async def test_a_retry_takes_up_the_execution_at_the_failed_action(
    api: Client, store: MemoryStore, requests: FakeTopic, clock: Clock
) -> None:
    await api.create("w", actions=THREE, retries=2)
    origin = await api.trigger("w")
    finish(store, origin, "ok", "failed")
    clock.move(5)
    answer = await api.send("POST", f"/executions/{origin}/retry")
    assert answer.status == 202
    assert answer.body["originId"] == origin
    started = answer.body["executionId"]
    assert answer.headers["Location"] == f"/v1/executions/{started}"
    shown = (await api.get(f"/executions/{started}")).body
    assert (shown["status"], shown["originId"], shown["attempt"], shown["retriesLeft"]) == ("pending", origin, 1, 2)
    assert shown["takesUp"] is True
    assert [(a["actionId"], a["attempt"], a["carriedOver"], a["logs"]) for a in shown["executedActions"]] == [
        ("log-1", 0, True, ["line 0"])
    ]
    assert store.executions.documents[started].resume_index == 1
    key, request = requests.sent[-1]
    assert isinstance(request, ExecutionRequest)
    assert (key, request.execution_id, request.origin_id, request.carried) == ("w", started, origin, 1)
    assert request.takes_up is True
    finish(store, started, "ok", "ok")
    assert (await api.get(f"/executions/{started}")).body["status"] == "ok"
    assert (await api.get(f"/executions/{origin}")).body["status"] == "failed"


async def test_a_retry_of_a_retry_carries_over_what_both_achieved(api: Client, store: MemoryStore) -> None:
    await api.create("w", actions=THREE)
    origin = await api.trigger("w")
    finish(store, origin, "ok", "failed")
    second = (await api.send("POST", f"/executions/{origin}/retry")).body["executionId"]
    finish(store, second, "ok", "failed")
    third = (await api.send("POST", f"/executions/{second}/retry")).body["executionId"]
    assert store.executions.documents[third].resume_index == 2
    assert (await api.get(f"/executions/{third}")).body["originId"] == second


async def test_a_retry_runs_the_version_that_failed_and_run_again_the_current_one(api: Client, store: MemoryStore) -> None:
    await api.create("w", actions=THREE)
    origin = await api.trigger("w")
    finish(store, origin, "ok", "failed")
    await api.send("PUT", "/workflows/w", json={"trigger": {"type": "manual"}, "actions": [LOG]})
    retried = (await api.send("POST", f"/executions/{origin}/retry")).body["executionId"]
    assert (await api.get(f"/executions/{retried}")).body["version"] == 1
    assert (await api.get(f"/executions/{retried}")).body["totalActions"] == 3
    finish(store, retried, "ok", "ok")
    again = (await api.send("POST", f"/executions/{retried}/run-again")).body["executionId"]
    shown = (await api.get(f"/executions/{again}")).body
    assert (shown["version"], shown["totalActions"], shown["originId"], shown["executedActions"]) == (2, 1, retried, [])
    assert shown["takesUp"] is False


@pytest.mark.parametrize("how", ["retry", "run-again"])
async def test_only_one_execution_of_a_workflow_is_open(api: Client, store: MemoryStore, how: str) -> None:
    await api.create("w", actions=THREE)
    origin = await api.trigger("w")
    problem = (await api.send("POST", f"/executions/{origin}/{how}")).problem(409)
    assert (problem["status"], problem["executionId"]) == ("workflow in progress", origin)
    finish(store, origin, "failed")
    open_one = await api.trigger("w")
    problem = (await api.send("POST", f"/executions/{origin}/{how}")).problem(409)
    assert (problem["status"], problem["executionId"]) == ("workflow in progress", open_one)


async def test_a_success_is_not_retried_but_run_again(api: Client, store: MemoryStore) -> None:
    await api.create("w")
    origin = await api.trigger("w")
    finish(store, origin, "ok")
    problem = (await api.send("POST", f"/executions/{origin}/retry")).problem(409)
    assert "run-again" in problem["detail"]
    assert (await api.send("POST", f"/executions/{origin}/run-again")).status == 202


async def test_what_failed_in_finally_alone_is_not_retried_but_run_again(api: Client, store: MemoryStore) -> None:
    await api.create("w", **{"finally": [{"type": "fail", "message": "x"}]})
    origin = await api.trigger("w")
    execution = store.executions.start(origin, START)
    for index, status in enumerate(["ok", "failed"]):
        outcome = ActionOutcome(f"a{index}", index, 1, status, START, START)
        after = Status.FAILED if status == "failed" else Status.RUNNING
        store.executions.apply(ActionFinished(origin, "w", execution.epoch, index + 1, outcome, after, 0))
    detail = (await api.send("POST", f"/executions/{origin}/retry")).problem(409)["detail"]
    assert f"All actions of execution {origin} had succeeded: only a step of finally failed" in detail
    assert "has no failed action" not in detail
    assert f"POST /executions/{origin}/run-again" in detail
    assert (await api.send("POST", f"/executions/{origin}/run-again")).status == 202


async def test_a_cancelled_execution_is_retried_from_where_it_stood(api: Client, store: MemoryStore) -> None:
    await api.create("w", actions=THREE)
    origin = await api.trigger("w")
    finish(store, origin, "ok")
    store.executions.apply(Ended(origin, "w", Status.CANCELLED, "asked", START))
    started = (await api.send("POST", f"/executions/{origin}/retry")).body["executionId"]
    assert store.executions.documents[started].resume_index == 1


async def test_a_retry_of_what_was_cancelled_in_a_delay_waits_anew(
    api: Client, store: MemoryStore, requests: FakeTopic
) -> None:
    await api.create("w", actions=[{"type": "delay", "duration": "1h"}, LOG])
    origin = await api.trigger("w")
    until = written(START + timedelta(hours=1))
    delay = ActionOutcome("delay-1", 0, 1, "ok", START, START, output={"until": until})
    store.executions.start(origin, START)
    epoch = store.executions.documents[origin].epoch
    store.executions.apply(
        ActionFinished(origin, "w", epoch, 1, delay, Status.WAITING, 0, wake_at=START + timedelta(hours=1))
    )
    store.executions.apply(Ended(origin, "w", Status.CANCELLED, "asked", START + timedelta(seconds=1)))
    started = (await api.send("POST", f"/executions/{origin}/retry")).body["executionId"]
    assert store.executions.documents[started].resume_index == 0
    _, request = requests.sent[-1]
    assert isinstance(request, ExecutionRequest)
    assert (request.origin_id, request.carried) == (origin, None)


async def test_a_workflow_that_runs_on_its_schedule_alone_is_retried_but_not_run_again(
    api: Client, store: MemoryStore
) -> None:
    await api.create("w")
    origin = await api.trigger("w")
    finish(store, origin, "failed")
    await api.send("PUT", "/workflows/w", json={"trigger": {"type": "periodic", "interval": "1h"}, "actions": [LOG]})
    assert "allowManual" in (await api.send("POST", f"/executions/{origin}/run-again")).problem(409)["detail"]
    assert (await api.send("POST", f"/executions/{origin}/retry")).status == 202


async def test_run_again_is_refused_where_the_current_version_asks_for_other_input(
    api: Client, store: MemoryStore, requests: FakeTopic
) -> None:
    await api.create("w")
    origin = (await api.send("POST", "/workflows/w/trigger", json={"input": {"x": 1}})).body["executionId"]
    finish(store, origin, "failed")
    schema = {"type": "object", "properties": {"x": {"type": "string"}}}
    await api.send("PUT", "/workflows/w", json={"trigger": {"type": "manual"}, "actions": [LOG], "inputSchema": schema})
    problem = (await api.send("POST", f"/executions/{origin}/run-again")).problem(400)
    assert (problem["type"], [error["field"] for error in problem["errors"]]) == ("urn:problem-type:bad-input", ["input.x"])
    assert len(store.executions.documents) == len(requests.sent) == 1
    assert (await api.send("POST", f"/executions/{origin}/retry")).status == 202, "a retry keeps its version"


@pytest.mark.parametrize("how", ["retry", "run-again"])
async def test_what_is_not_there_is_not_repeated(api: Client, store: MemoryStore, how: str) -> None:
    assert (await api.send("POST", f"/executions/{NOBODY}/{how}")).problem(404)
    assert (await api.send("POST", f"/executions/7/{how}")).fields() == ["executionId"]
    await api.create("w")
    origin = await api.trigger("w")
    finish(store, origin, "failed")
    assert (await api.send("POST", f"/executions/{origin}/{how}", json={"force": True})).fields() == ["force"]
    await api.send("DELETE", "/workflows/w")
    problem = (await api.send("POST", f"/executions/{origin}/{how}")).problem(404)
    assert problem["type"] == "urn:problem-type:unknown-workflow"
    assert "w is archived; POST /workflows" in problem["detail"]
    await api.create("w")
    assert (await api.send("POST", f"/executions/{origin}/{how}")).status == 202


async def test_without_kafka_it_is_accepted_all_the_same(
    app: WorkflowsApp, api: Client, store: MemoryStore, requests: FakeTopic
) -> None:
    await api.create("w")
    origin = await api.trigger("w")
    finish(store, origin, "failed")
    requests.broker = "refusing"
    assert (await api.send("POST", f"/executions/{origin}/retry")).status == 202
