"""A stored definition that this service cannot read: a kind of a plug-in that others have, or of a later version."""

from dataclasses import replace
from typing import Any

import pytest

from tests.workflows.client import LOG, Client
from tests.workflows.clock import START, Clock
from tests.workflows.memory import MemoryStore

FAX = {"type": "acme-fax", "action_id": "fax", "number": "1"}
PERIODIC = {"type": "periodic", "interval": "1h"}
WHY = "workflow a cannot be read here: actions.1: Input tag 'acme-fax' found using 'type' does not match"
MEND = "run the same version and the same ACTION_PLUGINS in every service"


async def unreadable(api: Client, store: MemoryStore, **more: Any) -> None:
    """Store a readable workflow, and put a step of an unknown kind into it."""
    await api.create("a", **{"actions": [LOG], **more})
    found = store.workflows.documents["a"]
    spoilt = {**found.definition, "actions": [*found.definition["actions"], FAX]}
    store.workflows.documents["a"] = replace(found, definition=spoilt)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/workflows/a", None),
        ("GET", "/workflows/a/versions/1", None),
        ("POST", "/workflows/a/dry-run", {}),
        ("POST", "/workflows/a/rollback", {"version": 1}),
        ("POST", "/workflows/a/pause", None),
    ],
)
async def test_whoever_needs_it_is_told_why_and_how_to_mend_it(
    api: Client, store: MemoryStore, method: str, path: str, body: Any
) -> None:
    await unreadable(api, store, trigger=PERIODIC)
    before = store.workflows.documents["a"]
    problem = (await api.send(method, path, json=body)).problem(503)
    assert problem["type"] == "urn:problem-type:definition-unreadable"
    assert problem["detail"].startswith(f"Version 1 of {WHY}")
    assert problem["detail"].endswith(f"{MEND}.")
    assert store.workflows.documents["a"] == before


async def test_a_paused_one_is_not_resumed_unseen(api: Client, store: MemoryStore, clock: Clock) -> None:
    await unreadable(api, store, trigger=PERIODIC)
    store.workflows.documents["a"] = replace(store.workflows.documents["a"], paused_at=START, next_run=None, held_from=START)
    (await api.send("POST", "/workflows/a/resume")).problem(503)
    assert store.workflows.documents["a"].paused_at == START


async def test_a_signal_is_refused_and_not_kept(api: Client, store: MemoryStore) -> None:
    await unreadable(api, store, actions=[{"type": "wait-for-signal", "actionId": "approve"}])
    execution_id = await api.trigger("a")
    problem = (await api.send("POST", f"/executions/{execution_id}/signals/approve")).problem(503)
    assert WHY in problem["detail"]
    assert store.signals.kept == {}


async def test_lists_show_the_others_and_what_is_known_of_it(api: Client, store: MemoryStore) -> None:
    await unreadable(api, store, onFailure=[LOG], trigger=PERIODIC)
    await api.create("b")
    one, other = (await api.get("/workflows?recent=1")).body["items"]
    assert (other["workflowId"], "unreadable" in other) == ("b", False)
    assert WHY in one["unreadable"]
    assert one["actions"] == [{"type": "log", "actionId": "log-1"}, {"type": "acme-fax", "actionId": "fax"}]
    assert one["onFailure"] == [{"type": "log", "actionId": "on-failure-log-1"}]
    assert (one["trigger"]["interval"], one["trigger"]["status"], one["version"]) == ("1h", "idle", 1)
    (version,) = (await api.get("/workflows/a/versions")).body["items"]
    assert (version["version"], version["definition"]) == (1, None)
    assert WHY in version["unreadable"]


async def test_it_runs_and_shows_what_it_did(api: Client, store: MemoryStore) -> None:
    await unreadable(api, store)
    execution_id = await api.trigger("a")
    assert (await api.get(f"/executions/{execution_id}")).body["currentStep"]["actionId"] == "log-1"


async def test_it_can_be_mended_and_removed(api: Client, store: MemoryStore) -> None:
    await unreadable(api, store)
    assert (await api.send("PUT", "/workflows/a", json={"trigger": {"type": "manual"}, "actions": [LOG]})).status == 200
    assert (await api.get("/workflows/a")).body["version"] == 2
    found = store.workflows.documents["a"]
    store.workflows.documents["a"] = replace(found, definition={**found.definition, "actions": [FAX]})
    assert (await api.send("DELETE", "/workflows/a")).status == 204
    operations = [entry.operation for entry in store.audit.entries]
    assert operations[-2:] == ["replaceWorkflow", "archiveWorkflow"]


@pytest.mark.parametrize(
    ("part", "path"),
    [
        ({"trigger": {"type": "lunar"}}, "/workflows/a/schedule"),
        ({"trigger": {"type": "lunar"}}, "/workflows/a/trigger"),
        ({"overlap": {"policy": "dance"}}, "/workflows/a/trigger"),
        ({"webhook": {"type": "smoke"}}, "/workflows/a/webhook"),
    ],
)
async def test_any_part_of_it_may_be_what_is_not_known(
    api: Client, store: MemoryStore, part: dict[str, Any], path: str
) -> None:
    await api.create("a")
    found = store.workflows.documents["a"]
    store.workflows.documents["a"] = replace(found, definition={**found.definition, **part})
    problem = (await api.send("GET" if path.endswith("schedule") else "POST", path)).problem(503)
    assert problem["type"] == "urn:problem-type:definition-unreadable"
    assert problem["detail"].startswith("Version 1 of workflow a cannot be read here: ")


async def test_a_list_shows_of_an_unknown_trigger_what_it_is_called(api: Client, store: MemoryStore) -> None:
    await api.create("a")
    found = store.workflows.documents["a"]
    store.workflows.documents["a"] = replace(found, definition={**found.definition, "trigger": {"type": "lunar"}})
    (item,) = (await api.get("/workflows")).body["items"]
    assert item["trigger"] == {"type": "lunar", "status": "idle"}
