"""The scenarios of the floor: the same jobs through a bare API, scheduler and runner (:mod:`bench.bare`)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import aiohttp
import psutil
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection

from apps.standalone.ports import free_ports
from apps.standalone.stack import Stack
from bench import bare, measure
from bench.measure import Figures, Scenario
from events.topics import PARTITIONS

_PAUSE = 0.05  # seconds


@dataclass(frozen=True)
class Floor:
    """The bare services, which run."""

    stack: Stack
    session: aiohttp.ClientSession
    processes: dict[str, psutil.Process]
    ports: dict[str, int]
    schedules: AsyncCollection[dict[str, Any]]

    @property
    def url(self) -> str:
        """Return the address of the API."""
        return f"http://127.0.0.1:{self.ports['api']}"

    async def finished(self) -> int:
        """Return how many executions are written."""
        async with self.session.get(f"http://127.0.0.1:{self.ports['runner']}/finished") as response:
            return int(await response.text())

    async def until_finished(self, goal: int) -> None:
        """Wait until ``goal`` executions are written."""
        while True:
            with suppress(aiohttp.ClientConnectionError):
                if await self.finished() >= goal:
                    return
            await asyncio.sleep(_PAUSE)

    async def measured(self, work: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[dict[str, Any], int, float, Figures]:
        """Return what ``work`` told, which ends once everything is accepted; how many finished, when (s), and the costs."""
        begun_at, before = await self.finished(), measure.cpu_seconds(self.stack, self.processes)
        told = await work()
        count = told.get("count") or len(told["latencies"])
        await self.until_finished(begun_at + count)
        ended = time.time()
        cost = measure.per_execution(before, measure.cpu_seconds(self.stack, self.processes), count)
        return told, count, ended, measure.costs(cost)


@asynccontextmanager
async def running(stack: Stack, session: aiohttp.ClientSession, action: str = "") -> AsyncIterator[Floor]:
    """Run the bare services on an empty database, and wait until a job has passed through each of them."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.mongodb_url)
    async with client:
        database = client[bare.DATABASE]
        await client.drop_database(bare.DATABASE)
        await database.opened.create_indexes([IndexModel("lock_key", unique=True, sparse=True), IndexModel("status")])
        await database.finished.create_indexes(
            [
                IndexModel([("workflow_id", 1), ("_id", -1)]),
                IndexModel([("status", 1), ("_id", -1)]),
                IndexModel("finished_at"),
            ]
        )
        await database.schedules.create_indexes([IndexModel("next_run", sparse=True)])
        await _make_topics(stack.kafka_bootstrap, bare.TOPICS)
        ports = dict(zip(measure.SERVICES, free_ports(len(measure.SERVICES)), strict=True))
        begin = bare.started(
            bootstrap=stack.kafka_bootstrap,
            mongodb_url=stack.mongodb_url,
            data_dir=str(stack.settings.data_dir),
            ports=ports,
            action=action,
        )
        async with begin as processes:
            floor = Floor(stack, session, processes, ports, database.schedules)
            await _until_accepted(session, f"{floor.url}/workflows/first/trigger")
            await _load_published(floor, 1)
            await database.schedules.insert_one({"_id": "first", "next_run": time.time()})
            await floor.until_finished(3)
            yield floor


async def _make_topics(bootstrap: str, names: Sequence[str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, PARTITIONS, 1) for name in names])
    finally:
        await admin.close()


async def _until_accepted(session: aiohttp.ClientSession, address: str) -> None:
    while True:
        with suppress(aiohttp.ClientConnectionError):
            async with session.post(address) as response:
                if response.status == 202:
                    return
        await asyncio.sleep(0.1)


def http(clients: int, number: int = 3000) -> Scenario:
    """Trigger ``number`` jobs over HTTP from ``clients`` clients."""

    async def scenario(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
        async with running(stack, session) as floor:
            options = {"prefix": "bare", "workflows": 1000, "count": max(clients, int(number * scale)), "clients": clients}
            answer, made, ended, costs = await floor.measured(lambda: measure.load("trigger", url=floor.url, **options))
        return {
            "accepted/s": made / (answer["ended"] - answer["begun"]),
            "finished/s": made / (ended - answer["begun"]),
            "accepted p50 ms": 1000 * measure.percentile(answer["latencies"], 0.5),
            "accepted p99 ms": 1000 * measure.percentile(answer["latencies"], 0.99),
            **costs,
        }

    return scenario


async def round_trip(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """One client: from the trigger until the API shows the job finished."""
    async with running(stack, session) as floor:
        answer = await measure.load("round-trip", url=floor.url, prefix="bare", workflows=50, count=int(300 * scale))
    return {
        "trigger to finished p50 ms": 1000 * measure.percentile(answer["latencies"], 0.5),
        "trigger to finished p99 ms": 1000 * measure.percentile(answer["latencies"], 0.99),
    }


async def _load_published(floor: Floor, count: int) -> dict[str, Any]:
    bootstrap, topic = floor.stack.kafka_bootstrap, bare.PUBLISHED
    told: dict[str, Any] = await measure.load(
        "publish", bootstrap=bootstrap, topic=topic, prefix="bare", workflows=count, count=count
    )
    return {**told, "count": count}


async def _published(stack: Stack, session: aiohttp.ClientSession, count: int, action: str = "") -> Figures:
    async with running(stack, session, action) as floor:
        answer, made, ended, costs = await floor.measured(lambda: _load_published(floor, count))
    return {"finished/s": made / (ended - answer["begun"]), **costs}


async def kafka(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """Publish jobs straight to Kafka."""
    return await _published(stack, session, int(3000 * scale))


async def io_bound(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """The same, each with an HTTP request that takes 100 ms, a thousand in flight."""
    async with measure.slow_server() as url:
        return await _published(stack, session, int(3000 * scale), url)


async def ticks(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """Ticks that are all due at one instant."""
    count = int(3000 * scale)
    async with running(stack, session) as floor:
        due = time.time() + 5
        await floor.schedules.insert_many([{"_id": f"bare-{number}", "next_run": due} for number in range(count)])

        async def are_due() -> dict[str, Any]:
            await asyncio.sleep(due - time.time())
            return {"count": count}

        _, made, ended, costs = await floor.measured(are_due)
    return {"finished/s": made / (ended - due), **costs}


SCENARIOS: dict[str, Scenario] = {
    "bare-1": http(1, 300),
    "bare-64": http(64),
    "bare-round-trip": round_trip,
    "bare-kafka": kafka,
    "bare-ticks": ticks,
    "bare-io-bound": io_bound,
}
