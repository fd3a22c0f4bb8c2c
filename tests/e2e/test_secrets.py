"""Secrets: set, used, never shown. Plants values, then searches everything that was written down for them."""

import base64
import json
import urllib.parse

import pymongo
import pytest
import pytest_asyncio
from aiohttp import web
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from events.topics import ALL

pytestmark = pytest.mark.asyncio(loop_scope="session")

VALUE = 'planted s3cr&t/"value"+ß=17'
SHORT_LIVED = "another-planted-one"


@pytest_asyncio.fixture(loop_scope="session")
async def echo():
    """A server that says what it was told, as it is and in base64."""

    async def answer(request):
        body = await request.text()
        said = f"{request.headers.get('X-Token')} {request.query_string} {body}"
        encoded = base64.b64encode(f"user:{body}".encode()).decode()
        return web.json_response({"said": said, "encoded": encoded}, status=int(request.query.get("status", "200")))

    app = web.Application()
    app.router.add_route("*", "/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    await runner.cleanup()


def forms(value):
    raw = value.encode()
    found = {value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1]}
    found |= {urllib.parse.quote(value, safe=""), urllib.parse.quote(value), urllib.parse.quote_plus(value)}
    for offset in range(3):
        text = base64.b64encode(b"x" * offset + raw)
        found |= {text[4 : len(text) - 4].decode()}
    return {form.encode() for form in found}


async def everything_written(stack):
    """Return, by where it stands, all that the system has kept."""
    written = {}
    client = pymongo.AsyncMongoClient(stack.mongodb_url)
    for name in await client["workflows"].list_collection_names():
        written[f"collection {name}"] = repr([document async for document in client["workflows"][name].find()]).encode()
    await client.close()
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    topics = {
        found["topic"]: [TopicPartition(found["topic"], partition["partition"]) for partition in found["partitions"]]
        for found in await admin.describe_topics()
        if not found["topic"].startswith("__")
    }
    await admin.close()
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, enable_auto_commit=False)
    await consumer.start()
    assert {spec.name for spec in ALL} <= set(topics)
    for name, partitions in topics.items():
        consumer.assign(partitions)
        await consumer.seek_to_beginning(*partitions)
        ends = await consumer.end_offsets(partitions)
        found = b""
        for partition, end in ends.items():
            while await consumer.position(partition) < end:
                for records in (await consumer.getmany(timeout_ms=1000)).values():
                    found += b"".join((record.key or b"") + (record.value or b"") for record in records)
        written[f"topic {name}"] = found
    await consumer.stop()
    written["logs"] = "\n".join(stack.lines).encode()
    return written


async def test_planted_secrets_are_found_nowhere(stack, api, echo, workflow_id):
    for name, value in (("PLANTED", VALUE), ("OTHER", SHORT_LIVED)):
        status, answer = await api.call("PUT", f"/secrets/{name}", {"value": value})
        assert status in (200, 201), answer
    await api.create(
        workflow_id,
        [
            {
                "type": "log",
                "message": "plain {{ secrets.PLANTED }} {{ secrets.PLANTED | b64encode }} {{ secrets.PLANTED | urlencode }}",
            },
            {"type": "log", "level": "error", "message": "{{ ('user:' ~ secrets.PLANTED) | b64encode }}"},
            {"type": "set", "actionId": "kept", "values": {"a": "{{ secrets.PLANTED }}", "b": ["{{ secrets.OTHER }}"]}},
            {
                "type": "http-request",
                "url": echo,
                "method": "POST",
                "headers": {"X-Token": "{{ secrets.OTHER }}"},
                "body": "{{ secrets.PLANTED }}",
            },
            {
                "type": "http-request",
                "actionId": "bad",
                "url": echo + "?status=400&k={{ secrets.PLANTED | urlencode }}",
                "method": "POST",
                "continueOnError": True,
            },
            {"type": "log", "actionId": "wrong", "message": "{{ secrets.PLANTED | fromjson }}", "continueOnError": True},
            {"type": "log", "actionId": "wronger", "message": "{{ (secrets.PLANTED ~ '') | int }}", "continueOnError": True},
            {"type": "delay", "duration": "{{ secrets.OTHER }}", "continueOnError": True},
            {"type": "fail", "message": "gave up on {{ secrets.PLANTED }}"},
        ],
        retries=0,
    )
    execution = await api.finished(await api.trigger(workflow_id))
    assert execution["status"] == "failed"
    assert execution["reason"].startswith("action fail-9 failed: gave up on ***")
    done = {action["actionId"]: action for action in execution["executedActions"]}
    assert done["log-1"]["logs"] == ["plain *** *** ***"]
    assert done["kept"]["output"] == {"a": "***", "b": ["***"]}
    _, dry = await api.call("POST", f"/workflows/{workflow_id}/dry-run")
    _, listed = await api.call("GET", "/secrets")
    assert {"PLANTED", "OTHER"} <= {item["name"] for item in listed["items"]}
    written = await everything_written(stack)
    written["API"] = json.dumps([execution, dry, listed]).encode()
    assert "workflow says" in "\n".join(stack.lines), "the logs were not searched"
    found = [
        (place, form)
        for place, text in written.items()
        for value in (VALUE, SHORT_LIVED)
        for form in forms(value)
        if form in text
    ]
    assert not found


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
    ("name", "body", "field"),
    [
        ("A-OK", {}, "value"),
        ("A", {"value": ""}, "value"),
        ("A", {"value": 3}, "value"),
        ("1x", {"value": "x"}, "name"),
        ("A", {"value": "x", "y": 1}, "y"),
    ],
)
async def test_what_is_no_secret(api, name, body, field):
    status, answer = await api.call("PUT", f"/secrets/{name}", body)
    assert status == 400
    assert field in [error["field"] for error in answer["errors"]]


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
