"""``/workflows`` over HTTP."""

import asyncio
from typing import Any

import pytest

from events.records import WorkflowChanged
from events.topics import partition_of
from tests.workflows.client import LOG, Client
from tests.workflows.clock import Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore

PERIODIC = {"type": "periodic", "interval": "10s"}


async def test_what_a_workflow_is_for_is_shown_with_it_and_a_change_of_it_is_a_version(api: Client) -> None:
    body = {"workflowId": "told", "trigger": {"type": "manual"}, "actions": [LOG], "description": "Packs {{ orders }}."}
    created = await api.send("POST", "/workflows", json=body)
    assert (created.status, created.body["description"]) == (201, "Packs {{ orders }}.")
    (listed,) = (await api.send("GET", "/workflows")).body["items"]
    assert listed["description"] == "Packs {{ orders }}."
    changed = await api.send("PUT", "/workflows/told", json={**body, "description": "Packs."})
    assert (changed.body["version"], changed.body["description"]) == (2, "Packs.")
    refused = await api.send("POST", "/workflows", json={**body, "workflowId": "long", "description": "x" * 2_001})
    assert refused.status == 400
    assert [each["field"] for each in refused.body["errors"]] == ["description"]


async def test_create_answers_what_is_stored(api: Client, store: MemoryStore) -> None:
    answer = await api.send(
        "POST",
        "/workflows",
        json={
            "workflowId": "recurrent-workflow",
            "trigger": PERIODIC,
            "actions": [{"type": "http-request", "url": "https://example.org", "method": "GET"}],
        },
    )
    assert answer.status == 201
    assert answer.headers["Location"] == "/v1/workflows/recurrent-workflow"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.body == {
        "workflowId": "recurrent-workflow",
        "version": 1,
        "trigger": {"type": "periodic", "interval": "10s", "allowManual": False, "status": "idle"},
        "actions": [
            {
                "actionId": "http-request-1",
                "type": "http-request",
                "url": "https://example.org",
                "method": "GET",
                "headers": {},
                "timeout": "30s",
                "onUnknown": "retry",
            }
        ],
        "retries": 3,
        "backoff": {"base": "1s", "factor": 2.0, "cap": "5m", "jitter": "full"},
        "createdAt": "2026-01-31T12:00:00.000Z",
        "updatedAt": "2026-01-31T12:00:00.000Z",
        "nextRun": "2026-01-31T12:00:10.000Z",
        "retrySchedule": {
            "attempts": 4,
            "longestWaits": [1.0, 2.0, 4.0],
            "longestTotal": 7.0,
            "jitter": "full",
            "budget": None,
            "actions": {},
        },
        "lastExecution": None,
        "warnings": [],
    }
    stored = store.workflows.documents["recurrent-workflow"]
    assert stored.shard == partition_of("recurrent-workflow")
    assert stored.anchor == stored.created_at


async def test_the_location_leads_to_the_workflow(api: Client) -> None:
    created = await api.create("a")
    assert (await api.get("/v1/workflows/a")).body == created
    assert (await api.get("/workflows/a")).body == created


async def test_an_id_is_taken_once(api: Client) -> None:
    await api.create("a")
    body = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG]}
    problem = (await api.send("POST", "/workflows", json=body)).problem(409)
    assert problem["type"] == "urn:problem-type:workflow-exists"
    assert "PUT /workflows/a" in problem["detail"]


async def test_the_json_of_a_request_comes_back_as_it_was(api: Client) -> None:
    sent = {"$set": None, "a.b": [None, 2**63 - 1, 1.5], "": {"\N{GRINNING FACE}": "\0"}}
    action = {"type": "http-request", "url": "https://example.org", "method": "POST", "json": sent}
    assert (await api.create("a", actions=[action]))["actions"][0]["json"] == sent
    assert (await api.get("/workflows/a")).body["actions"][0]["json"] == sent


async def test_patterns_that_take_long_to_understand_are_refused_together(api: Client) -> None:
    requests = [
        {"type": "http-request", "url": "http://a", "method": "GET", "expect": {"matches": rf"\pL{{1,30}}{number}"}}
        for number in range(100)
    ]
    body = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": requests}
    errors = (await api.send("POST", "/workflows", json=body)).problem(400)["errors"]
    assert errors[-1]["field"].startswith("actions[")
    assert "beyond what all regular expressions" in errors[-1]["message"]
    told = (await api.send("POST", "/workflows/validate", json=body)).body
    assert (told["valid"], told["errors"][0]["field"]) == (False, errors[0]["field"])


@pytest.mark.parametrize("path", ["/workflows", "/v1/workflows"])
async def test_pages_hold_every_workflow_once(api: Client, path: str) -> None:
    ids = [f"w-{number:02}" for number in range(25)]
    for workflow_id in reversed(ids):
        await api.create(workflow_id)
    seen, cursor = [], None
    while True:
        body = (await api.get(f"{path}?limit=10" + (f"&cursor={cursor}" if cursor else ""))).body
        seen.append([item["workflowId"] for item in body["items"]])
        cursor = body["nextCursor"]
        if cursor is None:
            break
    assert [len(page) for page in seen] == [10, 10, 5]
    assert [workflow_id for page in seen for workflow_id in page] == ids


async def test_a_full_last_page_has_no_next(api: Client) -> None:
    await api.create("a")
    await api.create("b")
    assert (await api.get("/workflows?limit=2")).body["nextCursor"] is None


async def test_no_workflows(api: Client) -> None:
    assert (await api.get("/workflows")).body == {"items": [], "nextCursor": None}


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("prefix=night", ["nightly", "nightly-report"]),
        ("triggerType=periodic", ["hourly", "nightly"]),
        ("prefix=night&triggerType=manual", ["nightly-report"]),
        ("prefix=nothing", []),
    ],
)
async def test_filters(api: Client, query: str, ids: list[str]) -> None:
    await api.create("hourly", trigger=PERIODIC)
    await api.create("nightly", trigger=PERIODIC)
    await api.create("nightly-report")
    assert [item["workflowId"] for item in (await api.get(f"/workflows?{query}")).body["items"]] == ids


async def test_the_trigger_status_follows_the_open_execution(api: Client, store: MemoryStore, clock: Clock) -> None:
    await api.create("a")
    await api.create("b")

    async def statuses() -> list[str]:
        one = (await api.get("/workflows/a")).body["trigger"]["status"]
        items = (await api.get("/workflows")).body["items"]
        return [one, *(item["trigger"]["status"] for item in items)]

    assert await statuses() == ["idle", "idle", "idle"]
    execution_id = await api.trigger("a")
    assert await statuses() == ["pending", "pending", "idle"]
    store.executions.start(execution_id, clock.now)
    assert await statuses() == ["busy", "busy", "idle"]


async def test_the_last_execution_is_shown(api: Client) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    shown = (await api.get("/workflows/a")).body["lastExecution"]
    assert shown["executionId"] == execution_id
    assert shown["status"] == "pending"


async def test_put_stores_the_next_version(api: Client, clock: Clock) -> None:
    created = await api.create("a")
    clock.move(60)
    answer = await api.send("PUT", "/workflows/a", json={"trigger": {"type": "manual"}, "actions": [LOG, LOG], "retries": 0})
    assert answer.status == 200
    assert answer.body["version"] == 2
    assert len(answer.body["actions"]) == 2
    assert answer.body["createdAt"] == created["createdAt"]
    assert answer.body["updatedAt"] == "2026-01-31T12:01:00.000Z"
    assert (await api.get("/workflows/a")).body == answer.body


@pytest.mark.parametrize(
    "body_id", [pytest.param("b", id="another"), pytest.param(None, id="null"), pytest.param(7, id="7")]
)
async def test_put_refuses_another_id(api: Client, body_id: Any) -> None:
    await api.create("a")
    answer = await api.send(
        "PUT", "/workflows/a", json={"workflowId": body_id, "trigger": {"type": "manual"}, "actions": [LOG]}
    )
    assert answer.fields() == ["workflowId"]


async def test_put_of_an_unknown_workflow(api: Client) -> None:
    answer = await api.send("PUT", "/workflows/a", json={"trigger": {"type": "manual"}, "actions": [LOG]})
    answer.problem(404)


async def test_two_puts_at_once_do_not_overwrite_each_other(api: Client) -> None:
    await api.create("a")
    answers = await asyncio.gather(
        *(
            api.send("PUT", "/workflows/a", json={"trigger": {"type": "manual"}, "actions": [LOG], "retries": number})
            for number in range(10)
        )
    )
    stored = [answer.body["version"] for answer in answers if answer.status == 200]
    assert len(set(stored)) == len(stored) >= 1
    for answer in answers:
        if answer.status != 200:
            assert answer.problem(409)["type"] == "urn:problem-type:version-conflict"


async def test_delete_archives_and_history_stays(api: Client, store: MemoryStore) -> None:
    await api.create("a")
    execution_id = await api.trigger("a")
    answer = await api.send("DELETE", "/workflows/a")
    assert (answer.status, answer.body) == (204, None)
    (await api.get("/workflows/a")).problem(404)
    (await api.send("DELETE", "/workflows/a")).problem(404)
    (await api.send("PUT", "/workflows/a", json={"trigger": {"type": "manual"}, "actions": [LOG]})).problem(404)
    assert (await api.get("/workflows")).body["items"] == []
    assert (await api.get(f"/executions/{execution_id}")).status == 200
    assert len((await api.get("/executions?workflowId=a")).body["items"]) == 1


async def test_what_is_archived_is_listed_when_asked_for(api: Client, clock: Clock) -> None:
    await api.create("nightly", trigger=PERIODIC)
    await api.create("nightly-report")
    await api.send("POST", "/workflows/nightly/pause")
    clock.move(60)
    await api.send("DELETE", "/workflows/nightly")
    listed = (await api.get("/workflows")).body["items"]
    assert [(item["workflowId"], "archivedAt" in item) for item in listed] == [("nightly-report", False)]
    (archived,) = (await api.get("/workflows?archived=true&prefix=night&triggerType=periodic&recent=3")).body["items"]
    assert archived["workflowId"] == "nightly"
    assert archived["archivedAt"] == archived["updatedAt"] != archived["createdAt"]
    assert (archived["nextRun"], archived["trigger"]["status"], archived["recentExecutions"]) == (None, "idle", [])
    assert "pausedAt" not in archived
    assert (await api.get("/workflows?archived=true&search=report")).body["items"] == []


async def test_an_archived_id_may_be_taken_again(api: Client) -> None:
    await api.create("a")
    await api.send("DELETE", "/workflows/a")
    assert (await api.create("a"))["version"] == 3


async def test_the_scheduler_is_told_of_every_change(api: Client, changes: FakeTopic) -> None:
    await api.create("a")
    await api.send("PUT", "/workflows/a", json={"trigger": {"type": "manual"}, "actions": [LOG]})
    await api.send("DELETE", "/workflows/a")
    assert [key for key, _ in changes.sent] == ["a"] * 3
    told = [event for _, event in changes.sent]
    assert all(isinstance(event, WorkflowChanged) for event in told)
    assert [(event.workflow_id, event.version) for event in told] == [("a", 1), ("a", 2), ("a", 2)]  # type: ignore[attr-defined]


@pytest.mark.parametrize("broker", ["refusing", "failing", "silent"])
async def test_a_change_is_stored_while_kafka_is_away(api: Client, changes: FakeTopic, broker: Any) -> None:
    changes.broker = broker
    await api.create("a")
    assert (await api.send("DELETE", "/workflows/a")).status == 204
