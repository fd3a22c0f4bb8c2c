"""Every refusal is a problem that says what is wrong, and no request brings the service down."""

import gzip
import zlib
from typing import Any

import orjson
import pytest

from apps.workflows import definitions
from tests.workflows.client import LOG, Client
from tests.workflows.memory import MemoryStore

GOOD: dict[str, Any] = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG]}
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("change", "fields"),
    [
        pytest.param({"nope": 1}, ["nope"], id="unknown field"),
        pytest.param({"workflowId": "a/b"}, ["workflowId"], id="bad id"),
        pytest.param({"workflowId": "a" * 129}, ["workflowId"], id="long id"),
        pytest.param({"trigger": {"type": "periodic", "interval": "9999999h"}}, ["trigger.interval"], id="absurd interval"),
        pytest.param({"trigger": {"type": "periodic", "interval": "0s"}}, ["trigger.interval"], id="zero interval"),
        pytest.param({"trigger": {"type": "weekly"}}, ["trigger.type"], id="unknown trigger"),
        pytest.param({"actions": [LOG, {"type": "fax"}], "retries": -1}, ["actions[1].type", "retries"], id="two errors"),
        pytest.param({"actions": []}, ["actions"], id="nothing to do"),
    ],
)
@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_bad_definitions(api: Client, store: MemoryStore, method: str, change: Any, fields: list[str]) -> None:
    path = "/workflows" if method == "POST" else "/workflows/a"
    answer = await api.send(method, path, json=GOOD | change)
    assert answer.fields() == fields
    assert not store.workflows.documents


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(None, 400, id="no body"),
        pytest.param(b"", 400, id="empty body"),
        pytest.param(b"{", 400, id="bad JSON"),
        pytest.param(b"[]", 400, id="an array"),
        pytest.param(b"null", 400, id="null"),
        pytest.param(b'"\xff"', 400, id="not UTF-8"),
        pytest.param(b'{"workflowId": "a", "workflowId": "b"}', 400, id="key twice"),
        pytest.param(b'{"retries": NaN}', 400, id="NaN"),
        pytest.param(b'{"retries": ' + b"9" * 5000 + b"}", 400, id="huge number"),
        pytest.param(b'{"workflowId": "\\ud800"}', 400, id="lone surrogate"),
        pytest.param(b'{"\\ud800": 1}', 400, id="lone surrogate as a field"),
        pytest.param(b"[" * 15_000, 400, id="deep nesting"),
        pytest.param(b" " * 20_001, 413, id="one byte over the limit"),
        pytest.param(b"x" * 900_000, 413, id="far over the limit"),
    ],
)
@pytest.mark.parametrize(("method", "path"), [("POST", "/workflows"), ("PUT", "/workflows/a")])
async def test_bad_bodies(api: Client, method: str, path: str, data: bytes | None, status: int) -> None:
    (await api.send(method, path, data=data, headers=JSON)).problem(status)


@pytest.mark.parametrize(
    ("data", "headers", "status"),
    [
        pytest.param(orjson.dumps(GOOD), {}, 415, id="no content type"),
        pytest.param(orjson.dumps(GOOD), {"Content-Type": "text/plain"}, 415, id="text"),
        pytest.param(orjson.dumps(GOOD), {"Content-Type": "application/x-www-form-urlencoded"}, 415, id="a form"),
        pytest.param(orjson.dumps(GOOD), {"Content-Type": "application/json; charset=latin-1"}, 415, id="charset"),
        pytest.param(orjson.dumps(GOOD), {"Content-Type": "application/json; charset=UTF-8"}, 201, id="utf-8"),
        pytest.param(gzip.compress(orjson.dumps(GOOD)), JSON | {"Content-Encoding": "gzip"}, 201, id="compressed"),
        pytest.param(gzip.compress(orjson.dumps(GOOD)), JSON | {"Content-Encoding": "GZip"}, 201, id="in capitals"),
        pytest.param(zlib.compress(orjson.dumps(GOOD)), JSON | {"Content-Encoding": "deflate"}, 201, id="deflated"),
        pytest.param(orjson.dumps(GOOD), JSON | {"Content-Encoding": "identity"}, 201, id="declared as not compressed"),
        pytest.param(gzip.compress(b" " * 100_000), JSON | {"Content-Encoding": "gzip"}, 413, id="compressed bomb"),
    ],
)
async def test_how_a_body_is_declared(api: Client, data: bytes, headers: dict[str, str], status: int) -> None:
    answer = await api.send("POST", "/workflows", data=data, headers=headers)
    assert answer.status == status
    if status != 201:
        answer.problem(status)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize(
    ("path", "more"),
    [
        pytest.param("/workflows", {}, id="is read"),
        pytest.param("/workflows", {"Idempotency-Key": "k"}, id="is read for its key"),
        pytest.param("/workflows/a%20b/trigger", {}, id="is not read"),
    ],
)
async def test_a_body_that_cannot_be_unpacked(
    api: Client, caplog: pytest.LogCaptureFixture, encoding: str, path: str, more: dict[str, str]
) -> None:
    headers = JSON | {"Content-Encoding": encoding} | more
    for data in (b"garbage", gzip.compress(orjson.dumps(GOOD))[:-9], zlib.compress(orjson.dumps(GOOD)) + b"more"):
        told = (await api.send("POST", path, data=data, headers=headers)).problem(400)
        assert "errors" in told or "Content-Encoding" in told["detail"]
    assert (await api.get("/workflows")).status == 200
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("encoding", ["br", "zstd", "compress", "gzip, gzip"])
@pytest.mark.parametrize("path", ["/workflows", "/workflows/validate", "/schedules/preview", "/login"])
async def test_a_compression_that_is_not_known_is_told_with_those_that_are(api: Client, encoding: str, path: str) -> None:
    answer = await api.send("POST", path, data=b"\x0b\x02\x80{}\x03", headers=JSON | {"Content-Encoding": encoding})
    told = answer.problem(415)
    assert f"Content-Encoding {encoding} " in told["detail"]
    assert "gzip or deflate" in told["detail"]
    assert answer.headers["Accept-Encoding"] == "gzip, deflate"


async def test_what_a_dry_run_cannot_render_is_told_as_a_wrong_field_is(api: Client) -> None:
    await api.create("a", actions=[{"type": "log", "message": "{{ input.x }}"}])
    answer = await api.send("POST", "/workflows/a/dry-run", json={"input": {"x": None}})
    assert [step["error"] for step in answer.body["steps"]] == ["message: must be a string, not null"]


async def test_a_body_as_long_as_the_limit_is_read(api: Client) -> None:
    raw = orjson.dumps(GOOD)
    assert (await api.send("POST", "/workflows", data=raw + b" " * (20_000 - len(raw)), headers=JSON)).status == 201


async def test_a_chunked_body_is_cut_at_the_limit(api: Client) -> None:
    async def chunks() -> Any:
        for _ in range(100):
            yield b" " * 1000

    (await api.send("POST", "/workflows", data=chunks(), headers=JSON)).problem(413)


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        pytest.param("/workflows?limit=0", ["limit"], id="limit of nothing"),
        pytest.param("/workflows?limit=501", ["limit"], id="limit too high"),
        pytest.param("/workflows?limit=ten", ["limit"], id="limit in words"),
        pytest.param("/workflows?limit=" + "9" * 500, ["limit"], id="endless limit"),
        pytest.param("/workflows?limit=1&limit=2", ["limit"], id="limit twice"),
        pytest.param("/workflows?cursor=nonsense", ["cursor"], id="cursor"),
        pytest.param("/workflows?cursor=%00", ["cursor"], id="cursor of NUL"),
        pytest.param("/workflows?triggerType=weekly", ["triggerType"], id="trigger type"),
        pytest.param("/workflows?archived=perhaps", ["archived"], id="neither true nor false"),
        pytest.param("/workflows?trigger_type=manual", ["trigger_type"], id="snake case"),
        pytest.param("/workflows?prefix=%F4%8F%BF%BF", ["prefix"], id="prefix no id has"),
        pytest.param("/workflows?a=1&limit=x", ["limit", "a"], id="two errors"),
        pytest.param("/workflows/a%20b", ["workflowId"], id="space in the id"),
        pytest.param("/workflows/a%2Fb", ["workflowId"], id="slash in the id"),
        pytest.param("/workflows/a%0A", ["workflowId"], id="line break in the id"),
        pytest.param("/workflows/%FF", ["workflowId"], id="id that is not UTF-8"),
        pytest.param("/workflows/" + "a" * 129, ["workflowId"], id="long id"),
        pytest.param("/executions/1", ["executionId"], id="execution id"),
        pytest.param("/executions/019A0B61-40FD-722F-8B92-FA8F070D257A", ["executionId"], id="upper case"),
        pytest.param("/executions?workflowId=a%20b", ["workflowId"], id="workflow id"),
        pytest.param("/executions?status=waiting", ["status"], id="status that is not shown"),
        pytest.param("/executions?status=", ["status"], id="empty status"),
        pytest.param("/executions?status=ok,,failed", ["status"], id="empty among statuses"),
        pytest.param("/executions?from=yesterday", ["from"], id="from in words"),
        pytest.param("/executions?from=1769860800", ["from"], id="Unix time"),
        pytest.param("/executions?from=2026-01-31", ["from"], id="a day"),
        pytest.param("/executions?from=2026-01-31T12:00:00", ["from"], id="no zone"),
        pytest.param("/executions?from=2026-01-31T12:00:00+01:00", ["from"], id="plus not escaped"),
        pytest.param("/executions?from=0001-01-01T00:00:00%2B23:59", ["from"], id="before the calendar"),
        pytest.param("/executions?to=2026-02-30T00:00:00Z", ["to"], id="30 February"),
        pytest.param("/executions?from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", ["to"], id="backwards"),
        pytest.param("/executions?cursor=YQ", ["cursor"], id="cursor of workflows"),
    ],
)
async def test_bad_addresses(api: Client, path: str, fields: list[str]) -> None:
    assert (await api.get(path)).fields() == fields


async def test_where_a_plus_gets_lost_is_told_where_it_does(api: Client) -> None:
    answer = await api.get("/executions?from=2026-01-31T12:00:00+01:00")
    assert answer.problem(400)["errors"][0]["message"].endswith("; in an address write + as %2B")
    trigger = {"type": "once", "at": "tomorrow"}
    answer = await api.send("POST", "/workflows", json={"workflowId": "a", "trigger": trigger, "actions": [LOG]})
    assert answer.problem(400)["errors"] == [
        {"field": "trigger.at", "message": "must be an instant such as 2026-01-31T12:00:00Z"}
    ]


@pytest.mark.parametrize("path", ["/nothing", "/v2/workflows", "/v1", "/workflows/a/b/c", "/table/busy", "/router/x"])
async def test_nothing_there(api: Client, path: str) -> None:
    (await api.get(path)).problem(404)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/workflows", "GET, HEAD, POST"),
        ("DELETE", "/v1/workflows", "GET, HEAD, POST"),
        ("POST", "/workflows/a", "DELETE, GET, HEAD, PUT"),
        ("OPTIONS", "/workflows/a", "DELETE, GET, HEAD, PUT"),
        ("GET", "/workflows/a/trigger", "POST"),
        ("POST", "/executions", "GET, HEAD"),
        ("DELETE", "/executions/019a0b61-40fd-722f-8b92-fa8f070d257a", "GET, HEAD"),
        ("POST", "/health", "GET, HEAD"),
    ],
)
async def test_methods(api: Client, method: str, path: str, allowed: str) -> None:
    answer = await api.send(method, path)
    answer.problem(405)
    assert answer.headers["Allow"] == allowed


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/workflows", None),
        ("POST", "/workflows", GOOD),
        ("GET", "/workflows/a", None),
        ("PUT", "/workflows/a", GOOD),
        ("DELETE", "/workflows/a", None),
        ("POST", "/workflows/a/trigger", None),
        ("GET", "/executions", None),
        ("GET", "/executions/019a0b61-40fd-722f-8b92-fa8f070d257a", None),
    ],
)
async def test_the_database_is_away(api: Client, store: MemoryStore, method: str, path: str, body: Any) -> None:
    store.network.down = True
    answer = await api.send(method, path, json=body)
    problem = answer.problem(503)
    assert int(answer.headers["Retry-After"]) > 0
    assert "mongodb-7.internal" not in str(problem)


async def test_what_nobody_foresaw_is_told_without_its_internals(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: Any) -> None:
        raise RuntimeError("the password is swordfish")

    monkeypatch.setattr(definitions, "current_workflow", broken)
    problem = (await api.get("/workflows/a")).problem(500)
    assert "swordfish" not in str(problem)


async def test_only_the_first_errors_are_shown(api: Client) -> None:
    problem = (await api.send("POST", "/workflows", json=GOOD | {f"f{n}": 1 for n in range(500)})).problem(400)
    assert len(problem["errors"]) == 50
    assert "first 50 of 500" in problem["detail"]
