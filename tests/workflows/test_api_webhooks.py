"""``POST /workflows/{id}/webhook`` over HTTP: a sender without a token, who proves by a secret who it is."""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any

import pytest

from apps.workflows.app import WorkflowsApp
from domain.execution import Cause, Ended, Status
from domain.inputs import LARGEST_INPUT
from tests.workflows.client import Answer, Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore
from vault.keys import KeySource
from vault.redaction import Redactor
from vault.values import Values

SECRET = "It's a Secret to Everybody"  # of GitHub's documentation, as is the signature below
HELLO = b"Hello, World!"
SIGNED_HELLO = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
STANDARD_SECRET = "whsec_" + base64.b64encode(b"the key of a sender").decode()

GITHUB = {
    "type": "hmac", "keySecret": "HOOK", "header": "X-Hub-Signature-256", "prefix": "sha256=",
    "deliveryHeader": "X-GitHub-Delivery",
}  # fmt: skip
GITLAB = {"type": "token", "tokenSecret": "HOOK", "header": "X-Gitlab-Token"}
STANDARD = {"type": "standard", "keySecret": "STANDARD"}


def values(**found: str) -> Values:
    async def nothing() -> list[Any]:
        return []

    environment = {f"WF_SECRET_{name}": value for name, value in found.items()}
    return Values(environment=environment, directory=None, keys=KeySource(None, None), stored=nothing, redactor=Redactor())


@pytest.fixture(autouse=True)
def secrets(app: WorkflowsApp) -> None:
    app.secrets = values(HOOK=SECRET, STANDARD=STANDARD_SECRET)


def github(body: bytes, secret: str = SECRET) -> str:
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


async def deliver(
    api: Client, body: bytes = b"", *, query: str = "", kind: str | None = "application/json", **headers: str
) -> Answer:
    """Send what a service sends that was told the address of the webhook of ``w``."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        given["Content-Type"] = kind
    return await api.send("POST", f"/workflows/w/webhook{query}", data=body, headers=given)


async def deliver_from_github(api: Client, body: bytes, **more: Any) -> Answer:
    return await deliver(api, body, X_Hub_Signature_256=github(body), **more)


async def test_what_was_sent_is_the_input_without_what_proves_or_identifies_anybody(
    api: Client, store: MemoryStore, requests: FakeTopic
) -> None:
    await api.create("w", webhook=GITHUB)
    body = b'{"action": "opened", "number": 7}'
    answer = await deliver_from_github(
        api, body, query="?team=a&team=b&empty=", X_GitHub_Event="issues", Cookie="a=b", Authorization="Basic eDp5"
    )
    assert answer.status == 202
    execution = store.executions.documents[answer.body["executionId"]]
    assert execution.cause is Cause.WEBHOOK
    assert execution.input is not None
    headers = execution.input.pop("headers")  # type: ignore[attr-defined]
    assert execution.input == {"body": {"action": "opened", "number": 7}, "query": {"team": ["a", "b"], "empty": ""}}
    assert headers["x-github-event"] == "issues"
    assert headers["content-type"] == "application/json"
    assert headers.keys() & {"x-hub-signature-256", "cookie", "authorization", "content-length"} == set()
    ((key, request),) = requests.sent
    assert (key, request.cause) == ("w", "webhook")
    shown = await api.get(f"/executions/{answer.body['executionId']}")
    assert shown.body["cause"] == "webhook"


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/json; charset=utf-8", b"[1, null]", [1, None]),
        ("application/vnd.github+json", b'{"a": 1}', {"a": 1}),
        ("application/x-www-form-urlencoded", b"text=a+b&id=1&id=2&none=", {"text": "a b", "id": ["1", "2"], "none": ""}),
        ("text/plain", "grüße".encode(), "grüße"),
        (None, b"<a/>", "<a/>"),
        ("application/json", b"", None),
    ],
)
async def test_kinds_of_bodies(api: Client, store: MemoryStore, kind: str | None, body: bytes, expected: Any) -> None:
    await api.create("w", webhook=GITHUB)
    answer = await deliver_from_github(api, body, kind=kind)
    assert answer.status == 202, answer.body
    given = store.executions.documents[answer.body["executionId"]].input
    assert given is not None and given["body"] == expected


async def test_the_example_of_githubs_documentation(api: Client) -> None:
    await api.create("w", webhook=GITHUB)
    assert (await deliver(api, HELLO, kind="text/plain", X_Hub_Signature_256=SIGNED_HELLO)).status == 202


async def test_a_signature_in_base64(api: Client) -> None:
    await api.create(
        "w", webhook={"type": "hmac", "keySecret": "HOOK", "header": "X-Shopify-Hmac-Sha256", "encoding": "base64"}
    )
    signature = base64.b64encode(hmac.new(SECRET.encode(), b"{}", hashlib.sha256).digest()).decode()
    assert (await deliver(api, b"{}", X_Shopify_Hmac_Sha256=signature)).status == 202
    answer = await deliver(api, b"{} ", X_Shopify_Hmac_Sha256=signature)
    assert answer.problem(403)["type"] == "urn:problem-type:webhook-not-proven"


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        ({}, "X-Hub-Signature-256 is missing"),
        ({"X_Hub_Signature_256": github(b"{}")[7:]}, "does not begin with 'sha256='"),
        ({"X_Hub_Signature_256": github(b"{}", "another secret")}, "is not the HMAC-SHA256 of the body in hex"),
        ({"X_Hub_Signature_256": github(b"{ }")}, "is not the HMAC-SHA256 of the body in hex"),
        ({"X_Hub_Signature_256": "sha256="}, "is not the HMAC-SHA256 of the body in hex"),
        ({"X_Hub_Signature_256": "sha256=grüße"}, "is not the HMAC-SHA256 of the body in hex"),
    ],
)
async def test_what_proves_nothing_starts_nothing(
    api: Client, store: MemoryStore, headers: Mapping[str, str], words: str
) -> None:
    await api.create("w", webhook=GITHUB)
    answer = await deliver(api, b"{}", X_GitHub_Delivery="one", **headers)
    problem = answer.problem(403)
    assert words in problem["detail"]
    assert SECRET not in str(problem)
    assert not store.executions.documents
    assert not store.idempotency.keys


async def test_a_token(api: Client, store: MemoryStore) -> None:
    await api.create("w", webhook={**GITLAB, "header": "X-Token", "prefix": "Bearer "})
    for wrong in (f"Bearer {SECRET}x", "Bearer ", SECRET, f"bearer {SECRET}"):
        assert (await deliver(api, b"{}", X_Token=wrong)).status == 403
    answer = await deliver(api, b"{}", X_Token=f"Bearer {SECRET}")
    assert answer.status == 202
    (execution,) = store.executions.documents.values()
    assert SECRET not in str(execution.input)


def standard(
    body: bytes, timestamp: int, *, key: bytes = b"the key of a sender", message_id: str = "msg_1"
) -> dict[str, str]:
    signed = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "webhook_id": message_id,
        "webhook_timestamp": str(timestamp),
        "webhook_signature": f"v1,bm90IHRoaXMgb25l v1a,cHVibGlj v1,{signature}",
    }


async def test_standard_webhooks(api: Client, store: MemoryStore, clock: Clock) -> None:
    await api.create("w", webhook=STANDARD)
    now = int(START.timestamp())
    missing = (await deliver(api, b"{}", **{k: v for k, v in standard(b"{}", now).items() if k != "webhook_id"})).problem(
        403
    )
    assert "webhook-id is missing" in missing["detail"]
    for wrong in (
        standard(b"{} ", now),
        standard(b"{}", now, key=b"another"),
        {**standard(b"{}", now), "webhook_id": "msg_2"},
    ):
        assert "webhook-signature is not" in (await deliver(api, b"{}", **wrong)).problem(403)["detail"]
    for old in (now - 301, now + 301):
        assert (
            "webhook-timestamp is more than 300 s"
            in (await deliver(api, b"{}", **standard(b"{}", old))).problem(403)["detail"]
        )
    assert not store.executions.documents
    first = await deliver(api, b"{}", **standard(b"{}", now - 299))
    assert first.status == 202
    # Sent again, under the same id and signed anew.
    clock.move(60)
    again = await deliver(api, b"{}", **standard(b"{}", now + 60))
    assert again.body == first.body
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(store.executions.documents) == 1


async def test_a_secret_that_is_no_key_of_standard_webhooks_is_told(api: Client) -> None:
    await api.create("w", webhook={**STANDARD, "keySecret": "HOOK"})
    answer = await deliver(api, b"{}", **standard(b"{}", int(START.timestamp())))
    assert "no key of Standard Webhooks" in answer.problem(403)["detail"]


async def test_a_delivery_that_is_sent_again_starts_nothing(api: Client, store: MemoryStore, requests: FakeTopic) -> None:
    await api.create("w", webhook=GITHUB, overlap="queue")
    first = await deliver_from_github(api, b"{}", X_GitHub_Delivery="one")
    again = await deliver_from_github(api, b"{}", X_GitHub_Delivery="one")
    assert (again.status, again.body) == (202, first.body)
    assert len(store.executions.documents) == len(requests.sent) == 1
    other = await deliver_from_github(api, b"{}", X_GitHub_Delivery="two")
    assert other.body["status"] == "workflow queued"
    assert other.body["executionId"] != first.body["executionId"]
    reused = await deliver_from_github(api, b'{"another": "body"}', X_GitHub_Delivery="one")
    reused.problem(422)
    bad = await deliver_from_github(api, b"{}", X_GitHub_Delivery="with blanks in it")
    assert bad.fields() == ["X-GitHub-Delivery"]


async def test_busy_is_told_and_may_be_sent_again(api: Client, store: MemoryStore, clock: Clock) -> None:
    await api.create("w", webhook=GITHUB)
    open_id = await api.trigger("w")
    refused = await deliver_from_github(api, b"{}", X_GitHub_Delivery="one")
    assert refused.problem(409)["executionId"] == open_id
    store.executions.apply(Ended(open_id, "w", Status.CANCELLED, "asked for", clock.now))
    assert (await deliver_from_github(api, b"{}", X_GitHub_Delivery="one")).status == 202


async def test_nobody_learns_which_workflows_there_are(api: Client) -> None:
    await api.create("plain")
    await api.create("gone", webhook=GITHUB)
    await api.send("DELETE", "/workflows/gone")
    details = []
    for name in ("plain", "gone", "absent"):
        problem = (await api.send("POST", f"/workflows/{name}/webhook", json={})).problem(404)
        assert problem["type"] == "urn:problem-type:unknown-webhook"
        details.append(problem["detail"].replace(name, "it"))
    assert len(set(details)) == 1


async def test_bodies_that_no_input_can_hold(api: Client, store: MemoryStore, app: WorkflowsApp) -> None:
    await api.create("w", webhook=GITHUB, inputSchema={"properties": {"body": {"type": "object"}}})
    for body, kind, status in (
        (b'{"a": 1, "a": 2}', "application/json", 400),
        (b"{", "application/json", 400),
        (b"\xff", "application/octet-stream", 415),
        (b"{}" + b" " * 20_000, "application/json", 413),
        (b"[]", "application/json", 400),  # not of the workflow's schema
    ):
        (await deliver_from_github(api, body, kind=kind)).problem(status)
    app.web.web_app._client_max_size = LARGEST_INPUT * 2
    large = b'"' + b"a" * LARGEST_INPUT + b'"'
    assert (await deliver_from_github(api, large)).fields() == ["input"]
    assert not store.executions.documents


async def test_a_secret_that_went_away(api: Client, app: WorkflowsApp) -> None:
    await api.create("w", webhook=GITHUB)
    app.secrets = values()
    answer = await deliver_from_github(api, b"{}")
    problem = answer.problem(503)
    assert "HOOK" not in problem["detail"]


@pytest.mark.parametrize(
    ("webhook", "field"),
    [
        ({**GITHUB, "keySecret": "NOPE"}, "webhook.keySecret"),
        ({**GITLAB, "tokenSecret": "NOPE"}, "webhook.tokenSecret"),
        ({**GITLAB, "header": "X Token"}, "webhook.header"),
        ({"type": "hmac", "keySecret": "HOOK"}, "webhook.header"),
        ({**GITHUB, "prefix": "sha256=\n"}, "webhook.prefix"),
        ({**GITHUB, "encoding": "base32"}, "webhook.encoding"),
        ({"type": "github"}, "webhook.type"),
        ({**STANDARD, "header": "X-Signature"}, "webhook.header"),
    ],
)
async def test_a_webhook_that_cannot_work_is_refused(api: Client, webhook: dict[str, Any], field: str) -> None:
    body = {
        "workflowId": "w",
        "trigger": {"type": "manual"},
        "actions": [{"type": "log", "message": "a"}],
        "webhook": webhook,
    }
    assert (await api.send("POST", "/workflows", json=body)).fields() == [field]


async def test_a_webhook_starts_a_scheduled_workflow_that_may_be_started_by_hand(api: Client) -> None:
    trigger = {"type": "periodic", "interval": "1h"}
    body = {"workflowId": "w", "trigger": trigger, "actions": [{"type": "log", "message": "a"}], "webhook": GITHUB}
    refused = (await api.send("POST", "/workflows", json=body)).problem(400)
    (error,) = refused["errors"]
    assert error["field"] == "webhook"
    assert '"allowManual": true' in error["message"]
    await api.create("w", trigger={**trigger, "allowManual": True}, webhook=GITHUB)
    assert (await api.get("/workflows/w")).body["webhook"] == {**GITHUB, "encoding": "hex"}
    assert (await deliver_from_github(api, b"{}")).status == 202
