"""Variables over HTTP: set, read, deleted, and what of a definition that refers to them."""

from typing import Any

import pytest

from tests.workflows.client import Client
from tests.workflows.clock import Clock
from tests.workflows.memory import MemoryStore


def greeting(message: str) -> dict[str, Any]:
    return {"workflowId": "w", "trigger": {"type": "manual"}, "actions": [{"type": "log", "message": message}]}


@pytest.mark.parametrize("value", ["https://staging.example.org", "", 0, False, [], {"a.$b": [None, 1.5]}])
async def test_a_value_is_read_back_as_it_was_set(api: Client, clock: Clock, value: Any) -> None:
    made = await api.send("PUT", "/vars/base-url", json={"value": value})
    shown = {"name": "base-url", "value": value, "updatedAt": made.body["updatedAt"]}
    assert (made.status, made.body) == (201, shown)
    assert (await api.send("PUT", "/vars/base-url", json={"value": value})).status == 200
    assert (await api.send("GET", "/vars/base-url")).body == shown
    assert (await api.send("GET", "/vars")).body == {"items": [shown]}


@pytest.mark.parametrize(
    ("word", "name", "body", "field"),
    [
        ("null", "A", {"value": None}, "value"),
        ("nothing", "A", {}, "value"),
        ("more", "A", {"value": 1, "secret": True}, "secret"),
        ("name", "1A", {"value": 1}, "name"),
        ("long name", "A" * 129, {"value": 1}, "name"),
    ],
)
async def test_what_is_refused(api: Client, store: MemoryStore, word: str, name: str, body: Any, field: str) -> None:
    assert (await api.send("PUT", f"/vars/{name}", json=body)).fields() == [field]
    assert await store.variables.all() == []


async def test_a_value_is_bounded(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.workflows.v1.variables.LARGEST_VALUE", 10)
    assert (await api.send("PUT", "/vars/A", json={"value": "ßßßß"})).status == 201
    (error,) = (await api.send("PUT", "/vars/A", json={"value": "ßßßßi"})).problem(400)["errors"]
    assert error == {"field": "value", "message": "takes 11 bytes of JSON, which are more than 10"}


async def test_what_is_not_there(api: Client) -> None:
    for method in ("GET", "DELETE"):
        problem = (await api.send(method, "/vars/NOPE")).problem(404)
        assert (problem["type"].rpartition(":")[2], "GET /vars lists" in problem["detail"]) == ("unknown-variable", True)


async def test_a_variable_that_is_not_set_is_told_before_anything_is_stored(api: Client) -> None:
    body = greeting("{{ vars.HOST }}")
    validated = await api.send("POST", "/workflows/validate", json=body)
    assert [error["field"] for error in validated.body["errors"]] == ["actions[0].message"]
    assert (await api.send("POST", "/workflows", json=body)).fields() == ["actions[0].message"]
    await api.send("PUT", "/vars/HOST", json={"value": "example.org"})
    assert (await api.send("POST", "/workflows/validate", json=body)).body["valid"]
    assert (await api.send("POST", "/workflows", json=body)).status == 201


async def test_a_dry_run_has_the_values_and_names_what_is_gone(api: Client) -> None:
    await api.send("PUT", "/vars/LIMIT", json={"value": 7})
    await api.send("POST", "/workflows", json=greeting("at most {{ vars.LIMIT }}"))
    ran = (await api.send("POST", "/workflows/w/dry-run")).body
    assert (ran["valid"], ran["steps"][0]["rendered"]["message"]) == (True, "at most 7")
    assert (await api.send("DELETE", "/vars/LIMIT")).status == 204
    ran = (await api.send("POST", "/workflows/w/dry-run")).body
    assert (ran["valid"], [error["field"] for error in ran["errors"]]) == (False, ["actions[0].message"])
    assert "variable LIMIT is not set" in ran["errors"][0]["message"]


async def test_what_was_changed_is_in_the_audit_log(api: Client, clock: Clock) -> None:
    for value in ("old", {"host": "new"}):
        await api.send("PUT", "/vars/A", json={"value": value})
        clock.move(1)
    await api.send("DELETE", "/vars/A")
    entries = (await api.send("GET", "/audit?path=/vars/A")).body["items"]
    assert [(entry["operation"], entry["changes"]) for entry in entries] == [
        ("deleteVariable", [{"path": "", "before": {"value": {"host": "new"}}, "after": None}]),
        ("setVariable", [{"path": "value", "before": "old", "after": {"host": "new"}}]),
        ("setVariable", [{"path": "", "before": None, "after": {"value": "old"}}]),
    ]
