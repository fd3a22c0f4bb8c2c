"""The action against a receiver on loopback."""

import asyncio
import base64
import gc
import gzip
import hashlib
import hmac
import json
import socket
import tracemalloc
import weakref
import zlib
from email import message_from_bytes
from email.policy import HTTP

import pytest
from aiohttp import web
from multidict import CIMultiDict

from actions.registry import WorkflowDefinition, run_action
from actions.running import Failed, Succeeded
from tests.actions.conftest import EXECUTION_ID, LOOPBACK, http_action
from vault.redaction import Redactor


def text(body, **more):
    return lambda request: web.Response(text=body, **more)


# -- what is sent --------------------------------------------------------------------------------------------------------


async def test_a_request_says_who_sends_it_and_which_attempt_it_is(sender, receiver):
    outcome = await sender.send(url=f"{receiver.url}/x", attempt=2)
    assert isinstance(outcome, Succeeded)
    (seen,) = receiver.seen
    assert seen.headers["Idempotency-Key"] == f"{EXECUTION_ID}:call"
    assert (seen.headers["Workflow-Attempt"], seen.headers["Workflow-Epoch"]) == ("2", "3")
    assert seen.headers["User-Agent"].startswith("workflow-automation")
    version, trace, span, flags = seen.headers["traceparent"].split("-")
    assert (version, trace, len(span), flags) == ("00", EXECUTION_ID.replace("-", ""), 16, "01")
    assert outcome.logs == (f"{receiver.url}/x [STATUS 200] => hello /x",)


async def test_a_key_of_the_author_goes_before_the_services(sender, receiver):
    await sender.send(url=f"{receiver.url}/x", headers={"idempotency-key": "order-17"})
    (seen,) = receiver.seen
    assert seen.headers.getall("Idempotency-Key") == ["order-17"]


@pytest.mark.parametrize(
    ("word", "fields", "content_type", "body"),
    [
        ("json", {"json": {"a": [1, "é"]}}, "application/json", b'{"a": [1, "\\u00e9"]}'),
        ("json false", {"json": False}, "application/json", b"false"),
        ("json null", {"json": None}, "application/json", b"null"),
        ("text", {"body": "é"}, "text/plain; charset=utf-8", "é".encode()),
        ("own type", {"body": "<a/>", "headers": {"content-type": "text/xml"}}, "text/xml", b"<a/>"),
        ("form", {"form": {"a": "1 2", "b": [True, "x&y"]}}, "application/x-www-form-urlencoded", b"a=1+2&b=true&b=x%26y"),
        ("nothing", {}, None, b""),
    ],
)
async def test_bodies(sender, receiver, word, fields, content_type, body):
    await sender.send(url=f"{receiver.url}/x", method="POST", **fields)
    (seen,) = receiver.seen
    assert seen.body == body
    if content_type:
        assert seen.headers.getall("Content-Type") == [content_type]


@pytest.mark.parametrize(
    ("word", "fields", "kept"),
    [
        ("json", {"json": {"a": "é"}}, {"body": '{"a": "\\u00e9"}'}),
        ("form", {"form": {"a": "1 2"}}, {"body": "a=1+2"}),
        ("long", {"body": "é" * 10_000}, {"body": "é" * 4096, "bodyTruncated": True}),
        ("as long as wanted", {"body": "éé", "storeRequestBody": 3}, {"body": "é", "bodyTruncated": True}),
        ("unwanted", {"body": "é", "storeRequestBody": 0}, {}),
        ("not text", {"multipart": [{"name": "f", "base64": "/w=="}]}, {}),
        ("nothing", {}, {}),
    ],
)
async def test_what_was_sent_is_kept(sender, receiver, word, fields, kept):
    for status in (200, 500):
        url = receiver.on(f"/{status}", text("", status=status))
        told = (await sender.send(url=url, method="POST", **fields)).output["request"]
        assert {name: value for name, value in told.items() if name in ("body", "bodyTruncated")} == kept
        assert told["bodyLength"] == len(receiver.seen[-1].body)


async def test_a_multipart_body_is_read_as_sent_and_the_same_every_time(sender, receiver):
    multipart = [
        {"name": "a", "value": "é\r\n--x"},
        {"name": "doc", "json": {"n": 1}},
        {"name": "f", "base64": base64.b64encode(b"\0\1").decode(), "filename": 'a"b.bin', "contentType": "image/png"},
    ]
    for attempt in (1, 2):
        await sender.send(url=f"{receiver.url}/form", method="POST", multipart=multipart, attempt=attempt)
    first, second = receiver.seen
    assert first.body == second.body
    head = f"Content-Type: {first.headers['Content-Type']}\r\n\r\n".encode()
    parts = message_from_bytes(head + first.body, policy=HTTP).get_payload()
    assert [part.get_param("name", header="content-disposition") for part in parts] == ["a", "doc", "f"]
    assert [part.get_content_type() for part in parts] == ["text/plain", "application/json", "image/png"]
    assert [part.get_payload(decode=True) for part in parts] == ["é\r\n--x".encode(), b'{"n": 1}', b"\0\1"]
    assert parts[2].get_filename() == "a%22b.bin"


async def test_query_parameters_are_added(sender, receiver):
    await sender.send(url=f"{receiver.url}/x?a=1", query={"b": [2, "c d"], "e": True})
    assert receiver.seen[0].path_qs == "/x?a=1&b=2&b=c+d&e=true"


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"cursor": "n 2"}, "size=1&cursor=n+2&tag=a&tag=n+2"),
        ({"cursor": ""}, "size=1&cursor=&tag=a&tag="),
        ({"cursor": None}, "size=1&tag=a"),
        ({}, "size=1&tag=a"),
    ],
    ids=["a text", "empty", "null", "not given"],
)
async def test_a_parameter_that_is_null_is_left_out(sender, receiver, given, sent):
    cursor = "{{ input.cursor | default(none) }}"
    values = {"size": 1, "cursor": cursor, "tag": ["a", cursor], "sort": None}
    definition = WorkflowDefinition.model_validate(
        {
            "workflowId": "w",
            "trigger": {"type": "manual"},
            "actions": [
                {"type": "http-request", "method": "POST", "url": f"{receiver.url}/x", "query": values, "form": values}
            ],
        }
    )
    stored = WorkflowDefinition.from_document(definition.to_document())
    await sender.run(stored.prepared[0].render({"input": given}))
    (seen,) = receiver.seen
    assert (seen.path_qs, seen.body.decode()) == (f"/x?{sent}", sent)


async def test_a_body_that_is_no_unicode_is_not_sent(sender, receiver):
    """A template can make half of a surrogate pair; what is written cannot hold one."""
    action = http_action(url=f"{receiver.url}/x", method="POST", body="x").model_copy(update={"body": "\ud800"})
    outcome = await sender.run(action)
    assert (outcome.error_class, outcome.maybe_done) == ("request", False)
    assert "surrogates" in outcome.message
    assert not receiver.seen


async def test_cookies_do_not_travel_from_one_request_to_the_next(sender, receiver):
    url = receiver.on("/c", lambda request: web.Response(headers={"Set-Cookie": "session=1; Path=/"}))
    outcome = await sender.send(url=url)
    await sender.send(url=url)
    assert all("Cookie" not in seen.headers for seen in receiver.seen)
    assert "session=1" not in json.dumps(outcome.output)


async def test_connections_are_used_again(sender, receiver):
    first = await sender.send(url=f"{receiver.url}/x")
    second = await sender.send(url=f"{receiver.url}/x")
    assert len(receiver.connections) == 1
    assert first.output["timings"]["connect"] >= 0
    assert second.output["timings"]["connect"] is None
    assert 0 <= second.output["timings"]["firstByte"] <= second.output["timings"]["total"]


# -- auth ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "auth", "header", "value"),
    [
        ("basic", {"type": "basic", "username": "é", "passwordSecret": "s"}, "Authorization",
         "Basic " + base64.b64encode("é:top-secret".encode()).decode()),
        ("bearer", {"type": "bearer", "tokenSecret": "s"}, "Authorization", "Bearer top-secret"),
        ("key", {"type": "api-key", "keySecret": "s"}, "X-Api-Key", "top-secret"),
        ("named key", {"type": "api-key", "in": "header", "name": "Custom", "keySecret": "s"}, "Custom", "top-secret"),
    ],
)  # fmt: skip
async def test_credentials_are_sent_and_not_kept(sender, receiver, word, auth, header, value):
    sender.secrets["s"] = "top-secret"
    outcome = await sender.send(url=f"{receiver.url}/x", auth=auth)
    assert receiver.seen[0].headers[header] == value
    assert "top-secret" not in json.dumps([outcome.output, outcome.logs])


async def test_a_key_in_the_query_is_hidden_where_the_request_is_shown(sender, receiver):
    sender.secrets["s"] = "top secret&"
    url = receiver.on("/x", text("no", status=500))
    outcome = await sender.send(url=url + "?a=1", auth={"type": "api-key", "in": "query", "name": "k", "keySecret": "s"})
    assert receiver.seen[0].path_qs == "/x?a=1&k=top+secret%26"
    assert outcome.output["request"]["url"] == f"{url}?a=1&k=***"
    assert "top" not in json.dumps([outcome.output, outcome.logs, outcome.error])


async def test_a_signature_covers_method_path_time_and_body(sender, receiver):
    sender.secrets["s"] = "key"
    await sender.send(
        url=f"{receiver.url}/a%20b?x=1", method="PUT", json={"a": 1}, auth={"type": "hmac", "keySecret": "s", "keyId": "k1"}
    )
    (seen,) = receiver.seen
    stamp = seen.headers["Workflow-Timestamp"]
    signed = f"PUT\n{seen.path_qs}\n{stamp}\n{hashlib.sha256(seen.body).hexdigest()}".encode()
    assert seen.headers["Workflow-Signature"] == "v1=" + hmac.new(b"key", signed, hashlib.sha256).hexdigest()
    assert seen.headers["Workflow-Key-Id"] == "k1"


async def test_an_unknown_secret_fails_before_anything_is_sent(sender, receiver):
    outcome = await sender.send(url=f"{receiver.url}/x", auth={"type": "bearer", "tokenSecret": "nope"})
    assert (outcome.error_class, "nope" in outcome.message) == ("secret", True)
    sender.secrets["nope"] = "a\r\nX: 1"
    outcome = await sender.send(url=f"{receiver.url}/x", auth={"type": "bearer", "tokenSecret": "nope"})
    assert outcome.error_class == "request"
    assert "X: 1" not in outcome.message
    assert not receiver.seen


async def test_user_and_password_in_a_url_are_sent_and_not_shown(sender, receiver):
    outcome = await sender.send(url=receiver.url.replace("//", "//me:hidden@") + "/x?token=t0k&a=1")
    assert receiver.seen[0].headers["Authorization"] == "Basic " + base64.b64encode(b"me:hidden").decode()
    shown = json.dumps([outcome.output, outcome.logs])
    assert "hidden" not in shown
    assert "t0k" not in shown
    assert receiver.seen[0].path_qs == "/x?token=t0k&a=1"


# -- redirects -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "method", "arrives_as"),
    [
        (301, "POST", "GET"), (302, "POST", "GET"), (303, "POST", "GET"), (303, "PUT", "GET"), (307, "POST", "POST"),
        (308, "POST", "POST"), (302, "PUT", "PUT"), (301, "GET", "GET"), (303, "HEAD", "HEAD"),
    ],
)  # fmt: skip
async def test_redirects_are_followed_as_browsers_do(sender, receiver, redirect, status, method, arrives_as):
    url = receiver.on("/from", redirect("to?b=1#part", status))
    outcome = await sender.send(url=url, method=method, **({"json": 1} if method in ("POST", "PUT") else {}))
    assert isinstance(outcome, Succeeded)
    assert (receiver.seen[1].method, receiver.seen[1].path_qs) == (arrives_as, "/to?b=1")
    if arrives_as in ("POST", "PUT"):
        assert receiver.seen[1].body == b"1"
        assert receiver.seen[1].headers["Content-Type"] == "application/json"
    else:
        assert receiver.seen[1].body == b""
        assert "Content-Type" not in receiver.seen[1].headers
    assert outcome.output["redirects"] == [f"{receiver.url}/to?b=1"]


async def test_credentials_stay_with_their_origin(sender, receiver, other, redirect):
    sender.secrets["s"] = "top-secret"
    other.on("/b", redirect(f"{receiver.url}/c"))
    url = receiver.on("/a", redirect(f"{other.url}/b"))
    headers = {"Cookie": "c=1", "X-Auth-Token": "t", "Accept-Language": "de", "Host": "virtual"}
    await sender.send(url=url, headers=headers, auth={"type": "bearer", "tokenSecret": "s"})
    assert receiver.seen[0].headers["Authorization"] == "Bearer top-secret"
    for seen in (other.seen[0], receiver.seen[1]):
        assert not {"Authorization", "Cookie", "X-Auth-Token"} & set(seen.headers)
        assert seen.headers["Accept-Language"] == "de"
        assert seen.headers["Host"].startswith("127.0.0.1")


async def test_whatever_holds_a_secret_stays_with_its_origin(sender, receiver, other, redirect):
    """Whatever the header is called: its value says that it is a credential."""
    sender.secrets["s"] = "top-secret"
    sender.redactor = Redactor()
    sender.redactor.know(["top-secret"])
    url = receiver.on("/a", redirect(f"{other.url}/b", 307))
    headers = {"X-Team": "data", "X-Custom": "as top-secret as can be", "x-custom-2": "dG9wLXNlY3JldA=="}
    auth = {"type": "api-key", "name": "X-Mine", "keySecret": "s"}
    await sender.send(url=url, method="POST", body="x", headers=headers, auth=auth)
    assert receiver.seen[0].headers["X-Custom"] == headers["X-Custom"]
    assert other.seen[0].headers["X-Team"] == "data"
    assert not {"X-Custom", "X-Custom-2", "X-Mine"} & set(other.seen[0].headers)
    assert other.seen[0].body == b"x"


async def test_a_key_in_the_query_does_not_travel(sender, receiver, other, redirect):
    sender.secrets["s"] = "top-secret"
    auth = {"type": "api-key", "in": "query", "name": "k", "keySecret": "s"}
    await sender.send(url=receiver.on("/a", redirect(f"{other.url}/b")), auth=auth)
    assert (receiver.seen[0].path_qs, other.seen[0].path_qs) == ("/a?k=top-secret", "/b")


async def test_credentials_and_signature_follow_within_the_origin(sender, receiver, redirect):
    sender.secrets["s"] = "key"
    url = receiver.on("/a", redirect("/b", 307))
    await sender.send(url=url, method="POST", body="x", auth={"type": "hmac", "keySecret": "s"})
    signatures = {seen.headers["Workflow-Signature"] for seen in receiver.seen}
    assert len(signatures) == 2


async def test_redirects_end(sender, receiver, redirect):
    url = receiver.on("/loop", redirect("/loop"))
    outcome = await sender.send(url=url, maxRedirects=3)
    assert outcome.error_class == "too-many-redirects"
    assert len(receiver.seen) == 4
    outcome = await sender.send(url=url, maxRedirects=0)
    assert (outcome.output["status"], outcome.output["headers"]["location"]) == (302, "/loop")


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "http://[::1", "javascript:alert(1)", "http://x:99999/"])
async def test_a_redirect_to_nowhere_is_named(sender, receiver, redirect, location):
    outcome = await sender.send(url=receiver.on("/x", redirect(location)))
    assert outcome.error_class == "bad-redirect"


# -- answers -------------------------------------------------------------------------------------------------------------


async def test_a_status_of_400_or_more_fails_and_tells_when_to_come_back(sender, receiver):
    url = receiver.on("/x", text("busy", status=429, headers={"Retry-After": "7"}))
    outcome = await sender.send(url=url, method="POST")
    assert isinstance(outcome, Failed)
    assert (outcome.error_class, outcome.status, outcome.retry_after, outcome.maybe_done) == ("status", 429, 7.0, True)
    assert outcome.output["text"] == "busy"
    assert outcome.logs == (f"{url} [STATUS 429] => busy",)
    date = "Fri, 31 Dec 2100 23:59:59 GMT"
    receiver.on("/x", text("", status=503, headers={"Retry-After": date}))
    assert (await sender.send(url=url)).retry_after > 1e9
    receiver.on("/x", text("", status=503, headers={"Retry-After": "soon"}))
    assert (await sender.send(url=url)).retry_after is None


@pytest.mark.parametrize(
    ("word", "expect", "error_class", "said"),
    [
        ("status", {"statuses": [200]}, None, ""),
        ("other status", {"statuses": ["300-399"]}, "status", "200"),
        ("contains", {"contains": '"state"'}, None, ""),
        ("contains not", {"contains": "gone"}, "assertion", "does not contain 'gone'"),
        ("matches", {"matches": '"n":\\s*1'}, None, ""),
        ("matches not", {"matches": "^x"}, "assertion", "nothing in the body matches"),
        ("json", {"json": [{"path": "$.items[0].n", "equals": 1.0}, {"path": "$.none", "equals": None}]}, None, ""),
        ("json not", {"json": [{"path": "$.state", "equals": "closed"}]}, "assertion", '"open", not "closed"'),
        ("json absent", {"json": [{"path": "$.a.b", "equals": None}]}, "assertion", "nothing at $.a.b"),
        ("json bool", {"json": [{"path": "$.items[0].n", "equals": True}]}, "assertion", "1, not true"),
        ("json all", {"json": [{"path": "$.items", "equals": [{"n": 1}]}]}, None, ""),
    ],
)
async def test_what_counts_as_success(sender, receiver, word, expect, error_class, said):
    body = {"state": "open", "items": [{"n": 1}], "none": None}
    url = receiver.on("/x", lambda request: web.json_response(body))
    outcome = await sender.send(url=url, expect=expect)
    if error_class is None:
        assert isinstance(outcome, Succeeded), outcome
        assert outcome.output["json"] == body
    else:
        assert (outcome.error_class, said in outcome.message) == (error_class, True), outcome.message


async def test_an_expected_404_is_success(sender, receiver):
    url = receiver.on("/x", text("gone", status=404))
    assert isinstance(await sender.send(url=url, expect={"statuses": ["2xx", 404]}), Succeeded)


async def test_json_that_is_none_fails_the_assertion(sender, receiver):
    outcome = await sender.send(url=f"{receiver.url}/x", expect={"json": [{"path": "$.a", "equals": 1}]})
    assert outcome.error_class == "body-decode"


@pytest.mark.parametrize(
    ("word", "body", "content_type", "kept"),
    [
        ("declared", "grüß".encode("latin-1"), "text/plain; charset=latin-1", "grüß"),
        ("utf-8", "grüß".encode(), "text/html", "grüß"),
        ("mark", "\ufeffa".encode(), "text/plain; charset=utf-8", "a"),
        ("unknown charset", "grüß".encode(), "text/plain; charset=klingon", "grüß"),
        ("no text codec", b"abc", "text/plain; charset=zip", "abc"),
        ("wrong bytes", b"a\xff", "text/plain", "a\ufffd"),
        ("undeclared text", b"abc", "application/octet-stream", "abc"),
        ("binary", b"\x89PNG\0", "image/png", None),
        ("undeclared binary", b"\xff\xfe\xfd", "application/octet-stream", None),
        ("declared binary", b"\x89PNG\0", "image/png; charset=binary", None),
        ("two bytes each", "grüß".encode("utf-16"), "text/csv; charset=utf-16", "grüß"),
        ("shift state", "日本".encode("iso-2022-jp"), "text/html; charset=iso-2022-jp", "日本"),
    ],
)
async def test_text_is_decoded_and_binary_is_shown_as_such(sender, receiver, word, body, content_type, kept):
    url = receiver.on("/x", lambda request: web.Response(body=body, headers={"Content-Type": content_type}))
    outcome = await sender.send(url=url)
    assert outcome.output.get("text") == kept
    assert outcome.output["body"]["sha256"] == hashlib.sha256(body).hexdigest()
    if kept is None:
        assert base64.b64decode(outcome.output["base64"]) == body
        assert outcome.logs[0].endswith(f"=> <{len(body)} bytes of {content_type.partition(chr(59))[0]}>")


async def test_a_long_body_is_kept_in_part(sender, receiver):
    body = "é" * 100_000
    outcome = await sender.send(url=receiver.on("/x", text(body)), storeBody=1001)
    assert outcome.output["text"] == "é" * 500
    assert outcome.output["body"] == {
        "length": 200_000,
        "storedLength": 1001,
        "sha256": hashlib.sha256(body.encode()).hexdigest(),
        "truncated": True,
        "complete": True,
        "contentType": "text/plain",
    }


async def test_an_endless_body_is_not_waited_for(sender, receiver):
    async def endless(request):
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65536)

    outcome = await sender.send(url=receiver.on("/x", endless), maxBody=100_000)
    assert isinstance(outcome, Succeeded)
    assert (outcome.output["body"]["length"], outcome.output["body"]["complete"]) == (100_000, False)
    assert outcome.output["body"]["sha256"] == hashlib.sha256(b"x" * 100_000).hexdigest()


@pytest.mark.parametrize(("sent", "limit"), [(b"", 0), (b"x" * 100, 100), (b"x" * 101, 100)])
async def test_what_comes_after_the_last_byte_read_is_not_waited_for(sender, receiver, sent, limit):
    async def stop(request):
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(sent)
        await asyncio.Event().wait()

    outcome = await sender.send(url=receiver.on("/x", stop), method="POST", maxBody=limit)
    assert isinstance(outcome, Succeeded), outcome
    assert (outcome.output["body"]["length"], outcome.output["body"]["complete"]) == (limit, False)


async def test_a_body_of_just_the_bytes_that_are_read_is_complete(sender, receiver):
    outcome = await sender.send(url=receiver.on("/x", text("x" * 100)), maxBody=100)
    assert (outcome.output["body"]["length"], outcome.output["body"]["complete"]) == (100, True)


def deflated(body):
    return zlib.compress(body)


def raw_deflated(body):
    made = zlib.compressobj(wbits=-15)
    return made.compress(body) + made.flush()


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(
    ("encoding", "compress"), [("gzip", gzip.compress), ("deflate", deflated), ("deflate", raw_deflated)]
)
async def test_a_compressed_bomb_is_cut_off(sender, receiver, encoding, compress, chunked):
    """What is counted is what comes out: of the fifty megabytes in it, little more than the limit is unpacked."""
    bomb = compress(b"\0" * 50_000_000)

    async def pour(request):
        response = web.StreamResponse(headers={"Content-Encoding": encoding})
        if chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(bomb)
        await response.prepare(request)
        for start in range(0, len(bomb), 1000):
            await response.write(bomb[start : start + 1000])
        return response

    url = receiver.on("/x", pour)
    await sender.send(url=f"{receiver.url}/warm", maxBody=1000)
    tracemalloc.start()
    try:
        outcome = await sender.send(url=url, maxBody=1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert isinstance(outcome, Succeeded), outcome
    assert (outcome.output["body"]["length"], outcome.output["body"]["complete"]) == (1000, False)
    assert peak < 5_000_000


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "nonsense"])
async def test_of_an_encoding_that_nobody_asked_for_no_text_is_made(sender, receiver, encoding):
    body = gzip.compress(gzip.compress(b"hello"))
    url = receiver.on("/x", lambda request: web.Response(body=body, headers={"Content-Encoding": encoding}))
    outcome = await sender.send(url=url)
    asked_for = receiver.seen[0].headers["Accept-Encoding"]
    assert encoding not in asked_for
    if isinstance(outcome, Failed):
        assert outcome.error_class == "body-decode"
    else:
        assert "hello" not in json.dumps(outcome.output)
        assert outcome.output["headers"]["content-encoding"] == encoding


async def test_a_broken_encoding_is_named(sender, receiver):
    url = receiver.on("/x", lambda request: web.Response(body=b"plain", headers={"Content-Encoding": "gzip"}))
    assert (await sender.send(url=url)).error_class == "body-decode"


@pytest.mark.parametrize(
    ("word", "body", "value"),
    [
        ("object", b'{"a": 1}', {"a": 1}),
        ("largest number", b"[9223372036854775807, -9223372036854775808]", [2**63 - 1, -(2**63)]),
        ("long fraction", b"[0.12345678901234567890, 1e30]", [0.12345678901234568, 1e30]),
        ("digits in a text", b'{"a": "12345678901234567890"}', {"a": "12345678901234567890"}),
        ("big number", b"123456789012345678901234567890", None),
        ("bigger than signed", b"9223372036854775808", None),
        ("endless number", b"9" * 5000, None),
        ("half a pair", b'"\\ud800"', None),
        ("deep", b"[" * 100 + b"]" * 100, None),
        ("very deep", b"[" * 100_000, None),
        ("not a number", b"NaN", None),
        ("empty", b"", None),
    ],
)
async def test_json_is_kept_where_it_can_be(sender, receiver, word, body, value):
    url = receiver.on("/x", lambda request: web.Response(body=body, content_type="application/json"))
    outcome = await sender.send(url=url)
    assert outcome.output.get("json") == value
    json.dumps(outcome.output).encode()


@pytest.mark.parametrize(
    ("word", "limits", "status", "said"),
    [
        ("not kept", {"storeBody": 5}, 200, "only its first 5 bytes are kept (storeBody)"),
        ("nothing kept", {"storeBody": 0}, 200, "only its first 0 bytes are kept (storeBody)"),
        ("not read", {"maxBody": 5}, 200, "only its first 5 bytes were read (maxBody)"),
        ("nothing read", {"maxBody": 0}, 200, "only its first 0 bytes were read (maxBody)"),
        ("of a failure", {}, 500, "only its first 8192 bytes are kept (storeBody)"),
    ],
)
async def test_why_there_is_no_json_is_told(sender, receiver, word, limits, status, said):
    url = receiver.on("/x", lambda request: web.json_response({"a": "x" * 10_000}, status=status))
    outcome = await sender.send(url=url, **limits)
    assert "json" not in outcome.output
    assert outcome.output["jsonError"] == said


async def test_json_that_is_none_is_told_where_it_would_stand(sender, receiver):
    url = receiver.on("/x", text("<html>", content_type="application/problem+json"))
    assert "unexpected character" in (await sender.send(url=url)).output["jsonError"]
    assert "jsonError" not in (await sender.send(url=receiver.on("/y", text("<html>")))).output


async def test_a_number_that_would_be_changed_is_named_and_is_in_nobodys_way(sender, receiver):
    url = receiver.on("/x", text('{"ok": true, "ids": [1, 12345678901234567890123]}', content_type="application/json"))
    outcome = await sender.send(url=url, expect={"json": [{"path": "$.ok", "equals": True}]})
    assert isinstance(outcome, Succeeded), outcome
    assert "json" not in outcome.output
    assert outcome.output["jsonError"] == "ids[1] does not fit into 64 bits; write it as a string"


async def test_chosen_headers_are_kept(sender, receiver):
    url = receiver.on("/x", text("", headers={"X-Mine": "1", "X-Other": "2", "ETag": "e"}))
    outcome = await sender.send(url=url, storeHeaders=["x-mine"])
    assert outcome.output["headers"]["x-mine"] == "1"
    assert outcome.output["headers"]["etag"] == "e"
    assert "x-other" not in outcome.output["headers"]


async def test_repeated_headers_are_kept_together(sender, receiver):
    cookies = ["a=1; Expires=Fri, 31 Dec 2100 23:59:59 GMT", "b=2"]
    repeated = CIMultiDict([("Link", "</2>; rel=next"), ("Link", "</9>; rel=last"), *(("Set-Cookie", c) for c in cookies)])
    outcome = await sender.send(url=receiver.on("/x", text("", headers=repeated)), storeHeaders=["Set-Cookie"])
    assert outcome.output["headers"]["link"] == "</2>; rel=next, </9>; rel=last"
    assert outcome.output["headers"]["set-cookie"].split("\n") == cookies


async def test_a_body_cut_within_a_secret_shows_nothing_of_it(sender, receiver):
    sender.redactor.know(["top-secret"])
    url = receiver.on("/x", text("it is top-secret"))
    assert (await sender.send(url=url, storeBody=10)).output["text"] == "it is ***"
    assert (await sender.send(url=url, maxBody=10)).output["text"] == "it is ***"
    assert (await sender.send(url=receiver.on("/y", text("on top-")))).output["text"] == "on top-", "that is all of it"
    sent = (await sender.send(url=url, method="POST", body="so is top-secret", storeRequestBody=10)).output["request"]
    assert sent["body"] == "so is ***"


# -- time ----------------------------------------------------------------------------------------------------------------


async def hang(request):
    await asyncio.sleep(3600)


async def stall(request):
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"x")
    await asyncio.sleep(3600)


async def drip(request):
    response = web.StreamResponse()
    await response.prepare(request)
    while True:
        await response.write(b"x")
        await asyncio.sleep(0.05)


async def drip_headers(request):
    """Begin an answer, and never come to the end of its headers."""
    request.transport.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        request.transport.write(b"X-More: 1\r\n")
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    ("error_class", "answer", "limits"),
    [
        ("timeout-first-byte", drip_headers, {"timeouts": {"firstByte": "1s"}}),
        ("timeout-first-byte", hang, {"timeouts": {"firstByte": "1s"}}),
        ("timeout-idle", stall, {"timeouts": {"idle": "1s"}}),
        ("timeout-total", drip, {"timeout": "1s"}),
        ("timeout-total", hang, {"timeout": "1s"}),
    ],
)
async def test_every_wait_is_bounded_and_named(sender, receiver, error_class, answer, limits):
    outcome = await sender.send(url=receiver.on("/x", answer), method="POST", **limits)
    assert outcome.error_class == error_class
    assert outcome.maybe_done
    # Headers that do not end are no answer: nobody has seen a status.
    assert outcome.is_in_doubt == (answer in (hang, drip_headers)), "whoever has answered with a status is in no doubt"
    assert outcome.output["timings"]["total"] >= 900
    assert outcome.output.get("status") == (200 if answer in (stall, drip) else None)
    assert ("headers" in outcome.output) == (answer in (stall, drip)), "what it began with is kept"


async def test_redirects_share_the_time(sender, receiver, redirect):
    """Each hop is quick, all of them together are not."""

    async def slow(request):
        await asyncio.sleep(0.3)
        return redirect("/loop")(request)

    outcome = await sender.send(url=receiver.on("/loop", slow), timeout="1s", maxRedirects=20, method="POST")
    assert (outcome.error_class, outcome.maybe_done) == ("timeout-total", True)
    assert 1 < len(receiver.seen) < 20


async def test_a_name_that_takes_too_long_never_left(sender, monkeypatch):
    async def look_up(*args, **options):
        await asyncio.sleep(3600)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", look_up)
    outcome = await sender.send(url="http://slow.example/", method="POST", timeouts={"connect": "1s"})
    assert (outcome.error_class, outcome.maybe_done) == ("timeout-connect", False)
    outcome = await sender.send(url="http://slow.example/", method="POST", timeout="1s")
    assert (outcome.error_class, outcome.maybe_done) == ("timeout-total", False)


async def test_a_handshake_that_is_not_answered_never_left(sender):
    async def silent(reader, writer):
        await reader.read()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        outcome = await sender.send(url=url, method="POST", timeouts={"connect": "1s"})
    assert (outcome.error_class, outcome.maybe_done) == ("timeout-connect", False)


async def test_a_connection_that_is_not_made_in_time_never_left(sender):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        port = silent.getsockname()[1]
        fill = [socket.socket() for _ in range(4)]  # the backlog: further connections are not answered
        for one in fill:
            one.setblocking(False)
            one.connect_ex(("127.0.0.1", port))
        outcome = await sender.send(url=f"http://127.0.0.1:{port}/", method="POST", timeouts={"connect": "1s"})
        for one in fill:
            one.close()
    assert outcome.error_class == "timeout-connect"
    assert not outcome.maybe_done
    assert not outcome.is_in_doubt


# -- what goes wrong -----------------------------------------------------------------------------------------------------


async def test_a_refused_connection_never_left(sender):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    outcome = await sender.send(url=f"http://127.0.0.1:{port}/", method="POST")
    assert (outcome.error_class, outcome.maybe_done) == ("connect", False)


async def test_a_connection_that_is_not_made_is_tried_a_few_times_at_once(sender):
    connections = sender.connections(allow_hosts=LOOPBACK)
    made = []
    connections.guard.open_socket = lambda info: (made.append(info), socket.socket(*info[:3]))[1]
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    outcome = await sender.send(connections, url=f"http://127.0.0.1:{port}/", method="POST")
    assert (outcome.error_class, len(made)) == ("connect", 3)


async def test_a_name_that_is_none_never_left(sender):
    outcome = await sender.send(url="http://nowhere.invalid/", method="POST")
    assert (outcome.error_class, outcome.maybe_done) == ("dns", False)


async def raw_server(answer):
    async def talk(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


@pytest.mark.parametrize(
    ("error_class", "answer"),
    [
        ("disconnected", b""),
        ("disconnected", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
        ("bad-response", b"SMTP ready\r\n\r\n"),
        ("bad-response", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
    ],
)
async def test_a_broken_answer_is_named(sender, error_class, answer):
    server = await raw_server(answer)
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await sender.send(url=f"http://127.0.0.1:{port}/", method="POST")
    assert (outcome.error_class, outcome.maybe_done) == (error_class, True)
    assert outcome.is_in_doubt == (b"Content-Length: 100" not in answer)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "POST", "PATCH"])
async def test_what_has_left_is_sent_once_in_an_attempt(sender, method):
    received = []

    async def hang_up(reader, writer):
        received.append(await reader.readuntil(b"\r\n"))
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    async with server:
        outcome = await sender.send(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", method=method)
    assert outcome.error_class == "disconnected"
    assert received == [f"{method} / HTTP/1.1\r\n".encode()]


async def test_a_long_header_does_not_break_an_answer(sender, receiver):
    url = receiver.on("/x", text("done", headers={"X-Policy": "x" * 65_000}))
    outcome = await sender.send(url=url, method="POST")
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.output["text"] == "done"


async def test_header_bytes_that_are_no_text_are_kept_readable(sender):
    server = await raw_server(b"HTTP/1.1 200 OK\r\nServer: \xff\xfe\r\nContent-Length: 0\r\n\r\n")
    async with server:
        outcome = await sender.send(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    json.dumps(outcome.output, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("word", "host", "answer"),
    [
        ("ok", None, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"),
        ("status", None, b"HTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nhi"),
        ("disconnected", None, b""),
        ("disconnected", None, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc"),
        ("connect", "127.0.0.1:1", b""),
        ("dns", "nobody.invalid", b""),
    ],
)
async def test_a_request_leaves_nothing_behind_for_the_garbage_collector(sender, word, host, answer):
    """That comes after so many objects, however large they are: a request and its body may be megabytes."""
    server = await raw_server(answer)
    left = []

    async def attempt():
        left.append(weakref.ref(asyncio.current_task()))
        port = server.sockets[0].getsockname()[1]
        action = http_action(url=f"http://{host or f'127.0.0.1:{port}'}/", method="POST", body="x")
        left.append(weakref.ref(action))
        outcome = await run_action(action, sender.context())
        assert getattr(outcome, "error_class", "ok") == word

    gc.disable()
    try:
        async with server:
            await asyncio.create_task(attempt())
            await asyncio.sleep(0)  # until the callbacks of the last task are over
        assert [found() for found in left] == [None, None]
    finally:
        gc.enable()
