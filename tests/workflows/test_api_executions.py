"""``/executions`` over HTTP."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from apps.workflows.app import WorkflowsApp
from domain.execution import ActionFinished, ActionOutcome, Ended, Execution, Reissued, Restart, Status
from tests.workflows.client import LOG, Client
from tests.workflows.clock import START, Clock
from tests.workflows.memory import MemoryStore


def failed(execution_id: str, epoch: int, seq: int, status: Status) -> ActionFinished:
    return ActionFinished(
        execution_id=execution_id,
        workflow_id="a",
        epoch=epoch,
        seq=seq,
        outcome=ActionOutcome(
            action_id="log-2",
            index=1,
            attempt=1,
            status="failed",
            started_at=START + timedelta(seconds=2),
            finished_at=START + timedelta(seconds=3),
            logs=("https://example.org [STATUS 503] => not yet",),
            error={"class": "status", "message": "https://example.org answered 503"},
        ),
        status=status,
        retries_left=2,
        wake_at=START + timedelta(seconds=4) if status is Status.WAITING else None,
    )


def succeeded(execution_id: str, epoch: int, seq: int) -> ActionFinished:
    return ActionFinished(
        execution_id=execution_id,
        workflow_id="a",
        epoch=epoch,
        seq=seq,
        outcome=ActionOutcome("log-1", 0, 1, "ok", START, START + timedelta(seconds=1), ("hello",)),
        status=Status.RUNNING,
        retries_left=3,
    )


async def test_a_new_execution(api: Client) -> None:
    await api.create("a", actions=[LOG, LOG])
    execution_id = await api.trigger("a")
    answer = await api.get(f"/v1/executions/{execution_id}")
    assert answer.status == 200
    assert answer.body == {
        "executionId": execution_id,
        "workflowId": "a",
        "version": 1,
        "status": "pending",
        "cause": "manual",
        "reference": None,
        "createdAt": "2026-01-31T12:00:00.000Z",
        "dueAt": None,
        "startedAt": None,
        "finishedAt": None,
        "attempt": 1,
        "retriesLeft": 3,
        "nextAttemptAt": None,
        "resumedAt": None,
        "deadline": None,
        "lastFailedAction": None,
        "reason": None,
        "originId": None,
        "takesUp": False,
        "triggeredBy": None,
        "totalActions": 2,
        "epoch": 1,
        "currentStep": {"list": "actions", "position": 1, "actionId": "log-1"},
        "waitingFor": None,
        "executedActions": [],
    }


@pytest.mark.parametrize(("value", "written"), [(123456789012345678901, "123456789012345678901"), ("\ud800", '"?"')])
async def test_what_an_execution_was_given_is_shown_whatever_json_it_holds(
    api: Client, store: MemoryStore, value: Any, written: str
) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    document = store.executions.documents[execution_id]
    store.executions.documents[execution_id] = replace(document, input={"order": value})
    async with api.session.get(api.server.make_url(f"/v1/executions/{execution_id}")) as response:
        assert response.status == 200
        assert written in await response.text()


async def test_an_execution_that_waits_for_its_retry(api: Client, store: MemoryStore) -> None:
    await api.create("a", actions=[LOG, LOG])
    execution_id = await api.trigger("a")
    epoch = store.executions.start(execution_id, START).epoch
    store.executions.apply(succeeded(execution_id, epoch, 1))
    store.executions.apply(failed(execution_id, epoch, 2, Status.WAITING))
    body = (await api.get(f"/executions/{execution_id}")).body
    assert body["status"] == "pending"
    assert body["nextAttemptAt"] == "2026-01-31T12:00:04.000Z"
    assert body["retriesLeft"] == 2
    assert body["lastFailedAction"] == "log-2"
    assert body["executedActions"] == [
        {
            "actionId": "log-1",
            "index": 0,
            "status": "ok",
            "logs": ["hello"],
            "startedAt": "2026-01-31T12:00:00.000Z",
            "finishedAt": "2026-01-31T12:00:01.000Z",
            "attempt": 1,
        },
        {
            "actionId": "log-2",
            "index": 1,
            "status": "failed",
            "logs": ["https://example.org [STATUS 503] => not yet"],
            "startedAt": "2026-01-31T12:00:02.000Z",
            "finishedAt": "2026-01-31T12:00:03.000Z",
            "attempt": 1,
            "error": {"class": "status", "message": "https://example.org answered 503"},
        },
    ]
    assert (await api.get("/workflows/a")).body["trigger"]["status"] == "pending"


async def test_an_execution_tells_what_interrupted_it(api: Client, store: MemoryStore) -> None:
    await api.create("a", actions=[LOG, LOG])
    execution_id = await api.trigger("a")
    assert "restarts" not in (await api.get(f"/executions/{execution_id}")).body
    epoch = store.executions.start(execution_id, START).epoch
    store.executions.apply(replace(succeeded(execution_id, epoch, 1), runner="host-1-ab"))
    store.executions.apply(Reissued(execution_id, "a", epoch + 1, START + timedelta(seconds=20), Restart.LOST))
    body = (await api.get(f"/executions/{execution_id}")).body
    assert body["epoch"] == epoch + 1
    assert body["restarts"] == [
        {
            "at": "2026-01-31T12:00:20.000Z",
            "why": "lost",
            "attempt": 1,
            "index": 1,
            "runner": "host-1-ab",
            "since": "2026-01-31T12:00:01.000Z",
        }
    ]


async def test_an_open_execution_tells_the_step_that_it_is_at(api: Client, store: MemoryStore) -> None:
    await api.create("a", actions=[LOG, LOG], onFailure=[LOG], **{"finally": [LOG]})
    execution_id = await api.trigger("a")
    epoch = store.executions.start(execution_id, START).epoch

    async def step() -> object:
        return (await api.get(f"/executions/{execution_id}")).body["currentStep"]

    assert await step() == {"list": "actions", "position": 1, "actionId": "log-1"}
    store.executions.apply(succeeded(execution_id, epoch, 1))
    assert await step() == {"list": "actions", "position": 2, "actionId": "log-2"}
    broken = failed(execution_id, epoch, 2, Status.RUNNING)
    store.executions.apply(replace(broken, outcome=replace(broken.outcome, next_index=2)))
    assert await step() == {"list": "onFailure", "position": 1, "actionId": "on-failure-log-1"}
    handled = ActionOutcome("on-failure-log-1", 2, 1, "ok", START, START)
    store.executions.apply(replace(broken, seq=3, outcome=handled))
    assert await step() == {"list": "finally", "position": 1, "actionId": "finally-log-1"}
    cancelled = await api.send("POST", f"/executions/{execution_id}/cancel")
    assert (cancelled.body["currentStep"], await step()) == (None, None)
    cut_off = {"list": "finally", "position": 1, "actionId": "finally-log-1", "since": "2026-01-31T12:00:00.000Z"}
    assert (await api.get(f"/executions/{execution_id}")).body["cutOff"] == cancelled.body["cutOff"] == cut_off


async def test_an_execution_that_is_cancelled_while_it_waits_is_cut_off_in_nothing(api: Client, store: MemoryStore) -> None:
    await api.create("a", actions=[LOG, LOG])
    execution_id = await api.trigger("a")
    epoch = store.executions.start(execution_id, START).epoch
    store.executions.apply(failed(execution_id, epoch, 1, Status.WAITING))
    assert "cutOff" not in (await api.send("POST", f"/executions/{execution_id}/cancel")).body


async def history(api: Client, store: MemoryStore, clock: Clock) -> dict[str, str]:
    """Make one execution of each status, a minute apart; return the ids by what they are."""
    found = {}
    for name in ("pending", "running", "waiting", "failed", "cancelled"):
        await api.create(name, actions=[LOG, LOG])
        found[name] = await api.trigger(name)
        if name in ("running", "waiting", "failed"):
            epoch = store.executions.start(found[name], clock.now).epoch
            if name != "running":
                status = Status.WAITING if name == "waiting" else Status.FAILED
                store.executions.apply(failed(found[name], epoch, 1, status))
        if name == "cancelled":
            store.executions.apply(Ended(found[name], name, Status.CANCELLED, "asked for", clock.now))
        clock.move(60)
    return found


@pytest.mark.parametrize(
    ("query", "names"),
    [
        pytest.param("", ["cancelled", "failed", "waiting", "running", "pending"], id="newest first"),
        pytest.param("status=pending", ["waiting", "pending"], id="pending includes backoff"),
        pytest.param("status=running", ["running"], id="running"),
        pytest.param("status=failed,cancelled", ["cancelled", "failed"], id="comma list"),
        pytest.param("status=failed&status=cancelled,ok", ["cancelled", "failed"], id="repeated"),
        pytest.param("status=ok", [], id="none"),
        pytest.param("workflowId=failed", ["failed"], id="workflow"),
        pytest.param("workflowId=nobody", [], id="unknown workflow"),
        pytest.param("from=2026-01-31T12:03:00Z", ["cancelled", "failed"], id="from is inclusive"),
        pytest.param("to=2026-01-31T12:01:00Z", ["pending"], id="to is exclusive"),
        pytest.param("from=2026-01-31T13:01:00%2B01:00&to=2026-01-31T12:02:00Z", ["running"], id="another zone"),
        pytest.param("from=0001-01-01T00:00:00Z&status=cancelled", ["cancelled"], id="before 1970"),
        pytest.param("from=9999-12-31T23:59:59Z", [], id="far future"),
    ],
)
async def test_filters(api: Client, store: MemoryStore, clock: Clock, query: str, names: list[str]) -> None:
    ids = await history(api, store, clock)
    body = (await api.get(f"/executions?{query}")).body
    assert [item["executionId"] for item in body["items"]] == [ids[name] for name in names]
    assert body["nextCursor"] is None


async def test_pages_hold_every_execution_once(api: Client, store: MemoryStore, clock: Clock) -> None:
    ids = await history(api, store, clock)
    seen = []
    cursor = ""
    while True:
        body = (await api.get(f"/v1/executions?limit=2{cursor}")).body
        seen += [item["executionId"] for item in body["items"]]
        if body["nextCursor"] is None:
            break
        cursor = f"&cursor={body['nextCursor']}"
    assert seen == list(reversed(ids.values()))


async def test_lists_leave_the_actions_out(api: Client) -> None:
    await api.create("a")
    await api.trigger("a")
    (item,) = (await api.get("/executions")).body["items"]
    assert "executedActions" not in item


async def test_unknown(api: Client) -> None:
    (await api.get("/executions/019a0b61-40fd-722f-8b92-fa8f070d257a")).problem(404)


async def test_whoever_waits_is_answered_when_it_has_ended(
    api: Client, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    get, looks, looked_twice = store.executions.get, iter(range(10_000)), asyncio.Event()

    async def counted(asked: str) -> Execution | None:
        if next(looks):
            looked_twice.set()
        return await get(asked)

    monkeypatch.setattr(store.executions, "get", counted)
    waiting = asyncio.create_task(api.get(f"/executions/{execution_id}?wait=1m"))
    await looked_twice.wait()
    assert not waiting.done()
    store.executions.apply(Ended(execution_id, "a", Status.CANCELLED, "asked for", START))
    assert (await waiting).body["status"] == "cancelled"


async def test_whoever_waits_in_vain_is_told_how_it_stands(api: Client, app: WorkflowsApp) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    assert (await api.get(f"/executions/{execution_id}?wait=1s")).body["status"] == "pending"
    await app.stop()  # nor is a service that stops held up
    assert (await api.get(f"/executions/{execution_id}?wait=1m")).body["status"] == "pending"


async def test_nobody_waits_for_what_is_not_there(api: Client) -> None:
    (await api.get("/executions/019a0b61-40fd-722f-8b92-fa8f070d257a?wait=1m")).problem(404)


@pytest.mark.parametrize("wait", ["", "5", "0s", "-1s", "61s", "2m", "1h", "soon"])
async def test_a_wait_that_is_none(api: Client, wait: str) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    assert (await api.get(f"/executions/{execution_id}?wait={wait}")).fields() == ["wait"]
