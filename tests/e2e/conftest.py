"""The whole system on the real stack: Apache Kafka, the MongoDB-compatible server and the three services.

One stack serves all tests of a session; each test uses workflow ids of its own. Nothing waits a fixed time: conditions are
polled through the public interfaces until they hold or a generous deadline has passed.
"""

import asyncio
import itertools
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

DEADLINE = 180.0  # seconds; only what never comes reaches it, on a machine however slow
SOON, SELDOM = 0.02, 0.25  # seconds between two looks; in between, a tenth of what was waited: a look costs CPU, too


async def until(condition: Callable[[], Awaitable[Any]], what: str, deadline: float = DEADLINE) -> Any:
    """Return the first true answer of ``condition``."""
    begun = time.monotonic()
    while True:
        answer = await condition()
        if answer:
            return answer
        waited = time.monotonic() - begun
        if waited > deadline:
            pytest.fail(f"not within {deadline:.0f} s: {what}; last answer {answer!r}")
        await asyncio.sleep(min(max(SOON, waited / 10), SELDOM))


@dataclass
class Api:
    """The HTTP API as a client sees it."""

    session: aiohttp.ClientSession
    url: str

    async def call(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        async with self.session.request(method, self.url + path, json=body) as response:
            text = await response.text()
            return response.status, json.loads(text) if text else None

    async def create(self, workflow_id: str, actions: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        body = {"workflowId": workflow_id, "trigger": {"type": "manual"}, "actions": actions, **more}
        status, answer = await self.call("POST", "/workflows", body)
        assert status == 201, json.dumps(answer)
        return answer

    async def trigger(self, workflow_id: str) -> str:
        status, answer = await self.call("POST", f"/workflows/{workflow_id}/trigger")
        assert status == 202, answer
        return answer["executionId"]

    async def execution(self, execution_id: str) -> dict[str, Any]:
        status, answer = await self.call("GET", f"/executions/{execution_id}")
        assert status == 200, answer
        return answer

    async def executions(self, workflow_id: str) -> list[dict[str, Any]]:
        status, answer = await self.call("GET", f"/executions?workflowId={workflow_id}&limit=500")
        assert status == 200, answer
        return answer["items"]

    async def finished(self, execution_id: str) -> dict[str, Any]:
        async def done() -> dict[str, Any] | None:
            execution = await self.execution(execution_id)
            return execution if execution["status"] not in ("pending", "running") else None

        return await until(done, f"execution {execution_id} finishes")

    async def status_of(self, workflow_id: str) -> str:
        status, answer = await self.call("GET", f"/workflows/{workflow_id}")
        assert status == 200, answer
        return answer["trigger"]["status"]


@dataclass
class Target:
    """An HTTP server that records what it gets and fails as it is told by the path."""

    url: str
    requests: dict[str, list[web.BaseRequest]] = field(default_factory=lambda: defaultdict(list))
    closed: dict[str, int] = field(default_factory=lambda: defaultdict(int))  # requests whose client went away
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def count(self, key: str) -> int:
        return len(self.requests[key])


@pytest_asyncio.fixture(loop_scope="session")
async def api(stack):
    async with aiohttp.ClientSession() as session:
        yield Api(session, stack.api_url)


@pytest_asyncio.fixture(loop_scope="session")
async def producer(stack):
    producer = AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap)
    await producer.start()
    yield producer
    await producer.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def dead_letters(stack):
    """Read the dead-letter topic from its end at the start of the test on."""
    consumer = AIOKafkaConsumer(bootstrap_servers=stack.kafka_bootstrap, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition("workflow.dead-letter", number) for number in range(8)]
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    yield consumer
    await consumer.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def target():
    target = Target("")
    failures = defaultdict(itertools.count)

    async def answer(request: web.Request) -> web.Response:
        key = request.match_info["key"]
        target.requests[key].append(request)
        times = int(request.query.get("fail", "0"))
        if next(failures[key]) < times:
            return web.Response(status=503, text="not yet")
        held = request.query.get("hold")  # every request, or the first one alone
        if held is not None and (held != "first" or target.count(key) == 1):
            try:
                await target.release.wait()
            except asyncio.CancelledError:
                target.closed[key] += 1
                raise
        return web.Response(text=f"hello {key}")

    app = web.Application()
    app.router.add_route("*", "/{key}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    target.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield target
    target.release.set()
    await runner.cleanup()


@pytest.fixture
def workflow_id(request):
    """A workflow id that no other test uses."""
    return f"{request.node.originalname[5:60].replace('_', '-')}-{uuid.uuid4().hex[:6]}"
