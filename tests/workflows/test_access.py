"""Who may do what: every route as nobody, viewer, operator and admin; browsers; what is turned away without tokens."""

import asyncio
import re
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from apps import access
from apps.runner.app import create_app as create_runner
from apps.runner.settings import RunnerSettings
from apps.scheduler.app import create_app as create_scheduler
from apps.scheduler.settings import SchedulerSettings
from apps.service import Exposed
from apps.workflows.app import WorkflowsApp, create_app
from apps.workflows.settings import WorkflowsSettings
from apps.workflows.v1 import stream
from apps.workflows.v1.tokens import TokenBody, make
from domain.access import Scope
from tests.workflows.client import LOG, Client
from tests.workflows.clock import START, Clock
from tests.workflows.memory import MemoryStore

PUBLIC, VIEWER, OPERATOR, ADMIN = Scope.PUBLIC, Scope.VIEWER, Scope.OPERATOR, Scope.ADMIN

# Every route there is, and what it asks for. A new one is added here by whoever adds it, on purpose.
ROUTES = {
    "workflows": {
        "GET /": VIEWER,
        "GET /workflows": VIEWER,
        "POST /workflows": OPERATOR,
        "GET /workflows/{workflow_id}": VIEWER,
        "PUT /workflows/{workflow_id}": OPERATOR,
        "DELETE /workflows/{workflow_id}": OPERATOR,
        "POST /workflows/{workflow_id}/trigger": OPERATOR,
        "POST /workflows/{workflow_id}/webhook": PUBLIC,
        "POST /workflows/{workflow_id}/dry-run": VIEWER,
        "POST /workflows/validate": VIEWER,
        "GET /workflows/{workflow_id}/versions": VIEWER,
        "GET /workflows/{workflow_id}/versions/{version}": VIEWER,
        "POST /workflows/{workflow_id}/rollback": OPERATOR,
        "POST /executions/{execution_id}/retry": OPERATOR,
        "POST /executions/{execution_id}/run-again": OPERATOR,
        "GET /events/stream": VIEWER,
        "GET /system": VIEWER,
        "GET /ui/{digest}/{path}": VIEWER,
        "GET /secrets": VIEWER,
        "PUT /secrets/{name}": ADMIN,
        "DELETE /secrets/{name}": ADMIN,
        "POST /secrets-rotation": ADMIN,
        "GET /vars": VIEWER,
        "GET /vars/{name}": VIEWER,
        "PUT /vars/{name}": OPERATOR,
        "DELETE /vars/{name}": OPERATOR,
        "GET /workflows/{workflow_id}/schedule": VIEWER,
        "GET /workflows/{workflow_id}/occurrences": VIEWER,
        "POST /workflows/{workflow_id}/pause": OPERATOR,
        "POST /workflows/{workflow_id}/resume": OPERATOR,
        "POST /schedules/preview": VIEWER,
        "GET /schedules/upcoming": VIEWER,
        "POST /workflows/{workflow_id}/backfill": OPERATOR,
        "GET /workflows/{workflow_id}/backfills": VIEWER,
        "GET /workflows/{workflow_id}/backfills/{backfill_id}": VIEWER,
        "POST /workflows/{workflow_id}/backfills/{backfill_id}/cancel": OPERATOR,
        "GET /executions": VIEWER,
        "GET /executions/{execution_id}": VIEWER,
        "POST /executions/{execution_id}/cancel": OPERATOR,
        "POST /executions/{execution_id}/signals/{name}": OPERATOR,
        "GET /dead-letters": VIEWER,
        "GET /dead-letters/{letter_id}": VIEWER,
        "POST /dead-letters/{letter_id}/resend": OPERATOR,
        "GET /tokens": ADMIN,
        "POST /tokens": ADMIN,
        "DELETE /tokens/{token_id}": ADMIN,
        "GET /audit": ADMIN,
        "GET /session": VIEWER,
        "GET /login": PUBLIC,
        "POST /login": PUBLIC,
        "GET /login/{asset}": PUBLIC,
        "POST /logout": VIEWER,
        "GET /openapi.json": VIEWER,
        "GET /asyncapi.json": VIEWER,
        "GET /schemas/workflow.json": VIEWER,
        "GET /docs": VIEWER,
        "GET /docs/{asset}": VIEWER,
        "GET /health": PUBLIC,
        "GET /ready": PUBLIC,
        "GET /metrics": VIEWER,
    },
    "scheduler": {
        "GET /": VIEWER,
        "GET /agenda": VIEWER,
        "GET /health": PUBLIC,
        "GET /ready": PUBLIC,
        "GET /metrics": VIEWER,
        "GET /router/": VIEWER,
        "GET /router/topics": VIEWER,
        "GET /router/{name}/": VIEWER,
        "GET /router/{name}/{key}/": VIEWER,
    },
    "runner": {
        "GET /": VIEWER,
        "GET /busy": VIEWER,
        "GET /busy/{workflow_id}": VIEWER,
        "GET /health": PUBLIC,
        "GET /ready": PUBLIC,
        "GET /metrics": VIEWER,
        "GET /router/": VIEWER,
        "GET /router/topics": VIEWER,
        "GET /router/{name}/": VIEWER,
        "GET /router/{name}/{key}/": VIEWER,
    },
}


def token(store: MemoryStore, scope: Scope, **more: Any) -> str:
    text, made = make(TokenBody(name=scope.value, scope=scope), now=START, entropy=scope.value.encode().ljust(40, b"x"))
    store.tokens.documents[made.token_id] = made
    return text


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture
def settings(tmp_path: Any) -> dict[str, Any]:
    return {"data_dir": tmp_path, "auth": "tokens"}


@pytest.fixture
def app(settings: Any, store: MemoryStore, clock: Clock) -> WorkflowsApp:
    app = create_app(WorkflowsSettings(**settings), store=store)  # type: ignore[arg-type]
    app.clock = app.gate._now = clock
    app.request_execution = app.announce_change = _published  # type: ignore[assignment]
    app.web.init_server()
    return app


async def _published(workflow_id: str, event: Any) -> bool:
    return True


def routes_of(app: Any) -> set[tuple[str, str]]:
    return {
        (route.method, route.resource.canonical)
        for route in app.web.web_app.router.routes()
        if route.method != "HEAD" and not route.resource.canonical.startswith("/v1/")
    }


@pytest.fixture
def services(app: WorkflowsApp, settings: Any, store: MemoryStore) -> dict[str, Any]:
    made: dict[str, Any] = {
        "workflows": app,
        "scheduler": create_scheduler(SchedulerSettings(**settings)),
        "runner": create_runner(RunnerSettings(**settings)),
    }
    for name in ("scheduler", "runner"):
        made[name].store = store
        made[name].gate._now = lambda: START
        made[name].web.init_server()
    return made


@pytest.mark.parametrize("service", ROUTES)
def test_every_route_is_in_the_table(services: dict[str, Any], service: str) -> None:
    assert {f"{method} {path}" for method, path in routes_of(services[service])} == set(ROUTES[service])


@pytest.mark.parametrize("service", ROUTES)
async def test_every_route_as_everybody(services: dict[str, Any], store: MemoryStore, service: str) -> None:
    callers: dict[Scope, dict[str, str]] = {PUBLIC: {}}
    callers |= {scope: bearer(token(store, scope)) for scope in (VIEWER, OPERATOR, ADMIN)}
    prefixes = ("", "/v1") if service == "workflows" else ("",)
    views = services[service].web.views
    async with TestServer(services[service].web.web_app) as server, aiohttp.ClientSession() as session:
        for route, needed in ROUTES[service].items():
            method, path = route.split()
            address = re.sub(r"\{\w+\}", "nothing-of-that-name", path)
            for prefix in prefixes:
                if prefix and prefix + path not in views:
                    continue
                for scope, headers in callers.items():
                    url = server.make_url(prefix + address)
                    async with session.request(method, url, headers=headers, allow_redirects=False) as response:
                        # What is followed has no end.
                        endless = path == "/events/stream" and response.status == 200
                        body = b"" if endless else await response.read()
                    what = f"{method} {url.path} as {scope.value}: {response.status} {body[:200]!r}"
                    if scope.covers(needed):
                        assert response.status not in (401, 403) or path == "/login", what
                    elif scope is PUBLIC:
                        assert response.status == 401, what
                        assert response.headers["WWW-Authenticate"].startswith("Bearer"), what
                    else:
                        assert response.status == 403, what
                        assert needed.value.encode() in body, what


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer "},
        {"Authorization": "Bearer wf_0000000000000000_" + "a" * 43},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"Cookie": "wf_session=wf_0000000000000000_" + "a" * 43},
        {"Cookie": "wf_session=nonsense"},
    ],
)
async def test_what_is_no_token_opens_nothing(api: Client, headers: dict[str, str]) -> None:
    (await api.send("GET", "/workflows", headers=headers)).problem(401)


async def test_the_right_id_with_a_wrong_secret_opens_nothing(api: Client, store: MemoryStore) -> None:
    text = token(store, ADMIN)
    wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
    (await api.send("GET", "/workflows", headers=bearer(wrong))).problem(401)
    assert (await api.send("GET", "/workflows", headers=bearer(text))).status == 200


@pytest.mark.parametrize(("length", "seconds"), [("1h", 3_600), ("1d", 86_400)])
async def test_expiry(length: str, seconds: int, api: Client, store: MemoryStore, clock: Clock) -> None:
    admin = bearer(token(store, ADMIN))
    body = {"name": "for a time", "scope": "viewer", "expiresIn": length}
    made = (await api.send("POST", "/tokens", json=body, headers=admin)).body
    clock.move(seconds - 1)
    assert (await api.send("GET", "/workflows", headers=bearer(made["token"]))).status == 200
    clock.move(2)
    (await api.send("GET", "/workflows", headers=bearer(made["token"]))).problem(401)


async def test_a_token_is_shown_once_and_revoked(api: Client, app: WorkflowsApp, store: MemoryStore) -> None:
    admin = bearer(token(store, ADMIN))
    made = await api.send("POST", "/tokens", json={"name": "ci", "scope": "operator"}, headers=admin)
    assert made.status == 201
    secret = made.body["token"]
    listed = await api.send("GET", "/tokens", headers=admin)
    assert secret not in str(listed.body)
    assert "digest" not in str(listed.body)
    assert secret not in str(store.tokens.documents)
    assert (await api.send("GET", "/session", headers=bearer(secret))).body["scope"] == "operator"
    assert (await api.send("DELETE", f"/tokens/{made.body['tokenId']}", headers=admin)).status == 204
    app.gate._believed.clear()  # as after five seconds
    (await api.send("GET", "/session", headers=bearer(secret))).problem(401)
    (await api.send("DELETE", f"/tokens/{made.body['tokenId']}", headers=admin)).problem(404)


async def test_a_stream_ends_with_the_token_and_not_with_the_database(
    api: Client, app: WorkflowsApp, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "HEARTBEAT", 0.02)
    admin = bearer(token(store, ADMIN))
    made = (await api.send("POST", "/tokens", json={"name": "screen"}, headers=admin)).body
    url = api.server.make_url("/v1/events/stream")
    async with api.session.get(url, headers=bearer(made["token"])) as response:
        async for line in response.content:
            if line == b": still here\n":
                break
        store.network.down = True
        app.gate._believed.clear()  # as after five seconds
        async for line in response.content:
            if line == b": still here\n":
                break
        store.network.down = False
        await api.send("DELETE", f"/tokens/{made['tokenId']}", headers=admin)
        app.gate._believed.clear()
        await asyncio.wait_for(response.content.read(), 10)


async def test_the_same_idempotency_key_of_another_caller_is_another_key(api: Client, store: MemoryStore) -> None:
    one, other = ({**bearer(token(store, scope)), "Idempotency-Key": "1"} for scope in (ADMIN, OPERATOR))
    body = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG]}
    assert (await api.send("POST", "/workflows", json=body, headers=one)).status == 201
    assert (await api.send("POST", "/workflows", json=body, headers=one)).headers["Idempotency-Replayed"] == "true"
    (await api.send("POST", "/workflows", json=body, headers=other)).problem(409)


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "name"), ({"name": "a", "scope": "root"}, "scope"), ({"name": "a", "scope": "public"}, "scope")],
)
async def test_a_token_that_cannot_be(api: Client, store: MemoryStore, body: Any, field: str) -> None:
    admin = bearer(token(store, ADMIN))
    assert (await api.send("POST", "/tokens", json=body, headers=admin)).fields() == [field]


async def test_a_token_is_looked_up_once_for_many_requests(api: Client, store: MemoryStore) -> None:
    viewer = bearer(token(store, VIEWER))
    for _ in range(20):
        await api.send("GET", "/session", headers=viewer)
    assert store.tokens.reads == 1


async def test_without_the_database_nobody_is_let_in(api: Client, store: MemoryStore) -> None:
    viewer = bearer(token(store, VIEWER))
    store.network.down = True
    (await api.send("GET", "/session", headers=viewer)).problem(503)


class TestBrowser:
    async def log_in(self, api: Client, text: str) -> Any:
        return await api.send("POST", "/login", json={"token": text})

    async def test_cookies(self, api: Client, store: MemoryStore) -> None:
        answer = await self.log_in(api, token(store, OPERATOR))
        cookies = {each.split("=")[0]: each for each in answer.headers.getall("Set-Cookie")}
        assert "HttpOnly" in cookies["wf_session"]
        assert all("SameSite=Strict" in each and "Path=/" in each for each in cookies.values())
        assert "HttpOnly" not in cookies["wf_csrf"]
        assert all("Max-Age=43200" in each for each in cookies.values())

    @pytest.mark.parametrize(("scheme", "is_secure"), [("https", True), ("http", False), (None, False)])
    async def test_cookies_behind_a_proxy_that_ends_encryption_are_sent_over_nothing_else(
        self, api: Client, store: MemoryStore, scheme: str | None, is_secure: bool
    ) -> None:
        headers = {"X-Forwarded-Proto": scheme} if scheme else {}
        answer = await api.send("POST", "/login", json={"token": token(store, OPERATOR)}, headers=headers)
        assert [each for each in answer.headers.getall("Set-Cookie") if ("Secure" in each) is not is_secure] == []

    async def test_a_form_with_a_wrong_token_is_shown_again(self, api: Client) -> None:
        form = aiohttp.FormData({"token": "wf_0000000000000000_" + "a" * 43, "next": "/executions"})
        async with api.session.post(api.server.make_url("/login"), data=form, allow_redirects=False) as response:
            page = await response.text()
            assert (response.status, response.content_type) == (401, "text/html")
            assert "Set-Cookie" not in response.headers
            assert "unknown, revoked or expired" in page
            assert 'value="/executions"' in page

    async def test_a_key_makes_no_login_and_no_logout_a_repetition_without_cookies(
        self, api: Client, app: WorkflowsApp, store: MemoryStore
    ) -> None:
        admin = bearer(token(store, ADMIN))
        made = (await api.send("POST", "/tokens", json={"name": "for a while"}, headers=admin)).body
        key, body = {"Idempotency-Key": "1"}, {"token": made["token"]}
        for _ in range(2):
            answer = await api.send("POST", "/login", json=body, headers=key)
            assert (answer.status, len(answer.headers.getall("Set-Cookie"))) == (200, 2)
        for _ in range(2):
            answer = await api.send("POST", "/logout", headers={**admin, **key})
            assert (answer.status, len(answer.headers.getall("Set-Cookie"))) == (204, 2)
        await api.send("DELETE", f"/tokens/{made['tokenId']}", headers=admin)
        app.gate._believed.clear()  # as after five seconds
        (await api.send("POST", "/login", json=body, headers=key)).problem(401)
        assert not store.idempotency.keys, "nothing about sessions is stored"

    async def test_reading_needs_the_cookie_and_changing_the_header_as_well(self, api: Client, store: MemoryStore) -> None:
        text = token(store, OPERATOR)
        answer = await self.log_in(api, text)
        cookie = {"Cookie": f"wf_session={text}"}
        body = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG]}
        assert (await api.send("GET", "/workflows", headers=cookie)).status == 200
        (await api.send("POST", "/workflows", json=body, headers=cookie)).problem(403)
        (await api.send("POST", "/workflows", json=body, headers={**cookie, "X-CSRF-Token": "0" * 64})).problem(403)
        good = {**cookie, "X-CSRF-Token": answer.body["csrfToken"]}
        assert (await api.send("POST", "/workflows", json=body, headers=good)).status == 201

    async def test_a_header_that_is_no_text_is_a_wrong_one(self, api: Client, store: MemoryStore) -> None:
        reader, writer = await asyncio.open_connection(api.server.host, api.server.port)
        head = f"POST /logout HTTP/1.1\r\nHost: a\r\nConnection: close\r\nCookie: wf_session={token(store, OPERATOR)}\r\n"
        writer.write(head.encode() + b"Content-Length: 0\r\nX-CSRF-Token: \xff\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.1 403 ")
        writer.close()

    @pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded"])
    async def test_more_than_a_token_is_not_looked_at(self, api: Client, kind: str) -> None:
        """Anybody may send it, and to take it apart holds up all others."""
        body = b'{"token": [' + b"[]," * 6_000 + b"[]]}" if "json" in kind else b"a=1&" * 4_500
        told = (await api.send("POST", "/login", data=body, headers={"Content-Type": kind})).problem(400)
        assert "longer than 16384 bytes" in told["detail"]

    async def test_a_wrong_token_logs_nobody_in(self, api: Client) -> None:
        answer = await self.log_in(api, "wf_0000000000000000_" + "a" * 43)
        answer.problem(401)
        assert "Set-Cookie" not in answer.headers

    @pytest.mark.parametrize(
        ("target", "location"),
        [
            ("/executions?x=1", "/executions?x=1"),
            ("/", "/"),
            ("", "/"),
            ("//evil.example", "/"),
            ("///evil.example", "/"),
            ("https://evil.example", "/"),
            ("https:evil", "/"),
            ("javascript:alert(1)", "/"),
            ("/\\evil", "/"),
            ("\\/evil", "/"),
            ("executions", "/"),
            ("/\t/evil.example", "/"),
            ("/a\r\nSet-Cookie: x=1", "/"),
            ("//[evil", "/"),
        ],
    )
    async def test_the_form_leads_back_and_never_elsewhere(
        self, api: Client, store: MemoryStore, target: str, location: str
    ) -> None:
        form = aiohttp.FormData({"token": token(store, VIEWER), "next": target})
        url = api.server.make_url("/login?next=%2Fdocs")  # the page sends its form to its own address
        async with api.session.post(url, data=form, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, location)

    async def test_a_page_is_answered_by_the_way_to_log_in(self, api: Client) -> None:
        url = api.server.make_url("/docs?x=1")
        async with api.session.get(url, headers={"Accept": "text/html"}, allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (303, "/login?next=%2Fdocs%3Fx%3D1")

    async def test_log_out(self, api: Client, store: MemoryStore) -> None:
        text = token(store, VIEWER)
        csrf = (await self.log_in(api, text)).body["csrfToken"]
        headers = {"Cookie": f"wf_session={text}", "X-CSRF-Token": csrf}
        answer = await api.send("POST", "/logout", headers=headers)
        assert answer.status == 204
        assert all("Max-Age=0" in each for each in answer.headers.getall("Set-Cookie"))


class TestWithoutTokens:
    @pytest.fixture
    def settings(self, tmp_path: Any) -> dict[str, Any]:
        return {"data_dir": tmp_path}

    async def test_everybody_on_the_machine_may_do_everything(self, api: Client) -> None:
        await api.create("a")
        assert (await api.get("/session")).body["scope"] == "admin"

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[::1"])
    async def test_pages_of_other_sites_change_nothing(self, api: Client, origin: str) -> None:
        await api.create("a")
        (await api.send("POST", "/workflows/a/trigger", headers={"Origin": origin})).problem(403)

    async def test_our_own_pages_do(self, api: Client) -> None:
        await api.create("a")
        headers = {"Origin": str(api.server.make_url("/")).rstrip("/")}
        assert (await api.send("POST", "/workflows/a/trigger", headers=headers)).status == 202

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "[", "localhost.evil"])
    async def test_a_foreign_name_that_points_here_reaches_nothing(self, api: Client, host: str) -> None:
        assert (await api.send("GET", "/workflows", headers={"Host": host})).status in (400, 403)

    @pytest.mark.parametrize("host", ["localhost:8081", "127.0.0.1", "[::1]:8081"])
    async def test_names_of_this_machine(self, api: Client, host: str) -> None:
        assert (await api.send("GET", "/workflows", headers={"Host": host})).status == 200


@pytest.mark.parametrize("create", [create_scheduler, create_runner, create_app])
@pytest.mark.parametrize(
    ("host", "auth", "starts"),
    [
        ("127.0.0.1", "none", True),
        ("localhost", "none", True),
        ("0.0.0.0", "none", False),
        ("10.1.2.3", "none", False),
        ("0.0.0.0", "tokens", True),
        ("0.0.0.0", "open", True),
    ],
)
async def test_a_service_does_not_serve_everybody_by_accident(
    tmp_path: Any, create: Any, host: str, auth: str, starts: bool
) -> None:
    kinds: Any = {create_scheduler: SchedulerSettings, create_runner: RunnerSettings, create_app: WorkflowsSettings}
    folder = tmp_path / "not" / "there"
    app = create(kinds[create](data_dir=folder, web_host=host, auth=auth))
    if starts:
        await app.on_first_start()
        assert folder.is_dir()
    else:
        with pytest.raises(Exposed, match="AUTH=tokens"):
            await app.on_first_start()


async def test_a_signal_says_who_sent_it(api: Client, store: MemoryStore) -> None:
    operator = bearer(token(store, OPERATOR))
    wait = {"type": "wait-for-signal", "actionId": "approve"}
    body = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [wait]}
    await api.send("POST", "/workflows", json=body, headers=operator)
    started = (await api.send("POST", "/workflows/a/trigger", headers=operator)).body["executionId"]
    path = f"/executions/{started}/signals/approve"
    assert (await api.send("POST", path, headers=operator)).body["sender"] == "operator"
    admin = bearer(token(store, ADMIN))
    assert (await api.send("POST", path, headers=admin)).body["sender"] == "operator"  # who sent it first
    (entry,) = (await api.send("GET", "/audit?operation=signalExecution", headers=admin)).body["items"]
    assert (entry["who"], entry["path"]) == ("operator", path)


async def test_every_change_is_in_the_audit_log(api: Client, store: MemoryStore, clock: Clock) -> None:
    operator, admin = bearer(token(store, OPERATOR)), bearer(token(store, ADMIN))
    body = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG], "retries": 1}
    await api.send("POST", "/workflows", json=body, headers={**operator, "X-Request-Id": "deploy-7"})
    clock.move(1)
    await api.send("PUT", "/workflows/a", json={**body, "retries": 2}, headers=operator)
    clock.move(1)
    await api.send("POST", "/workflows/a/trigger", headers=operator)
    clock.move(1)
    await api.send("POST", "/workflows/a/rollback", json={"version": 1}, headers=operator)
    clock.move(1)
    await api.send("DELETE", "/workflows/a", headers=operator)
    await api.send("PUT", "/workflows/a", json=body, headers=operator)  # refused: archived
    entries = (await api.send("GET", "/audit", headers=admin)).body["items"]
    assert [entry["operation"] for entry in entries] == [
        "archiveWorkflow",
        "rollBackWorkflow",
        "triggerWorkflow",
        "replaceWorkflow",
        "createWorkflow",
    ]
    assert {entry["who"] for entry in entries} == {"operator"}
    assert entries[1]["changes"] == [{"path": "retries", "before": 2, "after": 1}]
    assert entries[3]["changes"] == [{"path": "retries", "before": 1, "after": 2}]
    assert entries[4]["requestId"] == "deploy-7"
    assert {entry["path"] for entry in entries} == {"/workflows/a", "/workflows/a/trigger", "/workflows/a/rollback"}
    assert len((await api.send("GET", "/audit?path=/workflows/a", headers=admin)).body["items"]) == len(entries)
    assert (await api.send("GET", "/audit?path=/workflows/b", headers=admin)).body["items"] == []
    page = (await api.send("GET", "/audit?limit=1&operation=replaceWorkflow", headers=admin)).body
    assert [entry["path"] for entry in page["items"]] == ["/workflows/a"]


async def test_last_use_is_written_once_a_minute(api: Client, app: WorkflowsApp, store: MemoryStore) -> None:
    text = token(store, VIEWER)
    for _ in range(3):
        await api.send("GET", "/session", headers=bearer(text))
    (used,) = store.tokens.documents.values()
    assert used.last_used_at == START
    assert timedelta(0) == used.last_used_at - START
    assert len(app.gate._noted) == 1


async def test_a_token_for_every_job_does_not_fill_the_memory(
    api: Client, app: WorkflowsApp, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "_MOST_REMEMBERED", 3)
    for number in range(10):
        text, made = make(TokenBody(name="job", scope=VIEWER), now=START, entropy=(b"job-%d" % number).ljust(40, b"x"))
        store.tokens.documents[made.token_id] = made
        assert (await api.send("GET", "/session", headers=bearer(text))).status == 200
    assert len(app.gate._noted) <= 3
    assert [each.last_used_at for each in store.tokens.documents.values()] == [START] * 10
