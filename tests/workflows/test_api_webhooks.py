"""``POST /workflows/{id}/webhook`` over HTTP: a sender without a token, who proves by a secret who it is."""

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pytest
from structlog.typing import EventDict

from apps.workflows.app import WorkflowsApp
from domain.execution import Cause, Ended, Status
from domain.inputs import LARGEST_INPUT
from tests.workflows.client import Answer, Client
from tests.workflows.clock import START, Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore
from tests.workflows.mounted import mounted

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
STRIPE = {"type": "stripe", "keySecret": "HOOK"}
SLACK = {"type": "slack", "keySecret": "HOOK"}
ZOOM = {"type": "zoom", "keySecret": "HOOK"}
CALENDLY = {
    "type": "hmac", "keySecret": "HOOK", "header": "Calendly-Webhook-Signature", "prefix": "v1=",
    "timestampHeader": "Calendly-Webhook-Signature", "timestampPrefix": "t=",
}  # fmt: skip
NOW = int(START.timestamp())


@pytest.fixture(autouse=True)
def secrets(app: WorkflowsApp) -> None:
    app.secrets = mounted(HOOK=SECRET, STANDARD=STANDARD_SECRET)


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
        ({"X_Hub_Signature_256": github(b"{}")[7:]}, "holds nothing that begins with 'sha256='"),
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
    for old in (now - 301, now + 301, int("9" * 400)):
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


def signature(text: str, body: bytes, secret: str = SECRET) -> str:
    """Return the HMAC of ``text`` and ``body`` in hexadecimal."""
    return hmac.new(secret.encode(), text.encode() + body, hashlib.sha256).hexdigest()


def stripe(body: bytes, at: int = NOW, **more: str) -> dict[str, str]:
    return {"Stripe_Signature": f"t={at},v1={signature(f'{at}.', body, **more)}"}


def slack(body: bytes, at: int = NOW, **more: str) -> dict[str, str]:
    signed = signature(f"v0:{at}:", body, **more)
    return {"X_Slack_Request_Timestamp": str(at), "X_Slack_Signature": f"v0={signed}"}


def zoom(body: bytes, at: int = NOW, **more: str) -> dict[str, str]:
    signed = signature(f"v0:{at}:", body, **more)
    return {"x_zm_request_timestamp": str(at), "x_zm_signature": f"v0={signed}"}


def calendly(body: bytes, at: int = NOW, **more: str) -> dict[str, str]:
    return {"Calendly_Webhook_Signature": stripe(body, at, **more)["Stripe_Signature"]}


@pytest.mark.parametrize(
    ("webhook", "signed", "header", "timestamp"),
    [
        (STRIPE, stripe, "Stripe-Signature", "Stripe-Signature"),
        (SLACK, slack, "X-Slack-Signature", "X-Slack-Request-Timestamp"),
        (ZOOM, zoom, "X-Zm-Signature", "X-Zm-Request-Timestamp"),
        (CALENDLY, calendly, "Calendly-Webhook-Signature", "Calendly-Webhook-Signature"),
    ],
)
async def test_what_is_signed_with_its_time_is_taken_for_five_minutes(
    api: Client, store: MemoryStore, webhook: dict[str, Any], signed: Any, header: str, timestamp: str
) -> None:
    await api.create("w", webhook=webhook, overlap="allow")
    body = b'{"number": 1}'
    good = signed(body)
    for wrong, words in (
        ({}, f"{header} is missing"),
        ({**good, header.replace("-", "_"): "t=1,x=2"}, f"{header} holds nothing that begins with"),
        (signed(body, secret="another"), f"{header} is not the HMAC-SHA256 of"),
        (signed(b"{}"), f"{header} is not the HMAC-SHA256 of"),
        (signed(body, NOW - 301), f"{timestamp} is more than 300 s from the present"),
        (signed(body, NOW + 301), f"{timestamp} is more than 300 s from the present"),
        (signed(body, NOW * 1000), f"{timestamp} is more than 300 s from the present"),
        (signed(body, int("9" * 400)), f"{timestamp} is more than 300 s from the present"),
        ({name: value.replace(str(NOW), str(NOW + 1)) for name, value in good.items()}, "is not the HMAC-SHA256 of"),
    ):
        sent = {name.lower(): value for name, value in wrong.items()}
        problem = (await deliver(api, body, **sent)).problem(403)
        assert words in problem["detail"]
        assert SECRET not in str(problem)
    assert not store.executions.documents
    assert not store.idempotency.keys
    for at in (NOW - 300, NOW + 300):
        assert (await deliver(api, body, **signed(body, at))).status in (200, 202)
    assert len(store.executions.documents) == 2
    # What was overheard starts nothing, however it is written.
    replayed = {name: value.replace("v1=", "v1=nothing,v1=") for name, value in signed(body, NOW + 300).items()}
    assert (await deliver(api, body, **replayed)).headers["Idempotency-Replayed"] == "true"
    assert len(store.executions.documents) == 2
    for execution in store.executions.documents.values():
        assert execution.input is not None and header.lower() not in execution.input["headers"]


async def test_a_sender_that_changes_its_key_signs_with_both(api: Client) -> None:
    await api.create("w", webhook=STRIPE)
    old = stripe(b"{}", secret="the key that goes")["Stripe_Signature"]
    new = stripe(b"{}")["Stripe_Signature"].removeprefix(f"t={NOW},")
    assert (await deliver(api, b"{}", Stripe_Signature=f"{old},{new},v0=6ffbb59b")).status == 202


async def test_several_signatures_of_the_body_alone(api: Client) -> None:
    await api.create("w", webhook={**GITHUB, "header": "X-PagerDuty-Signature", "prefix": "v1="})
    found = f"v1={signature('', b'{}', 'the key that goes')},v1={signature('', b'{}')}"
    assert (await deliver(api, b"{}", X_PagerDuty_Signature=found)).status == 202


async def test_a_prefix_may_hold_a_blank(api: Client) -> None:
    await api.create("w", webhook={**GITHUB, "header": "Authorization", "prefix": "HMAC ", "encoding": "base64"})
    signed = base64.b64encode(hmac.new(SECRET.encode(), b"{}", hashlib.sha256).digest()).decode()
    assert (await deliver(api, b"{}", Authorization=f"HMAC {signed}")).status == 202


@pytest.mark.parametrize(
    ("more", "signed", "headers"),
    [
        # Paddle, pyannote, and one that has the body first.
        (
            {"prefix": "h1=", "timestampHeader": "X-Sign", "timestampPrefix": "ts=", "signed": "{timestamp}:{body}"},
            f"{NOW}:{{}}",
            {"X_Sign": f"ts={NOW};h1=%s"},
        ),
        (
            {"timestampHeader": "X-Request-Timestamp", "signed": "v0:{timestamp}:{body}"},
            f"v0:{NOW}:{{}}",
            {"X_Sign": "%s", "X_Request_Timestamp": str(NOW)},
        ),
        (
            {"timestampHeader": "X-Time", "signed": "{body}|{timestamp}"},
            f"{{}}|{NOW}",
            {"X_Sign": "%s", "X_Time": str(NOW)},
        ),
    ],
)
async def test_ways_of_signing_a_timestamp(api: Client, more: dict[str, Any], signed: str, headers: dict[str, str]) -> None:
    await api.create("w", webhook={"type": "hmac", "keySecret": "HOOK", "header": "X-Sign", **more})
    sent = {name: value.replace("%s", signature(signed, b"")) for name, value in headers.items()}
    assert (await deliver(api, b"{}", **sent)).status == 202
    assert (await deliver(api, b"{} ", **sent)).status == 403


async def test_the_example_of_slacks_documentation(api: Client, app: WorkflowsApp, store: MemoryStore, clock: Clock) -> None:
    app.secrets = mounted(HOOK="8f742231b10e8888abcd99yyyzzz85a5")
    clock.now = datetime.fromtimestamp(1531420618, timezone.utc)
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar"
        b"&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com"
        b"%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    await api.create("w", webhook=SLACK)
    answer = await deliver(
        api,
        body,
        kind="application/x-www-form-urlencoded",
        X_Slack_Request_Timestamp="1531420618",
        X_Slack_Signature="v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    )
    assert (answer.status, answer.body) == (200, None)
    (execution,) = store.executions.documents.values()
    assert execution.input is not None and execution.input["body"]["command"] == "/webhook-collect"
    assert answer.headers["Location"] == f"/v1/executions/{execution.execution_id}"


@pytest.mark.parametrize(
    ("webhook", "signed", "body", "other"),
    [
        # Stripe counts in the event how many endpoints have not taken it yet, so the body changes.
        (STRIPE, stripe, b'{"id": "evt_1", "pending_webhooks": 2}', b'{"id": "evt_1", "pending_webhooks": 1}'),
        (SLACK, slack, b'{"event_id": "Ev1"}', b'{"event_id": "Ev1"}'),
        ({**CALENDLY, "deliveryField": "event.id"}, calendly, b'{"event": {"id": 1}}', b'{"event": {"id": 1}, "try": 2}'),
    ],
)
async def test_a_delivery_that_is_named_in_its_body_starts_nothing_when_it_is_sent_again(
    api: Client, store: MemoryStore, clock: Clock, webhook: dict[str, Any], signed: Any, body: bytes, other: bytes
) -> None:
    await api.create("w", webhook=webhook, overlap="allow")
    first = await deliver(api, body, **signed(body))
    clock.move(3600)
    again = await deliver(api, other, **signed(other, NOW + 3600))
    assert (again.status, again.body, again.headers["Location"]) == (first.status, first.body, first.headers["Location"])
    assert again.headers["Idempotency-Replayed"] == "true"
    assert len(store.executions.documents) == 1
    next_one = body.replace(b"1", b"3", 1)
    assert (await deliver(api, next_one, **signed(next_one, NOW + 3600))).status == first.status
    assert len(store.executions.documents) == 2


async def test_a_delivery_with_a_token_may_be_named_in_its_body(api: Client, store: MemoryStore) -> None:
    await api.create("w", webhook={**GITLAB, "deliveryField": "update_id"}, overlap="allow")
    for body in (b'{"update_id": 7}', b'{"update_id": 7}', b'{"update_id": 8}', b"{}", b"{}", b'{"update_id": null}', b"[]"):
        assert (await deliver(api, body, X_Gitlab_Token=SECRET)).status == 202
    assert len(store.executions.documents) == 6


async def test_slack_is_told_that_somebody_is_there(api: Client, store: MemoryStore, requests: FakeTopic) -> None:
    await api.create("w", webhook=SLACK, inputSchema={"required": ["event"]})
    body = json.dumps({"token": "a", "challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd", "type": "url_verification"}).encode()
    (await deliver(api, body, **slack(body, secret="another"))).problem(403)
    for _ in range(2):
        answer = await deliver(api, body, **slack(body))
        assert (answer.status, answer.body) == (200, {"challenge": "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmd"})
    assert not store.executions.documents and not requests.sent and not store.idempotency.keys


async def test_zoom_is_told_that_somebody_is_there_who_knows_the_secret(api: Client, store: MemoryStore) -> None:
    await api.create("w", webhook=ZOOM)
    body = b'{"event": "endpoint.url_validation", "payload": {"plainToken": "qgg8vlvZRS6UYooatFL8Aw"}, "event_ts": 1}'
    (await deliver(api, body, **zoom(body, secret="another"))).problem(403)
    answer = await deliver(api, body, **zoom(body))
    expected = signature("qgg8vlvZRS6UYooatFL8Aw", b"")
    assert (answer.status, answer.body) == (200, {"plainToken": "qgg8vlvZRS6UYooatFL8Aw", "encryptedToken": expected})
    assert not store.executions.documents
    event = b'{"event": "meeting.started", "payload": {}, "event_ts": 2}'
    answer = await deliver(api, event, **zoom(event))
    assert (answer.status, answer.body) == (200, None)
    assert len(store.executions.documents) == 1


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


async def test_what_is_refused_is_logged_with_its_reason(api: Client, logs: list[EventDict]) -> None:
    await api.create("w", webhook=GITHUB, inputSchema={"properties": {"body": {"type": "object"}}})
    await api.trigger("w")
    for body, headers, words in (
        (b"{}", {"X_Hub_Signature_256": "sha256=00"}, "X-Hub-Signature-256 is not the HMAC-SHA256"),
        (b"{", {}, "The body is not JSON"),
        (b"[]", {}, "input.body: [] is not of type"),
        (b"{}", {}, "An execution of workflow w is open"),
    ):
        await deliver(api, body, **{"X_Hub_Signature_256": github(body), **headers})
        refused = [each for each in logs if each["event"] == "webhook refused"]
        assert words in refused[-1]["error"] and refused[-1]["workflow_id"] == "w"
    assert len(refused) == 4
    await api.send("POST", "/workflows/gone/webhook", json={})
    assert logs[-1]["event"] == "webhook refused" and "gone is not there" in logs[-1]["error"]


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
    app.secrets = mounted()
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
        ({**STRIPE, "header": "X-Signature"}, "webhook.header"),
        ({**SLACK, "keySecret": "NOPE"}, "webhook.keySecret"),
        ({"type": "zoom"}, "webhook.keySecret"),
        ({**GITHUB, "deliveryField": "event..id"}, "webhook.deliveryField"),
        ({**GITHUB, "timestampPrefix": "t="}, "webhook.timestampPrefix"),
        ({**GITHUB, "signed": "{timestamp}.{body}"}, "webhook.signed"),
        ({**GITHUB, "signed": "v0"}, "webhook.signed"),
        ({**GITHUB, "signed": "{body}{body}"}, "webhook.signed"),
        ({**GITHUB, "signed": "{body}}"}, "webhook.signed"),
        ({**CALENDLY, "signed": "{body}"}, "webhook.signed"),
        ({**CALENDLY, "signed": "{time}.{body}"}, "webhook.signed"),
        ({**CALENDLY, "signed": "{timestamp}.{body}.{id}"}, "webhook.signed"),
        ({**CALENDLY, "timestampHeader": "X Time", "signed": "{timestamp}.{body}"}, "webhook.timestampHeader"),
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
    # Also while it is paused, which holds its ticks.
    assert (await api.send("POST", "/workflows/w/pause")).status == 200
    assert (await deliver_from_github(api, b"{}")).status == 202
