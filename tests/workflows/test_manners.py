"""Idempotency-Key, ETag and If-Match, request ids, compression, pages of other origins."""

import asyncio
import re
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from apps.definition_text import Flaw, FlawedFile
from apps.workflows import idempotency
from apps.workflows.app import WorkflowsApp, create_app
from apps.workflows.settings import WorkflowsSettings
from domain.execution import Admission, Ended, Status
from store.interfaces import StoreUnavailable
from tests.workflows.client import LOG, Client
from tests.workflows.clock import Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore

BODY = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG]}
KEY = {"Idempotency-Key": "5f0c"}


class TestIdempotencyKey:
    async def test_creating_twice_creates_once_and_answers_the_same(self, api: Client) -> None:
        first = await api.send("POST", "/workflows", json=BODY, headers=KEY)
        second = await api.send("POST", "/v1/workflows", json=BODY, headers=KEY)
        assert (first.status, second.status) == (201, 201)
        assert first.body == second.body
        assert second.headers["Idempotency-Replayed"] == "true"
        assert second.headers["Location"] == first.headers["Location"]
        assert second.headers["ETag"] == first.headers["ETag"]

    async def test_triggering_twice_starts_once(self, api: Client, requests: FakeTopic) -> None:
        await api.create("a")
        answers = [await api.send("POST", "/workflows/a/trigger", headers=KEY) for _ in range(3)]
        assert {answer.status for answer in answers} == {202}
        assert len({answer.body["executionId"] for answer in answers}) == 1
        assert len(requests.sent) == 1

    async def test_another_key_is_another_request(self, api: Client) -> None:
        await api.create("a")
        await api.send("POST", "/workflows/a/trigger", headers=KEY)
        (await api.send("POST", "/workflows/a/trigger", headers={"Idempotency-Key": "6"})).problem(409)

    async def test_the_key_of_another_body(self, api: Client) -> None:
        await api.send("POST", "/workflows", json=BODY, headers=KEY)
        (await api.send("POST", "/workflows", json={**BODY, "workflowId": "b"}, headers=KEY)).problem(422)

    async def test_the_same_key_elsewhere_is_another_key(self, api: Client) -> None:
        await api.create("a")
        await api.create("b")
        one = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        other = await api.send("POST", "/workflows/b/trigger", headers=KEY)
        assert one.body["executionId"] != other.body["executionId"]

    async def test_what_was_refused_may_be_tried_again(self, api: Client, store: MemoryStore, clock: Clock) -> None:
        await api.create("a")
        running = await api.trigger("a")
        (await api.send("POST", "/workflows/a/trigger", headers=KEY)).problem(409)
        store.executions.apply(
            Ended(execution_id=running, workflow_id="a", status=Status.CANCELLED, at=clock.now, reason="asked")
        )
        assert (await api.send("POST", "/workflows/a/trigger", headers=KEY)).status == 202

    async def test_what_was_refused_may_be_mended(self, api: Client) -> None:
        (await api.send("POST", "/workflows", json={**BODY, "actions": []}, headers=KEY)).problem(400)
        assert (await api.send("POST", "/workflows", json=BODY, headers=KEY)).status == 201

    async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
        self, api: Client, store: MemoryStore, clock: Clock
    ) -> None:
        await api.create("a")
        keep = store.idempotency.keep

        async def away(*_: Any) -> None:
            raise StoreUnavailable("connection refused")

        store.idempotency.keep = away  # type: ignore[method-assign]
        first = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        assert first.status == 202
        store.idempotency.keep = keep  # type: ignore[method-assign]
        clock.move(31)
        again = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        assert again.body == first.body
        assert len(store.executions.documents) == 1

    @pytest.mark.parametrize("step", ["release", "leave"])
    async def test_a_key_that_cannot_be_let_go_hides_no_refusal(self, api: Client, store: MemoryStore, step: str) -> None:
        await api.create("a")
        if step == "release":
            await api.trigger("a")

        async def away(*_: Any) -> None:
            raise StoreUnavailable("the second failure")

        setattr(store.idempotency, step, away)
        if step == "leave":
            store.executions.admit = away
        answer = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        answer.problem(409 if step == "release" else 503)

    async def test_at_the_same_time(self, api: Client, store: MemoryStore) -> None:
        await api.create("a")
        answers = await asyncio.gather(*(api.send("POST", "/workflows/a/trigger", headers=KEY) for _ in range(5)))
        assert sorted({answer.status for answer in answers}) in ([202], [202, 409])
        assert all(answer.headers["Retry-After"] for answer in answers if answer.status == 409)
        assert len(store.executions.documents) == 1

    async def test_a_crash_before_the_answer_is_kept_starts_nothing_twice(
        self, api: Client, store: MemoryStore, clock: Clock, requests: FakeTopic
    ) -> None:
        await api.create("a")
        first = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        # As if the process had died before it kept the answer.
        (key,) = store.idempotency.keys
        store.idempotency.keys[key] = replace(store.idempotency.keys[key], answer=None)
        (await api.send("POST", "/workflows/a/trigger", headers=KEY)).problem(409)
        clock.move(31)
        again = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        assert again.body == first.body
        assert len(store.executions.documents) == len(requests.sent) == 1

    async def test_an_insert_that_is_carried_out_unacknowledged_is_not_made_again(
        self, api: Client, store: MemoryStore, clock: Clock, requests: FakeTopic
    ) -> None:
        await api.create("a")
        admit = store.executions.admit

        async def unacknowledged(admission: Admission) -> None:
            await admit(admission)
            raise StoreUnavailable("timed out")

        store.executions.admit = unacknowledged
        (await api.send("POST", "/workflows/a/trigger", headers=KEY)).problem(503)
        store.executions.admit = admit
        (started,) = store.executions.documents
        store.executions.apply(
            Ended(execution_id=started, workflow_id="a", status=Status.CANCELLED, at=clock.now, reason="asked")
        )
        clock.move(1)
        again = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        assert (again.status, again.body["executionId"]) == (202, started)
        assert list(store.executions.documents) == [started]

    async def test_a_refusal_does_not_forget_what_an_earlier_request_may_have_started(
        self, api: Client, store: MemoryStore, clock: Clock
    ) -> None:
        await api.create("a")
        running = await api.trigger("a")
        admit = store.executions.admit
        lost = []

        async def delayed(admission: Admission) -> None:
            lost.append(admission)
            raise StoreUnavailable("timed out")

        store.executions.admit = delayed
        (await api.send("POST", "/workflows/a/trigger", headers=KEY)).problem(503)
        store.executions.admit = admit
        clock.move(1)
        (await api.send("POST", "/workflows/a/trigger", headers=KEY)).problem(409)
        store.executions.apply(
            Ended(execution_id=running, workflow_id="a", status=Status.CANCELLED, at=clock.now, reason="asked")
        )
        await admit(lost[0])
        clock.move(1)
        again = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        assert (again.status, again.body["executionId"]) == (202, lost[0].execution_id)

    async def test_what_is_accepted_long_after_it_was_first_asked_for_has_all_of_its_time(
        self, api: Client, store: MemoryStore, clock: Clock
    ) -> None:
        await api.create("a", timeout="1m")
        admit = store.executions.admit

        async def away(admission: Admission) -> None:
            raise StoreUnavailable("connection refused")

        store.executions.admit = away
        (await api.send("POST", "/workflows/a/trigger", headers=KEY)).problem(503)
        store.executions.admit = admit
        clock.move(3600)
        await api.send("POST", "/workflows/a/trigger", headers=KEY)
        (started,) = store.executions.documents.values()
        assert started.deadline == clock.now + timedelta(minutes=1)
        assert started.requested_at == clock.now, "or it would count as lost on its way to a runner"

    async def test_a_request_that_is_broken_off_may_be_repeated_at_once(
        self, api: Client, store: MemoryStore, clock: Clock
    ) -> None:
        """A process that shuts down cancels what it is carrying out."""
        await api.create("a")
        admit = store.executions.admit

        async def broken_off(admission: Admission) -> None:
            await admit(admission)
            raise asyncio.CancelledError

        store.executions.admit = broken_off
        with pytest.raises(aiohttp.ClientError):
            await api.send("POST", "/workflows/a/trigger", headers=KEY)
        store.executions.admit = admit
        clock.move(1)
        again = await api.send("POST", "/workflows/a/trigger", headers=KEY)
        assert (again.status, [again.body["executionId"]]) == (202, list(store.executions.documents))

    @pytest.mark.parametrize("key", ["", "x" * 256, "with blank"])
    async def test_what_is_no_key(self, api: Client, key: str) -> None:
        await api.create("a")
        answer = await api.send("POST", "/workflows/a/trigger", headers={"Idempotency-Key": key})
        assert answer.fields() == [idempotency.HEADER]


class TestIfMatch:
    @pytest.mark.parametrize("weakened", ["", "W/"])  # by a proxy that compresses
    async def test_the_version_that_was_read(self, api: Client, weakened: str) -> None:
        await api.create("a")
        read = await api.get("/workflows/a")
        assert read.headers["ETag"] == '"1"'
        condition = {"If-Match": weakened + read.headers["ETag"]}
        changed = await api.send("PUT", "/workflows/a", json=BODY, headers=condition)
        assert changed.headers["ETag"] == '"2"'
        (await api.send("PUT", "/workflows/a", json=BODY, headers=condition)).problem(412)

    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    async def test_somebody_was_faster(self, api: Client, method: str) -> None:
        await api.create("a")
        await api.send("PUT", "/workflows/a", json=BODY)
        answer = await api.send(method, "/workflows/a", json=BODY, headers={"If-Match": '"1"'})
        answer.problem(412)
        assert answer.headers["ETag"] == '"2"'
        assert (await api.get("/workflows/a")).body["version"] == 2

    async def test_somebody_was_faster_than_who_goes_back(self, api: Client) -> None:
        await api.create("a")
        await api.send("PUT", "/workflows/a", json=BODY)
        back = {"version": 1}
        answer = await api.send("POST", "/workflows/a/rollback", json=back, headers={"If-Match": '"1"'})
        answer.problem(412)
        answer = await api.send("POST", "/workflows/a/rollback", json=back, headers={"If-Match": '"2"'})
        assert (answer.status, answer.headers["ETag"]) == (200, '"3"')

    async def test_somebody_was_faster_between_the_look_and_the_archiving(self, api: Client, store: MemoryStore) -> None:
        await api.create("a")
        archive = store.workflows.archive

        async def late(workflow_id: str, at: Any, **more: Any) -> bool:
            await api.send("PUT", "/workflows/a", json=BODY)
            return await archive(workflow_id, at, **more)

        store.workflows.archive = late  # type: ignore[method-assign]
        (await api.send("DELETE", "/workflows/a", headers={"If-Match": '"1"'})).problem(412)
        assert (await api.get("/workflows/a")).body["version"] == 2

    @pytest.mark.parametrize("value", ["*", '"7", "1"', '"7", W/"1"'])
    async def test_one_of_several_or_any(self, api: Client, value: str) -> None:
        await api.create("a")
        assert (await api.send("PUT", "/workflows/a", json=BODY, headers={"If-Match": value})).status == 200

    @pytest.mark.parametrize("header", ["If-Match", "If-None-Match"])
    @pytest.mark.parametrize("value", ["1", "W/1", "W/*", 'w/"1"', "one", "", '"1', '"1",'])
    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    async def test_what_is_no_etag_is_no_change_of_somebody_else(
        self, api: Client, method: str, value: str, header: str
    ) -> None:
        await api.create("a")
        answer = await api.send(method, "/workflows/a", json=BODY, headers={header: value})
        assert answer.fields() == [header]
        assert 'in quotes, as in "1"' in answer.body["errors"][0]["message"]
        assert (await api.get("/workflows/a")).body["version"] == 1

    @pytest.mark.parametrize("value", ["*", '"7", "1"', 'W/"1"'])
    @pytest.mark.parametrize("method", ["PUT", "DELETE"])
    async def test_what_must_not_be_there(self, api: Client, method: str, value: str) -> None:
        await api.create("a")
        answer = await api.send(method, "/workflows/a", json=BODY, headers={"If-None-Match": value})
        assert "If-None-Match" in answer.problem(412)["detail"]
        assert answer.headers["ETag"] == '"1"'
        assert (await api.get("/workflows/a")).body["version"] == 1

    async def test_what_may_be_there(self, api: Client) -> None:
        await api.create("a")
        assert (await api.send("PUT", "/workflows/a", json=BODY, headers={"If-None-Match": '"2"'})).status == 200

    async def test_it_is_not_required(self, api: Client) -> None:
        await api.create("a")
        assert (await api.send("PUT", "/workflows/a", json=BODY)).status == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/workflows?validate=true"),
        ("PUT", "/workflows/a?dryRun=true"),
        ("DELETE", "/workflows/a?version=7"),
        ("POST", "/workflows/a/trigger?wait=30s"),
        ("POST", "/schedules/preview?count=3"),
    ],
)
async def test_a_change_is_not_made_where_its_address_asks_for_what_is_not_known(
    api: Client, requests: FakeTopic, method: str, path: str
) -> None:
    await api.create("a")
    answer = await api.send(method, path, json=BODY if "/trigger" not in path and method != "DELETE" else None)
    assert answer.fields() == [path.partition("?")[2].partition("=")[0]]
    assert (await api.get("/workflows/a")).body["version"] == 1
    assert not requests.sent


IN_PATH = {
    "workflowId": "a",
    "executionId": "01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f",
    "backfillId": "01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f",
    "version": "1",
    "letterId": "0-1",
    "asset": "swagger-ui.css",
    "name": "NAME",
}


async def test_no_read_passes_over_a_parameter_that_it_does_not_know(api: Client) -> None:
    await api.create("a")
    paths = (await api.get("/openapi.json")).body["paths"]
    refusing = {
        path.format_map(IN_PATH)
        for path, found in paths.items()
        if "400" in found.get("get", {"responses": ""})["responses"]
    }
    assert len(refusing) > 20
    for path in refusing:
        for name in ("versoin", "full"):
            assert (await api.get(f"{path}?{name}=1")).fields() == [name], path
    assert (await api.send("GET", "/health?probe=1")).status == 200


class TestRequestId:
    @pytest.mark.parametrize("path", ["/workflows", "/health", "/nothing", "/docs/swagger-ui.css", "/workflows/none"])
    async def test_every_answer_has_one(self, api: Client, path: str) -> None:
        async with api.session.get(api.server.make_url(path)) as response:
            assert re.fullmatch("[0-9a-f]{16}", response.headers["X-Request-Id"])

    async def test_that_of_the_caller_is_taken(self, api: Client) -> None:
        answer = await api.send("GET", "/workflows/none", headers={"X-Request-Id": "trace/7:a"})
        assert answer.headers["X-Request-Id"] == "trace/7:a"
        assert answer.problem(404)["requestId"] == "trace/7:a"

    @pytest.mark.parametrize("given", ["two words", "x" * 101, 'quote"'])
    async def test_unless_it_is_insane(self, api: Client, given: str) -> None:
        answer = await api.send("GET", "/health", headers={"X-Request-Id": given})
        assert answer.status == 400 or answer.headers["X-Request-Id"] != given


@pytest.mark.parametrize(
    ("path", "work"),
    [
        ("/workflows/a/dry-run", "apps.workflows.v1.workflows.dry_run"),
        ("/workflows/validate", "apps.workflows.v1.validation.documents"),
    ],
)
async def test_what_takes_long_to_work_out_holds_nobody_up(
    api: Client, monkeypatch: pytest.MonkeyPatch, path: str, work: str
) -> None:
    await api.create("a")
    began, others_are_answered = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    found = []

    def take_long(*_: Any, **__: Any) -> Any:
        loop.call_soon_threadsafe(began.set)
        found.append(others_are_answered.wait(30))
        raise FlawedFile(Flaw("definition", None, "over"))

    monkeypatch.setattr(work, take_long)
    working = asyncio.create_task(api.send("POST", path, json=BODY if "validate" in path else {}))
    await began.wait()
    assert (await api.get("/workflows/a")).status == 200
    others_are_answered.set()
    await working
    assert found == [True]


async def test_large_answers_are_compressed_for_those_who_can_read_it(api: Client) -> None:
    await api.create("a", actions=[{"type": "log", "message": "x" * 3000}])
    plain = await api.send("GET", "/workflows/a", headers={"Accept-Encoding": "identity"})
    packed = await api.send("GET", "/workflows/a", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in plain.headers
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == "Accept-Encoding"
    assert packed.body == plain.body
    small = await api.send("GET", "/session", headers={"Accept-Encoding": "gzip"})
    assert "Content-Encoding" not in small.headers


PREFLIGHT = {
    "Origin": "https://ui.example.org",
    "Access-Control-Request-Method": "PUT",
    "Access-Control-Request-Headers": "content-type, authorization",
}


class TestOtherOrigins:
    async def test_none_is_allowed_unless_it_is_named(self, api: Client) -> None:
        answer = await api.send("GET", "/workflows", headers={"Origin": "https://ui.example.org"})
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert (await api.send("OPTIONS", "/workflows/a", headers=PREFLIGHT)).status == 405

    @pytest.fixture
    def open_app(self, tmp_path: Any, store: MemoryStore, clock: Clock) -> WorkflowsApp:
        settings = WorkflowsSettings(data_dir=tmp_path, auth="tokens", cors_origins="https://ui.example.org")
        app = create_app(settings, store=store)  # type: ignore[arg-type]
        app.web.init_server()
        return app

    async def test_one_that_is_named(self, open_app: WorkflowsApp, api: Client) -> None:
        async with TestServer(open_app.web.web_app) as server:
            url = server.make_url("/v1/workflows/a")
            async with api.session.options(url, headers=PREFLIGHT) as response:
                assert response.status == 200, await response.text()
                assert response.headers["Access-Control-Allow-Origin"] == "https://ui.example.org"
                assert "PUT" in response.headers["Access-Control-Allow-Methods"]
                assert "Access-Control-Allow-Credentials" not in response.headers
            async with api.session.get(url, headers={"Origin": "https://ui.example.org"}) as response:
                assert response.status == 401
                assert response.headers["Access-Control-Allow-Origin"] == "https://ui.example.org"
                assert "Origin" in response.headers["Vary"]  # to one origin, a cache must not give what another one may read
