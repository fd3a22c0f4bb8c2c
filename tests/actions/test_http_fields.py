"""What is refused when a workflow is stored, and in which words; and that nothing accepted breaks later."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from actions.registry import WorkflowDefinition
from actions.running import Failed, Succeeded
from apps.workflows.field_errors import field_errors
from tests.actions.conftest import LOOPBACK, Receiver, Sender, http_action, serve

ACTION = {"type": "http-request", "url": "https://example.org", "method": "GET"}
OAUTH2 = {"type": "oauth2", "tokenUrl": "https://login.example.org/token", "clientId": "c", "clientSecret": "s"}


def errors_of(action: dict[str, Any], **fields: Any) -> dict[str, str]:
    data = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [ACTION | action], **fields}
    with pytest.raises(ValidationError) as caught:
        WorkflowDefinition.model_validate(data)
    return {error.field: error.message for error in field_errors(caught.value, data)}


@pytest.mark.parametrize(
    ("action", "field", "said"),
    [
        ({"auth": {"type": "digest"}}, "auth.type", "'basic' or 'bearer'"),
        ({"auth": {"type": "bearer"}}, "auth.tokenSecret", "is required"),
        ({"auth": {"type": "bearer", "tokenSecret": "a", "token": "b"}}, "auth.token", "not known here"),
        ({"auth": {"type": "basic", "username": "a:b", "passwordSecret": "p"}}, "auth.username", "must hold no"),
        ({"auth": {"type": "api-key", "keySecret": "a", "name": "a b"}}, "auth.name", "not a header name"),
        ({"auth": {"type": "oauth2", "tokenUrl": "http://x", "clientId": "c"}}, "auth.clientSecret", "is required"),
        ({"auth": OAUTH2 | {"tokenUrl": "login"}}, "auth.tokenUrl", "is not a URL"),
        ({"auth": OAUTH2 | {"tokenUrl": "https://c:s@login/token"}}, "auth.tokenUrl", "write clientId and clientSecret"),
        ({"auth": OAUTH2 | {"clientAuth": "digest"}}, "auth.clientAuth", "must be 'basic' or 'body'"),
        ({"auth": OAUTH2 | {"scopes": ["a"]}}, "auth.scopes", "not known here"),
        ({"auth": OAUTH2 | {"scope": ""}}, "auth.scope", "at least 1"),
        ({"auth": OAUTH2 | {"form": {"grant_type": "password"}}}, "auth.form", "always client_credentials"),
        ({"auth": OAUTH2 | {"form": {"client_secret": "x"}}}, "auth.form", "write clientSecret"),
        ({"query": {"a": {}}}, "query.a", "must be a string, a number"),
        ({"query": {"a": float("inf")}}, "query.a", "must be a string, a number"),
        ({"form": {"a": [[]]}}, "form.a", "must be a string, a number"),
        ({"multipart": []}, "multipart", "at least 1"),
        ({"multipart": [{"name": "a"}]}, "multipart[0]", "exactly one of"),
        ({"multipart": [{"name": "a", "base64": "!"}]}, "multipart[0].base64", "is not base64"),
        (
            {"multipart": [{"name": "a", "value": "", "contentType": "a\nb"}]},
            "multipart[0].contentType",
            "must be a content type",
        ),
        ({"json": None, "body": "x"}, "", "body and json are both given"),
        ({"expect": {"statuses": ["9xx"]}}, "expect.statuses[0]", "5xx or 200-299"),
        ({"expect": {"matches": "(?=a)"}}, "expect.matches", "regular expression of RE2"),
        ({"expect": {"matches": "(a{1000}){1000}"}}, "expect.matches", "regular expression of RE2"),
        ({"expect": {"json": [{"path": "$..a", "equals": 1}]}}, "expect.json[0].path", "must lead to one value"),
        ({"expect": {"json": [{"path": "$[?@.a]", "equals": 1}]}}, "expect.json[0].path", "must lead to one value"),
        ({"expect": {"json": [{"path": "$[", "equals": 1}]}}, "expect.json[0].path", "is not a JSON path"),
        ({"expect": {"json": [{"path": "$"}]}}, "expect.json[0].equals", "is required"),
        ({"timeout": "25h"}, "timeout", "write 24h or less"),
        ({"timeouts": {"connect": "0s"}}, "timeouts.connect", "such as 10s"),
        ({"maxRedirects": 21}, "maxRedirects", "20 or less"),
        ({"maxBody": 1 << 30}, "maxBody", "or less"),
        ({"tls": {"caSecret": "a", "caFile": "b"}}, "tls", "keep one of them"),
        ({"tls": {"caFile": "../key"}}, "tls.caFile", "without a path"),
        ({"tls": {"keySecret": "a"}}, "tls", "a key without a certificate"),
        ({"proxy": {"url": "socks5://x"}}, "proxy.url", "is not a URL"),
        ({"proxy": {"url": "http://x", "passwordSecret": "p"}}, "proxy", "give username as well"),
        ({"headers": {"Content-Length": "5"}}, "headers", "set by the service"),
        ({"headers": {"A b": "5"}}, "headers", "not a header name"),
        ({"headers": {"A": "5\r\nB: 6"}}, "headers", "the value of A holds a line break"),
        ({"retry": {"attempts": 0}}, "retry.attempts", "1 or more"),
        ({"retry": {"initial": "5m", "cap": "1s"}}, "retry", "raise cap"),
        ({"retry": {"on": {"statuses": [True]}}}, "retry.on.statuses[0]", "must be a status"),
        ({"url": "ftp://example.org"}, "url", "is not a URL"),
        ({"url": "http://"}, "url", "is not a URL"),
        ({"url": "http://[::1"}, "url", "is not a URL"),
        ({"url": "http://example.org:99999"}, "url", "is not a URL"),
    ],
)
def test_one_wrong_field(action, field, said):
    found = errors_of(action)
    assert list(found) == [f"actions[0].{field}".rstrip(".")]
    assert said in found[f"actions[0].{field}".rstrip(".")]


def test_every_secret_is_named_with_the_field_that_names_it():
    action = http_action(
        url="https://example.org",
        auth={"type": "hmac", "keySecret": "a"},
        tls={"caSecret": "b", "certificateFile": "c.pem"},
        proxy={"url": "http://proxy", "username": "u", "passwordSecret": "d"},
    )
    assert action.secrets() == {"auth.keySecret": "a", "tls.caSecret": "b", "proxy.passwordSecret": "d"}
    assert http_action(url="https://example.org", auth=OAUTH2).secrets() == {"auth.clientSecret": "s"}


def test_what_is_stored_is_read_back_the_same():
    definition = WorkflowDefinition.model_validate(
        {
            "workflowId": "a",
            "trigger": {"type": "manual"},
            "actions": [
                ACTION
                | {
                    "auth": {"type": "api-key", "in": "query", "keySecret": "a"},
                    "expect": {"statuses": [200, "3xx"], "json": [{"path": "$.a", "equals": None}]},
                    "multipart": [{"name": "a", "json": [None, {"b": None}]}],
                    "timeouts": {"firstByte": "5s"},
                    "retry": {"attempts": 2, "on": {"statuses": ["5xx"]}},
                },
                ACTION | {"json": None},
            ],
        }
    )
    assert WorkflowDefinition.model_validate(definition.to_wire()) == definition
    assert WorkflowDefinition.from_document(definition.to_document()) == definition
    assert [action.get("json", "absent") for action in definition.to_wire()["actions"]] == ["absent", None]
    assert [action.get("json_body", "absent") for action in definition.to_document()["actions"]] == ["absent", None]


NAMES = st.text(max_size=8) | st.sampled_from(["A", "X-B", "a b", "é", "a\n"])
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
FIELDS = st.fixed_dictionaries(
    {"method": st.sampled_from(["GET", "POST", "HEAD", "PUT", "OPTIONS"])},
    optional={
        "headers": st.dictionaries(NAMES, st.text(max_size=20), max_size=3),
        "query": st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=3), max_size=3) | JSON,
        "json": JSON,
        "body": st.text(max_size=50),
        "form": st.dictionaries(NAMES, SCALARS, max_size=3),
        "multipart": st.lists(
            st.fixed_dictionaries(
                {"name": NAMES}, optional={"value": st.text(), "filename": NAMES, "contentType": NAMES, "json": JSON}
            ),
            max_size=3,
        ),
        "expect": st.fixed_dictionaries(
            {},
            optional={
                "matches": st.text(max_size=20) | st.from_regex(r"[(\[a-z*+?{}0-9|)\]\\]{1,12}"),
                "contains": st.text(max_size=5),
                "json": st.lists(
                    st.fixed_dictionaries({"path": st.text("$.[]'a0*?@-:,", max_size=10), "equals": JSON}), max_size=2
                ),
                "statuses": st.lists(st.integers(0, 700) | st.text(alphabet="0123456789x-", max_size=8), max_size=3),
            },
        ),
        "maxBody": st.integers(-1, 100),
        "storeBody": st.integers(-1, 100),
        "storeHeaders": st.lists(NAMES, max_size=2),
        "auth": st.fixed_dictionaries(
            {"type": st.sampled_from(["basic", "bearer", "api-key", "hmac"])},
            optional={"username": st.text(max_size=5), "passwordSecret": st.just("s"), "tokenSecret": st.just("s"),
                      "keySecret": st.just("s"), "in": st.sampled_from(["header", "query"]), "name": NAMES},
        ),
    },
)  # fmt: skip


def test_whatever_is_accepted_is_sent_or_fails_with_a_class():
    """One receiver for all examples: hypothesis calls a plain function, in the loop of which they are sent."""
    loop = asyncio.new_event_loop()
    receiver, sender = Receiver(), Sender()
    runner = loop.run_until_complete(serve(receiver))
    accepted = 0

    @settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(FIELDS, st.text(alphabet="/?&=#%[]{}:@é \\.a1", max_size=20), st.text(max_size=10))
    def attempt(fields, rest, secret):
        nonlocal accepted
        sender.secrets["s"] = secret
        try:
            outcome = loop.run_until_complete(sender.send(connections, url=f"{receiver.url}/{rest}", **fields))
        except ValidationError:
            return
        accepted += 1
        assert isinstance(outcome, Succeeded | Failed)
        if isinstance(outcome, Failed):
            assert outcome.error_class in (
                "status", "assertion", "body-decode", "request", "url", "bad-response", "disconnected"
            ), outcome  # fmt: skip

    async def make():
        return sender.connections(allow_hosts=LOOPBACK)

    connections = loop.run_until_complete(make())
    try:
        attempt()
        assert accepted
    finally:
        loop.run_until_complete(connections.close())
        loop.run_until_complete(runner.cleanup())
        loop.close()
