"""Versions and the way back; the list's search and recent results; validation while typing."""

import json
from typing import Any

import pytest

from tests.workflows.client import LOG, Client
from tests.workflows.clock import Clock
from tests.workflows.memory import MemoryStore

MANUAL = {"type": "manual"}


async def change(api: Client, message: str) -> None:
    body = {"trigger": MANUAL, "actions": [{**LOG, "message": message}]}
    assert (await api.send("PUT", "/workflows/w", json=body)).status == 200


async def test_every_change_is_a_version(api: Client) -> None:
    await api.create("w")
    await change(api, "two")
    await change(api, "three")
    listed = (await api.get("/workflows/w/versions")).body
    assert listed["current"] == 3
    assert [(v["version"], v["definition"]["actions"][0]["message"]) for v in listed["items"]] == [
        (3, "three"),
        (2, "two"),
        (1, "hello"),
    ]
    assert listed["nextCursor"] is None
    assert (await api.get("/v1/workflows/w/versions/2")).body == listed["items"][1]


async def test_versions_come_in_pages(api: Client) -> None:
    await api.create("w")
    await change(api, "two")
    await change(api, "three")
    first = (await api.get("/workflows/w/versions?limit=2")).body
    second = (await api.get(f"/workflows/w/versions?limit=2&cursor={first['nextCursor']}")).body
    assert [v["version"] for v in first["items"] + second["items"]] == [3, 2, 1]
    assert second["nextCursor"] is None


async def test_rolling_back_stores_the_former_definition_as_the_next_version(api: Client) -> None:
    await api.create("w")
    await change(api, "two")
    answer = await api.send("POST", "/workflows/w/rollback", json={"version": 1})
    assert answer.status == 200
    assert (answer.body["version"], answer.body["actions"][0]["message"]) == (3, "hello")
    assert (await api.get("/workflows/w/versions")).body["current"] == 3


@pytest.mark.parametrize(
    ("word", "method", "path", "body", "status"),
    [
        ("no such workflow", "GET", "/workflows/nobody/versions", None, 404),
        ("no such version", "GET", "/workflows/w/versions/7", None, 404),
        ("no number", "GET", "/workflows/w/versions/x", None, 400),
        ("no such version to go back to", "POST", "/workflows/w/rollback", {"version": 7}, 404),
        ("no version at all", "POST", "/workflows/w/rollback", {}, 400),
        ("a workflow that is not there", "POST", "/workflows/nobody/rollback", {"version": 1}, 404),
    ],
)
async def test_what_is_not_there(api: Client, word: str, method: str, path: str, body: Any, status: int) -> None:
    await api.create("w")
    (await api.send(method, path, json=body)).problem(status)


async def test_the_list_finds_workflows_by_a_part_of_their_id(api: Client) -> None:
    for workflow_id in ("nightly-report", "weekly-Report", "import"):
        await api.create(workflow_id)
    found = (await api.get("/workflows?search=report")).body["items"]
    assert [workflow["workflowId"] for workflow in found] == ["nightly-report", "weekly-Report"]


async def test_the_list_shows_recent_executions_where_asked(api: Client) -> None:
    await api.create("w")
    execution_id = await api.trigger("w")
    assert "recentExecutions" not in (await api.get("/workflows")).body["items"][0]
    (workflow,) = (await api.get("/workflows?recent=5")).body["items"]
    assert [(e["executionId"], e["status"]) for e in workflow["recentExecutions"]] == [(execution_id, "pending")]


@pytest.mark.parametrize(("overlap", "statuses"), [("queue", ["queued", "pending"]), ("allow", ["pending", "pending"])])
async def test_all_that_is_open_is_among_the_recent_executions(api: Client, overlap: str, statuses: list[str]) -> None:
    await api.create("w", overlap=overlap)
    ids = [await api.trigger("w"), await api.trigger("w")]
    (workflow,) = (await api.get("/workflows?recent=5")).body["items"]
    assert {e["executionId"] for e in workflow["recentExecutions"]} == set(ids)
    assert sorted(e["status"] for e in workflow["recentExecutions"]) == sorted(statuses)


GOOD = "workflowId: w\ntrigger: {type: manual}\nactions:\n- {type: log, message: x}\n"


async def validate(api: Client, text: str, content_type: str = "application/yaml") -> dict[str, Any]:
    answer = await api.send("POST", "/workflows/validate", data=text.encode(), headers={"Content-Type": content_type})
    assert answer.status == 200, answer.body
    return answer.body


async def test_a_valid_definition_is_answered_in_both_notations_and_not_stored(api: Client) -> None:
    found = await validate(api, "workflowId: w\ntrigger: {type: manual}\nactions:\n- {type: log, message: 'yes'}\n")
    assert found["valid"] is True
    assert found["definition"]["retries"] == 3
    assert found["written"]["actions"] == [{"type": "log", "message": "yes"}]
    again = await validate(api, found["yaml"])
    assert again["definition"] == found["definition"]
    assert await validate(api, json.dumps(found["written"]), "application/json") == found
    assert (await api.get("/workflows")).body["items"] == []


@pytest.mark.parametrize(
    ("word", "text", "line", "field"),
    [
        ("no YAML", "workflowId: [\n", 2, ""),
        (
            "a wrong field",
            "workflowId: w\ntrigger: {type: manual}\nactions:\n- type: log\n  massage: x\n",
            5,
            "actions[0].massage",
        ),
        ("a missing field", "workflowId: w\nactions:\n- {type: log, message: x}\n", 1, "trigger"),
        ("nothing", "", None, ""),
        ("several", f"{GOOD}---\n{GOOD}", None, ""),
        (
            "an instant in the past",
            "workflowId: w\ntrigger: {type: once, at: 2020-01-01T00:00:00Z}\nactions:\n- {type: log, message: x}\n",
            2,
            "trigger.at",
        ),
        (
            "an end in the past",
            "workflowId: w\ntrigger:\n  {type: periodic, interval: 1h, endAt: 2020-01-01T00:00:00Z}\n"
            "actions:\n- {type: log, message: x}\n",
            3,
            "trigger.endAt",
        ),
        ("a topic of the system", f"{GOOD}- {{type: publish, topic: workflow.execution}}\n", 5, "actions[1].topic"),
        ("a misspelt error class", f"{GOOD}retry: {{on: {{errors: [timout]}}}}\n", 5, "retry.on.errors[0]"),
    ],
)
async def test_what_is_wrong_is_told_by_line_and_field(api: Client, word: str, text: str, line: int, field: str) -> None:
    found = await validate(api, text)
    assert found["valid"] is False
    assert (line, field) in [(error["line"], error["field"]) for error in found["errors"]]


@pytest.mark.parametrize("value", ["123456789012345678901", "-9223372036854775809", "1e999", '"\\ud800"', '{"\\ud800": 1}'])
async def test_what_no_body_may_hold_is_no_part_of_a_valid_definition(api: Client, value: str) -> None:
    request = '{"type": "http-request", "url": "http://example.org/", "method": "POST", "json": {"a": %s}}'
    body = '{"workflowId": "w", "trigger": {"type": "manual"}, "actions": [%s]}' % (request % value)
    found = await validate(api, body, "application/json")
    assert [error["field"] for error in found["errors"]] == ["actions[0].json.a"]
    (await api.send("POST", "/workflows", data=body.encode(), headers={"Content-Type": "application/json"})).problem(400)


async def test_a_schedule_that_has_ended_is_valid_where_it_is_stored(api: Client, clock: Clock) -> None:
    trigger = {"type": "once", "at": "2026-01-31T12:00:10Z"}
    stored = await api.create("w", trigger=trigger)
    clock.move(20)
    body = {"workflowId": "w", "trigger": trigger, "actions": stored["actions"], "retries": 1}
    assert (await validate(api, json.dumps(body)))["valid"] is True
    assert (await api.send("PUT", "/workflows/w", json=body)).status == 200
    assert (await api.send("DELETE", "/workflows/w")).status == 204
    assert [each["field"] for each in (await validate(api, json.dumps(body)))["errors"]] == ["trigger.at"]
    assert (await api.send("POST", "/workflows", json=body)).fields() == ["trigger.at"]


async def test_without_the_database_nothing_is_called_valid(api: Client, store: MemoryStore) -> None:
    store.network.down = True
    headers = {"Content-Type": "application/yaml"}
    (await api.send("POST", "/workflows/validate", data=GOOD.encode(), headers=headers)).problem(503)
    assert (await validate(api, "workflowId: [\n"))["valid"] is False


async def test_only_json_and_yaml_are_validated(api: Client) -> None:
    answer = await api.send("POST", "/workflows/validate", data=b"x", headers={"Content-Type": "text/html"})
    answer.problem(415)
