"""What the list of secrets tells of those that a workflow does not get, and validation of those that are not there."""

from types import SimpleNamespace

from apps.workflows.app import WorkflowsApp
from tests.workflows.client import Client
from tests.workflows.memory import MemoryStore
from tests.workflows.mounted import mounted
from vault.keys import KeyRing, KeySource, new_key
from vault.redaction import Redactor
from vault.values import Values


async def test_a_stored_secret_that_is_not_the_one_used_says_why(api: Client, app: WorkflowsApp, store: MemoryStore) -> None:
    key = new_key()
    here, lost = KeyRing.parse(key, "test"), KeyRing.parse(new_key(), "test")
    sealed = {name: ring.seal(name, "a value") for name, ring in (("FINE", here), ("BOTH", here), ("LOCKED", lost))}

    async def everything():
        return list(sealed.items())

    async def listed():
        return [(name, each.key_id, app.clock()) for name, each in sealed.items()]

    store.secrets = SimpleNamespace(all=everything, list=listed)  # type: ignore[attr-defined]
    app.secrets = Values(
        environment={"WF_SECRET_BOTH": "another value", "WF_SECRET_SHORT": "abc"},
        directory=None, keys=KeySource(key, None), stored=everything, redactor=Redactor(),
    )  # fmt: skip
    items = {item["name"]: item for item in (await api.send("GET", "/secrets")).body["items"]}
    assert "problem" not in items["FINE"]
    assert "environment or files, which wins" in items["BOTH"]["problem"]
    assert f"was encrypted with key {lost.primary}, which is not among the keys" in items["LOCKED"]["problem"]
    assert (items["SHORT"]["source"], "fewer than 4" in items["SHORT"]["problem"]) == ("mounted", True)


async def test_a_secret_that_is_not_set_is_told_before_anything_is_stored(api: Client, app: WorkflowsApp) -> None:
    app.secrets = mounted()
    action = {"type": "log", "message": "{{ secrets.NOPE }}"}
    body = {"workflowId": "w", "trigger": {"type": "manual"}, "actions": [action]}
    validated = await api.send("POST", "/workflows/validate", json=body)
    assert [error["field"] for error in validated.body["errors"]] == ["actions[0].message"]
    assert (await api.send("POST", "/workflows", json=body)).fields() == ["actions[0].message"]
