"""Secrets: set, used, never shown. Plants values, then searches everything that was written down for any piece of them."""

import asyncio
import base64
import html
import json
import socket
import urllib.parse
from contextlib import asynccontextmanager, suppress

import aiohttp
import bson
import pymongo
import pytest
import pytest_asyncio
import re2
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from events.topics import ALL
from tests.e2e.conftest import until
from vault.redaction import SHORTEST

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Every character that some encoder writes otherwise, and longer than any excerpt in a message.
VALUE = "planted s3cr&t/\"value\"+ß=17<x>'q'?" + "".join(f"-{number}th-piece" for number in range(12))
TOKEN = "q7Zk2mX9vR4tLw8nB3yH6dJ5sF1gC0pAeUiOoKj8Tz"  # nothing that a name of a test may hold, too
GRANTED = "Xw4pLz9cTn2kVb7sMd5fRg8hJq3yEa6uKr1oIt0vBx"  # by the server of tokens
PIECE = 8  # characters of a value, next to each other, that nothing may hold


def answer_to(request, body):
    """Say what was told, in all the ways in which servers do."""
    told = f"{request.headers.get('X-Token')} {request.headers.get('Authorization')} {request.query_string} {body}"
    query = dict(request.query)
    return {
        "said": told,
        "parsed": query,
        "json in a text": json.dumps([told, query, body]),
        "go": json.dumps(told).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
        "php": json.dumps(told).replace("/", "\\/"),
        "html": html.escape(body),
        "url": [urllib.parse.quote(body, safe=""), urllib.parse.quote(body), urllib.parse.quote_plus(body)],
        "base64": [base64.b64encode(b"x" * before + body.encode() + b"yz").decode() for before in range(3)],
        "base64 for URLs": base64.urlsafe_b64encode(body.encode()).decode(),
        "base64 in a URL": urllib.parse.quote_plus(base64.b64encode(body.encode()).decode()),
        "as a name": {body: 1},
    }


@pytest_asyncio.fixture(loop_scope="session")
async def echo():
    """A server that repeats what it was told; ``redirect`` and ``status`` in the query say how, ``token`` asks for one."""

    async def answer(request):
        body = await request.text()
        query = request.query
        if "token" in query:
            return web.json_response({"access_token": GRANTED})
        if "refuse" in query:
            told = f"{body} {request.headers.get('Authorization')}"
            return web.json_response({"error": "invalid_client", "error_description": told}, status=400)
        if "redirect" in query:
            return web.Response(status=302, headers={"Location": query["redirect"]})
        status = int(query.get("status", "200"))
        if "plain" in query:
            return web.Response(status=status, text=f"{'.' * int(query['plain'])}{body}")
        if "binary" in query:
            return web.Response(body=b"\0\xff" + body.encode(), content_type="application/octet-stream")
        headers = {"X-Request-Id": body.encode("ascii", "xmlcharrefreplace").decode(), "Link": f"<{request.query_string}>"}
        return web.json_response(answer_to(request, body), status=status, headers=headers)

    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def writings(value):
    """Return how a value may be written, by names; not taken from the code that is tested."""
    raw = value.encode()
    as_json = json.dumps(value)[1:-1]
    found = {
        "plain": value,
        "JSON": as_json,
        "JSON as it is": json.dumps(value, ensure_ascii=False)[1:-1],
        "JSON twice": json.dumps(as_json)[1:-1],
        "Go": as_json.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e"),
        "PHP": as_json.replace("/", "\\/"),
        "URL": urllib.parse.quote(value, safe=""),
        "path": urllib.parse.quote(value),
        "form": urllib.parse.quote_plus(value),
        "HTML": html.escape(value),
        "repr": repr(value)[1:-1],
        "hidden in HTML": value.encode("ascii", "xmlcharrefreplace").decode(),
    }
    for offset in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            # Of each end, what depends on its neighbours as well is left out.
            found[f"{encode.__name__} at {offset}"] = encode(b"x" * offset + raw).decode()[4:-4]
    return found


def pieces(value):
    """Return pieces of each writing, by their bytes: whatever is shown of a value holds one, unless it is very short."""
    return {
        writing[start : start + PIECE].encode(): name
        for name, writing in reversed(writings(value).items())
        for start in range(0, len(writing) - PIECE + 1, 3)
    }


def search(written, *values):
    """Return what is found of ``values`` in what was written: place, way of writing, and the text around it."""
    looked_for = {piece: name for value in values for piece, name in pieces(value).items()}
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = 1 << 28
    pattern = re2.compile(b"|".join(map(re2.escape, looked_for)), options)
    return [
        (place, looked_for[found[0]], text[max(0, found.start() - 100) : found.end() + 40])
        for place, text in written.items()
        for found in pattern.finditer(text)
    ]


async def everything_written(stack):
    """Return, by where it stands, all that the system has kept."""
    written = {}
    client = pymongo.AsyncMongoClient(stack.mongodb_url)
    for name in await client["workflows"].list_collection_names():
        documents = [bson.encode(document) async for document in client["workflows"][name].find()]
        written[f"collection {name}"] = b"\n".join(documents)
    await client.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    topics = {
        found["topic"]: [TopicPartition(found["topic"], partition["partition"]) for partition in found["partitions"]]
        for found in await admin.describe_topics()
    }
    await admin.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, enable_auto_commit=False)
    await consumer.start()
    for name, partitions in topics.items():
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found = b""
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    for record in records:
                        found += (record.key or b"") + b"\n" + (record.value or b"") + b"\n" + repr(record.headers).encode()
        written[f"topic {name}"] = found
    await consumer.stop()
    for name, worker in stack.workers.items():
        async with aiohttp.ClientSession() as session, session.get(f"{worker.url}/metrics") as response:
            written[f"metrics of {name}"] = await response.read()
    # Whatever else was left on the disk: Kafka's segments, the database's files, state of the services. Kafka's indexes hold
    # offsets alone, in many megabytes of zeros.
    for file in stack.settings.data_dir.rglob("*"):
        if file.is_file() and file.suffix not in (".index", ".timeindex") and file.name != "secrets.key":
            with suppress(FileNotFoundError):  # Kafka and the database replace files of theirs meanwhile
                written[f"file {file.relative_to(stack.settings.data_dir)}"] = file.read_bytes()
    written["logs"] = "\n".join(stack.lines).encode()
    return written


@asynccontextmanager
async def watching(stack, workflow_id):
    """Keep what the stream of updates tells of a workflow."""
    told = bytearray()

    async def read(response):
        async for chunk in response.content.iter_any():
            told.extend(chunk)

    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session,
        session.get(f"{stack.api_url}/events/stream?workflowId={workflow_id}") as response,
    ):
        task = asyncio.ensure_future(read(response))
        yield told
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def http(url, name, **more):
    return {
        "type": "http-request",
        "actionId": name,
        "url": url,
        "method": "POST",
        "continueOnError": True,
        "retry": {"attempts": 1},
        **more,
    }


def oauth2(token_url, **more):
    return {"type": "oauth2", "tokenUrl": token_url, "clientId": "me", "clientSecret": "PLANTED", **more}


def steps_that_tell(echo, topic, closed_port):
    """Return steps that do with secrets whatever might show them."""
    planted = "{{ secrets.PLANTED }}"
    joined = "{{ [secrets.PLANTED] | join }}"  # a value of set in which it is plain is refused
    in_query = "{{ secrets.PLANTED | urlencode }}"
    within = "{{ secrets.PLANTED | urlencode | urlencode }}"  # an address within an address
    log, on = {"type": "log"}, {"continueOnError": True}
    return [
        {**log, "message": f"plain {planted} {{{{ secrets.PLANTED | b64encode }}}} {in_query}", "actionId": "plain"},
        {**log, "level": "error", "message": "{{ ('user:' ~ secrets.PLANTED) | b64encode }} {{ secrets.TOKEN }}"},
        {
            "type": "set",
            "actionId": "kept",
            "values": {"a": joined, "b": ["{{ [secrets.TOKEN] | first }}", {joined: 1}]},
        },
        # The receiver tells everything back, whole and at the places where texts are cut.
        http(echo, "told", headers={"X-Token": "{{ secrets.TOKEN }}"}, body=planted, storeHeaders=["Link"]),
        http(echo + f"?status=500&k={in_query}", "failed", body=planted, auth={"type": "bearer", "tokenSecret": "TOKEN"}),
        http(echo, "basic", auth={"type": "basic", "username": "me", "passwordSecret": "PLANTED"}, json={"a": planted}),
        http(echo, "in-query", auth={"type": "api-key", "in": "query", "name": "k", "keySecret": "PLANTED"}),
        http(echo, "in-header", auth={"type": "api-key", "name": "X-Token", "keySecret": "TOKEN"}),
        http(echo, "granted", auth=oauth2(echo + "?token=1")),
        http(echo + "?status=500", "granted-to-fail", auth=oauth2(echo + "?token=1", clientAuth="body")),
        http(echo, "not-granted", auth=oauth2(echo + "?refuse=1")),
        http(echo, "not-granted-either", auth=oauth2(echo + "?refuse=1", clientAuth="body")),
        http(echo + "?plain=40", "cut-in-log", body=planted),
        http(echo + "?plain=10", "cut-in-store", body=planted, storeBody=30, storeRequestBody=30),
        http(echo + "?binary=1", "binary", body=planted),
        http(echo + "?plain=0", "unlike", body=planted, expect={"contains": "x{{ secrets.PLANTED }}"}),
        http(echo, "unequal", body=planted, expect={"json": [{"path": "$.html", "equals": planted}]}),
        # Redirects and what comes of them.
        http(f"{echo}?redirect=/to%3Fk%3D{within}", "redirected"),
        http(f"{echo}?redirect=ftp://{in_query}/", "nowhere"),
        http(f"{echo}?redirect=http://127.0.0.1:{closed_port}/{in_query}", "closed"),
        http(f"http://127.0.0.1:{closed_port}/{{{{ secrets.TOKEN }}}}?k={in_query}", "refused"),
        http("http://{{ secrets.TOKEN }}.invalid/", "no-host"),
        http("http://user:{{ secrets.TOKEN }}@10.0.0.1/", "blocked"),
        http("{{ secrets.PLANTED }}", "no-url"),
        http(echo, "no-header", headers={"A": "{{ secrets.PLANTED ~ '\n' }}"}),
        http("https://127.0.0.1/", "no-certificate", tls={"caSecret": "PLANTED"}),
        # Templates that fail over a secret.
        {**log, **on, "message": "{{ secrets.PLANTED | fromjson }}"},
        {**log, **on, "message": "{{ secrets.PLANTED | int }}"},
        {**log, **on, "message": "{{ secrets.PLANTED | float }}"},
        {**log, **on, "message": "{{ {'a': 1}[secrets.PLANTED] }}"},
        {**log, **on, "message": "{{ {secrets.PLANTED: 1}['x'] }}"},
        {**log, **on, "message": "{{ secrets.PLANTED | b64decode }}"},
        {**log, **on, "message": "x", "if": "secrets.PLANTED | int"},
        {"type": "delay", "duration": "{{ secrets.TOKEN }}", **on},
        {"type": "delay", "until": "{{ secrets.PLANTED }}", **on},
        {"type": "publish", "topic": "{{ secrets.TOKEN }}/", "value": 1, **on},
        {"type": "publish", "topic": topic, "key": "k", "value": {"done": True}, **on},
        {"type": "fail", "message": f"gave up on {planted}"},
    ]


async def test_planted_secrets_are_found_nowhere(stack, api, echo, workflow_id):
    for name, value in (("PLANTED", VALUE), ("TOKEN", TOKEN)):
        status, answer = await api.call("PUT", f"/secrets/{name}", {"value": value})
        assert status in (200, 201), answer
        assert value not in json.dumps(answer)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        closed_port = closed.getsockname()[1]
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    await admin.create_topics([NewTopic(workflow_id, 1, 1)])
    await admin.close()
    await api.create(
        workflow_id,
        steps_that_tell(echo, workflow_id, closed_port),
        retries=0,
        onFailure=[{"type": "log", "actionId": "alarm", "message": "{{ execution.failure.message }} {{ secrets.TOKEN }}"}],
    )
    shown = {}
    async with watching(stack, workflow_id) as told:
        key = {"Idempotency-Key": f"key-{workflow_id}"}
        for _ in range(2):  # the second answer is the one that was kept
            path = f"{stack.api_url}/workflows/{workflow_id}/trigger"
            async with api.session.post(path, json={}, headers=key) as response:
                started = await response.json()
        execution = await api.finished(started["executionId"])

        async def told_the_end():
            return b"gave up on ***" in told

        await until(told_the_end, "the stream tells of the end")
        shown["stream"] = bytes(told)
    assert execution["status"] == "failed"
    assert execution["reason"].startswith("action fail-38 failed: gave up on ***"), execution["reason"]
    done = {action["actionId"]: action for action in execution["executedActions"]}
    assert len(done) == len(execution["executedActions"]) == 39
    assert done["plain"]["logs"] == ["plain *** *** ***"]
    assert done["kept"]["output"] == {"a": "***", "b": ["***", {"***": 1}]}
    assert done["cut-in-store"]["output"]["text"] == ".......... ***".replace(" ", "")
    assert " Bearer *** " in done["granted"]["output"]["json"]["said"]
    classes = {name: action["error"]["class"] for name, action in done.items() if "error" in action}
    expected = {
        "unlike": "assertion", "unequal": "assertion", "nowhere": "bad-redirect", "closed": "connect", "refused": "connect",
        "no-host": "dns", "blocked": "blocked-address", "no-url": "template", "no-header": "template",
        "no-certificate": "tls-settings", "granted-to-fail": "status", "not-granted": "token", "not-granted-either": "token",
    }  # fmt: skip
    assert {name: classes[name] for name in expected} == expected
    for path in ("/executions", "/secrets", "/system", "/dead-letters", "/audit", f"/executions/{execution['executionId']}"):
        shown[path] = json.dumps(await api.call("GET", path)).encode()
    shown["dry run"] = json.dumps(await api.call("POST", f"/workflows/{workflow_id}/dry-run")).encode()
    _, listed = await api.call("GET", "/secrets")
    assert {"PLANTED", "TOKEN"} <= {item["name"] for item in listed["items"]}

    written = await everything_written(stack) | shown
    # What is searched is where something was written.
    assert {f"topic {spec.name}" for spec in ALL} <= written.keys()
    assert {"topic runner-busy-changelog", "topic runner-retries-changelog", "topic __consumer_offsets"} <= written.keys()
    for collection in ("secrets", "executions", "audit", "idempotency_keys", "workflows"):
        assert written[f"collection {collection}"], written.keys()
    assert execution["executionId"].encode() in written["topic workflow.action-result"]
    assert b"workflow says" in written["logs"]
    part = TOKEN[3:17].encode()
    assert search({"x": b"...", "y": part}, VALUE, TOKEN) == [("y", "plain", part)]
    found = search(written, VALUE, TOKEN, GRANTED)
    assert not found, found[:20]


async def test_a_secret_is_listed_and_deleted_but_never_returned(api, workflow_id):
    name = "S_" + workflow_id.replace("-", "_")
    assert (await api.call("PUT", f"/secrets/{name}", {"value": "to-be-deleted"}))[0] == 201
    assert (await api.call("PUT", f"/secrets/{name}", {"value": "to-be-deleted-2"}))[0] == 200
    assert (await api.call("GET", f"/secrets/{name}"))[0] == 405
    action = {"type": "set", "values": {"length": f"{{{{ secrets.{name} | length }}}}"}}
    await api.create(workflow_id, [action])
    execution = await api.finished(await api.trigger(workflow_id))
    assert execution["executedActions"][0]["output"] == {"length": 15}
    assert (await api.call("DELETE", f"/secrets/{name}"))[0] == 204
    assert (await api.call("DELETE", f"/secrets/{name}"))[0] == 404


@pytest.mark.parametrize(
    ("name", "body", "field", "said"),
    [
        ("A-OK", {}, "value", "must be a string"),
        ("A", {"value": ""}, "value", "must be a string"),
        ("A", {"value": 3}, "value", "must be a string"),
        ("A", {"value": "abc"}, "value", f"fewer than {SHORTEST} characters"),
        ("A", {"value": "  abc \n"}, "value", f"fewer than {SHORTEST} characters"),
        ("1x", {"value": "long enough"}, "name", "the first a letter"),
        ("A", {"value": "long enough", "y": 1}, "y", "not known here"),
    ],
)
async def test_what_is_no_secret(api, name, body, field, said):
    status, answer = await api.call("PUT", f"/secrets/{name}", body)
    assert status == 400
    (error,) = answer["errors"]
    assert error["field"] == field
    assert said in error["message"]


async def test_rotation_encrypts_with_the_first_key(stack, api):
    from vault.keys import new_key

    status, _ = await api.call("PUT", "/secrets/ROTATED", {"value": "turn me round"})
    assert status in (200, 201)
    file = stack.settings.data_dir / "secrets.key"
    assert file.stat().st_mode & 0o077 == 0
    file.write_text(f"{new_key()}\n{file.read_text()}")
    status, answer = await api.call("POST", "/secrets-rotation")
    assert (status, answer["failed"]) == (200, [])
    assert "ROTATED" in answer["rotated"]
    _, listed = await api.call("GET", "/secrets")
    assert {item.get("keyId") for item in listed["items"] if item["source"] == "stored"} == {answer["keyId"]}
    file.write_text(file.read_text().splitlines()[0] + "\n")
    _, listed = await api.call("GET", "/secrets")
    assert "ROTATED" in {item["name"] for item in listed["items"]}
