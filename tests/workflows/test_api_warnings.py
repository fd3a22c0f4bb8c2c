"""What would make an execution fail that began now is told with the workflow, and keeps nothing from being stored."""

from typing import Any

import pytest

from actions.registry import WorkflowDefinition
from apps.workflows import surroundings
from apps.workflows.app import WorkflowsApp
from tests.workflows.client import LOG, Client
from tests.workflows.memory import MemoryStore
from tests.workflows.mounted import mounted

BY_HAND = {"type": "manual"}


def starts(workflow_id: str, **more: Any) -> dict[str, Any]:
    return {"type": "trigger-workflow", "workflowId": workflow_id, **more}


async def warned(api: Client, workflow_id: str) -> list[tuple[str, str]]:
    found = (await api.send("GET", f"/workflows/{workflow_id}")).body["warnings"]
    return [(each["field"], each["message"]) for each in found]


async def test_a_workflow_that_is_to_be_started_and_is_not_there_yet(api: Client) -> None:
    parent = {"workflowId": "parent", "trigger": BY_HAND, "actions": [LOG, starts("child"), starts("child")]}
    said = "workflow child does not exist; create it before this is to start it"
    expected = [(f"actions[{place}].workflowId", said) for place in (1, 2)]
    validated = await api.send("POST", "/workflows/validate", json=parent)
    assert (validated.body["valid"], validated.body["errors"]) == (True, [])
    assert [(each["field"], each["message"]) for each in validated.body["warnings"]] == expected
    created = await api.send("POST", "/workflows", json=parent)
    assert created.status == 201
    assert [(each["field"], each["message"]) for each in created.body["warnings"]] == expected
    assert await warned(api, "parent") == expected
    dry = (await api.send("POST", "/workflows/parent/dry-run")).body
    assert (dry["valid"], [(each["field"], each["message"]) for each in dry["errors"]]) == (False, expected)

    await api.send("POST", "/workflows", json={"workflowId": "child", "trigger": BY_HAND, "actions": [LOG]})
    assert await warned(api, "parent") == []
    assert (await api.send("POST", "/workflows/parent/dry-run")).body["valid"] is True
    assert (await api.send("PUT", "/workflows/parent", json=parent)).body["warnings"] == []

    await api.send("DELETE", "/workflows/child")
    ((_, archived), _) = await warned(api, "parent")
    assert archived == "workflow child is archived; store it again before this is to start it"


async def test_the_line_is_told_where_it_is_written(api: Client) -> None:
    text = "workflowId: parent\ntrigger: {type: manual}\nactions:\n  - type: log\n    message: x\nfinally:\n" + (
        "  - type: trigger-workflow\n    workflowId: child\n"
    )
    answer = await api.send("POST", "/workflows/validate", data=text, headers={"Content-Type": "application/yaml"})
    ((found),) = answer.body["warnings"]
    assert (found["field"], found["line"]) == ("finally[0].workflowId", 8)


@pytest.mark.parametrize("allowed", [True, False])
async def test_one_that_runs_on_schedule_alone(api: Client, allowed: bool) -> None:
    trigger = {"type": "periodic", "interval": "1h", "allowManual": allowed}
    await api.send("POST", "/workflows", json={"workflowId": "hourly", "trigger": trigger, "actions": [LOG]})
    await api.send("POST", "/workflows", json={"workflowId": "w", "trigger": BY_HAND, "actions": [starts("hourly")]})
    said = 'workflow hourly runs on schedule; set "allowManual": true in its trigger to start it otherwise as well'
    assert await warned(api, "w") == ([] if allowed else [("actions[0].workflowId", said)])


async def test_what_is_not_known_before_it_runs_is_not_looked_for(api: Client) -> None:
    overlap = {"policy": "queue"}
    actions = [starts("{{ input.which }}"), starts("itself")]
    body = {"workflowId": "itself", "trigger": BY_HAND, "actions": actions, "overlap": overlap}
    assert (await api.send("POST", "/workflows", json=body)).body["warnings"] == []


async def test_one_that_cannot_be_read_here_says_why(api: Client, store: MemoryStore) -> None:
    await api.send("POST", "/workflows", json={"workflowId": "later", "trigger": BY_HAND, "actions": [LOG]})
    stored = await store.workflows.get("later")
    assert stored is not None
    stored.definition["trigger"]["type"] = "moonrise"  # type: ignore[index]
    await api.send("POST", "/workflows", json={"workflowId": "w", "trigger": BY_HAND, "actions": [starts("later")]})
    ((_, message),) = await warned(api, "w")
    assert message.startswith("version 1 of workflow later cannot be read here")


async def test_a_secret_and_a_variable_that_were_taken_away_since(api: Client, app: WorkflowsApp) -> None:
    app.secrets = mounted(PIN="12345")
    await api.send("PUT", "/vars/HOST", json={"value": "h"})
    actions = [{"type": "log", "message": "{{ vars.HOST }} {{ secrets.PIN }}"}]
    created = await api.send("POST", "/workflows", json={"workflowId": "w", "trigger": BY_HAND, "actions": actions})
    assert (created.status, created.body["warnings"]) == (201, [])
    app.secrets = mounted()
    await api.send("DELETE", "/vars/HOST")
    assert await warned(api, "w") == [
        ("actions[0].message", "secret PIN is not set; `wf secrets set PIN` sets it"),
        ("actions[0].message", "variable HOST is not set; `wf vars set HOST` sets it"),
    ]
    dry = (await api.send("POST", "/workflows/w/dry-run")).body
    assert [each["message"].split(" is")[0] for each in dry["errors"]] == ["secret PIN", "variable HOST"], "each once"


async def test_what_versions_need_is_found_once_and_kept_while_there_is_room(api: Client, monkeypatch: Any) -> None:
    """Compiling the templates of a long definition takes most of a second, and a page is read again and again."""
    found: list[str] = []
    prepare = WorkflowDefinition.prepare
    monkeypatch.setattr(WorkflowDefinition, "prepare", lambda self: found.append(self.actions[0].message) or prepare(self))
    monkeypatch.setattr(surroundings, "_CAPACITY", 7)  # two that need nothing
    for name in ("a", "b", "c"):
        actions = [{"type": "log", "message": name}]
        await api.send("POST", "/workflows", json={"workflowId": name, "trigger": BY_HAND, "actions": actions})
    assert found == [], "it is compiled already when it is stored"
    for name in ("a", "b", "a", "c", "a", "b"):
        await warned(api, name)
    assert found == ["a", "b", "c", "b"]
    await api.send("PUT", "/workflows/a", json={"trigger": BY_HAND, "actions": [{"type": "log", "message": "a, changed"}]})
    assert found[-1] == "a, changed"
