"""A receiver on loopback, and what an action needs to run, without Kafka."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from actions.http.connections import Connections, HttpSettings
from actions.registry import WorkflowDefinition, run_action
from actions.running import Context, Outcome, Resources
from vault.interfaces import UnknownSecret
from vault.redaction import Redactor

LOOPBACK = ("127.0.0.0/8", "::1")
EXECUTION_ID = "019ab5d0-0000-7000-8000-000000000001"


def http_action(**fields: Any) -> Any:
    """Return an http-request action as a workflow would have it."""
    action = {"type": "http-request", "method": "GET", **fields}
    return WorkflowDefinition.model_validate(
        {"workflowId": "w", "trigger": {"type": "manual"}, "actions": [action]}
    ).actions[0]


@dataclass
class Sender:
    """Runs actions."""

    secrets: dict[str, str] = field(default_factory=dict)
    opened: list[Connections] = field(default_factory=list)

    def connections(self, **settings: Any) -> Connections:
        self.opened.append(Connections(HttpSettings(**settings)))
        return self.opened[-1]

    redactor = Redactor()

    async def get(self, name: str) -> str:
        if name not in self.secrets:
            raise UnknownSecret(name)
        return self.secrets[name]

    async def send(self, connections: Connections | None = None, *, attempt: int = 1, **fields: Any) -> Outcome:
        return await self.run(http_action(**fields), connections, attempt=attempt)

    async def run(self, action: Any, connections: Connections | None = None, *, attempt: int = 1) -> Outcome:
        return await asyncio.wait_for(run_action(action, self.context(connections, attempt=attempt)), timeout=60)

    def context(self, connections: Connections | None = None, *, attempt: int = 1) -> Context:
        if connections is None:
            connections = self.opened[0] if self.opened else self.connections(allow_hosts=LOOPBACK)
        return Context(
            execution_id=EXECUTION_ID,
            workflow_id="w",
            action_id="call",
            attempt=attempt,
            epoch=3,
            resources=Resources(http=connections, secrets=self),
        )


@pytest_asyncio.fixture
async def sender():
    sender = Sender()
    yield sender
    for connections in sender.opened:
        await connections.close()


@dataclass
class Seen:
    """A request as it arrived."""

    method: str
    path_qs: str
    headers: Any
    body: bytes


class Receiver:
    """An HTTP server; ``on`` says what a path answers."""

    def __init__(self, scheme: str = "http") -> None:
        self.scheme = scheme
        self.url = ""
        self.seen: list[Seen] = []
        self.answers: dict[str, Callable[[web.Request], Any]] = {}
        self.connections: set[Any] = set()

    def on(self, path: str, answer: Any) -> str:
        """Answer requests of ``path`` with a response or what a function makes; return the address."""
        self.answers[path] = answer
        return self.url + path

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.connections.add(request.transport)
        self.seen.append(Seen(request.method, request.path_qs, request.headers.copy(), await request.read()))
        answer = self.answers.get(request.path)
        if answer is None:
            return web.Response(text=f"hello {request.path}")
        made = answer(request)
        return await made if asyncio.iscoroutine(made) else made


async def serve(receiver: Receiver, host: str = "127.0.0.1", ssl_context: Any = None):
    app = web.Application(client_max_size=64 << 20)
    app.router.add_route("*", "/{tail:.*}", receiver.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, 0, ssl_context=ssl_context).start()
    receiver.url = f"{receiver.scheme}://{host}:{runner.addresses[0][1]}"
    return runner


@pytest_asyncio.fixture
async def receiver():
    receiver = Receiver()
    runner = await serve(receiver)
    yield receiver
    await runner.cleanup()


@pytest_asyncio.fixture
async def other():
    """Another origin."""
    receiver = Receiver()
    runner = await serve(receiver)
    yield receiver
    await runner.cleanup()


@pytest.fixture
def redirect():
    """Return an answer that redirects."""

    def make(location: str, status: int = 302):
        return lambda request: web.Response(status=status, headers={"Location": location})

    return make
