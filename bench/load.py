"""The load generator: one process, started by the benchmark, that prints what it measured as one JSON object."""

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiokafka import AIOKafkaProducer

TRIGGER = {"type": "manual"}
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)\r\n", re.IGNORECASE)


async def create(url: str, prefix: str, count: int, actions: list[dict[str, Any]], trigger: dict[str, Any]) -> None:
    """Create ``count`` workflows."""
    gate = asyncio.Semaphore(32)
    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            body = {"workflowId": f"{prefix}-{number}", "trigger": trigger, "actions": actions}
            async with gate, session.post(f"{url}/workflows", json=body) as response:
                if response.status != 201:
                    raise SystemExit(f"creating a workflow: {response.status} {await response.text()}")

        await asyncio.gather(*(one(number) for number in range(count)))


async def archive(url: str, prefix: str, count: int) -> None:
    """Archive them again."""
    gate = asyncio.Semaphore(32)
    async with aiohttp.ClientSession() as session:

        async def one(number: int) -> None:
            async with gate, session.delete(f"{url}/workflows/{prefix}-{number}") as response:
                await response.read()

        await asyncio.gather(*(one(number) for number in range(count)))


class Connection:
    """A kept HTTP/1.1 connection; cheaper than aiohttp's client, for what is measured runs on the same cores."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader = reader
        self._writer = writer
        self._host = host

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect to the server of ``url``."""
        address = urlsplit(url)
        return cls(*await asyncio.open_connection(address.hostname, address.port), address.netloc)

    async def ask(self, method: str, path: str) -> tuple[int, bytes]:
        """Return status and body of the answer to a request without a body."""
        self._writer.write(f"{method} {path} HTTP/1.1\r\nHost: {self._host}\r\nContent-Length: 0\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if length is None:
            raise SystemExit(f"an answer without a length: {head!r}")
        return int(head[9:12]), await self._reader.readexactly(int(length[1]))


async def trigger(url: str, prefix: str, workflows: int, count: int, clients: int) -> dict[str, Any]:
    """Trigger ``count`` times from ``clients`` clients, each workflow in turn; return latencies in seconds."""
    latencies: list[float] = []
    refused = 0
    numbers = iter(range(10**9))

    async def client(connection: Connection, share: int) -> None:
        nonlocal refused
        for _ in range(share):
            while True:
                number = next(numbers) % workflows
                begun = time.perf_counter()
                status, body = await connection.ask("POST", f"/workflows/{prefix}-{number}/trigger")
                if status == 202:
                    break
                if status != 409:
                    raise SystemExit(f"triggering a workflow: {status} {body!r}")
                refused += 1
            latencies.append(time.perf_counter() - begun)

    connections = [await Connection.open(url) for _ in range(clients)]
    begun = time.time()
    await asyncio.gather(*(client(connection, count // clients) for connection in connections))
    ended = time.time()
    return {"begun": begun, "ended": ended, "latencies": latencies, "refused": refused}


async def round_trip(url: str, prefix: str, workflows: int, count: int) -> dict[str, Any]:
    """Trigger one after the other, each until the API tells that it has finished; return latencies in seconds."""
    latencies: list[float] = []
    connection = await Connection.open(url)
    for number in range(count):
        begun = time.perf_counter()
        _, body = await connection.ask("POST", f"/workflows/{prefix}-{number % workflows}/trigger")
        _, body = await connection.ask("GET", f"/executions/{json.loads(body)['executionId']}?wait=1m")
        if not json.loads(body)["finishedAt"]:
            raise SystemExit(f"not finished within a minute: {body!r}")
        latencies.append(time.perf_counter() - begun)
    return {"latencies": latencies}


async def publish(bootstrap: str, topic: str, prefix: str, workflows: int, count: int) -> dict[str, Any]:
    """Publish ``count`` requests straight to Kafka."""
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, linger_ms=2)
    await producer.start()
    begun = time.time()
    waiting = []
    for number in range(count):
        name = f"{prefix}-{number % workflows}"
        waiting.append(await producer.send(topic, json.dumps({"workflow_id": name}).encode(), key=name.encode()))
    await asyncio.gather(*waiting)
    ended = time.time()
    await producer.stop()
    return {"begun": begun, "ended": ended}


async def slow_server(delay: float) -> None:
    """Serve answers after ``delay`` seconds until killed; prints the port first."""

    async def answer(request: web.Request) -> web.Response:
        await asyncio.sleep(delay)
        return web.Response(text="ok")

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["create", "archive", "trigger", "round-trip", "publish", "slow-server"])
    parser.add_argument("--url", default="")
    parser.add_argument("--bootstrap", default="")
    parser.add_argument("--topic", default="workflow.execution")
    parser.add_argument("--prefix", default="bench")
    parser.add_argument("--workflows", type=int, default=1)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--delay", type=float, default=0.1)
    parser.add_argument("--actions", default='[{"type": "log", "message": "bench"}]')
    parser.add_argument("--trigger", default=json.dumps(TRIGGER))
    given = parser.parse_args()
    work: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "create": lambda: create(
            given.url, given.prefix, given.workflows, json.loads(given.actions), json.loads(given.trigger)
        ),
        "archive": lambda: archive(given.url, given.prefix, given.workflows),
        "trigger": lambda: trigger(given.url, given.prefix, given.workflows, given.count, given.clients),
        "round-trip": lambda: round_trip(given.url, given.prefix, given.workflows, given.count),
        "publish": lambda: publish(given.bootstrap, given.topic, given.prefix, given.workflows, given.count),
        "slow-server": lambda: slow_server(given.delay),
    }
    sys.stdout.write(json.dumps(asyncio.run(work[given.what]())) + "\n")


if __name__ == "__main__":
    main()
