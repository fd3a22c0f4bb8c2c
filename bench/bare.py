"""The floor under the figures: a bare API, scheduler and runner on the same stack, which know only how to pass a job on.

A trigger is one insert under a unique index, shared with its neighbours, and one record to Kafka; the runner answers it with
a second record, and what comes back is written in batches of 32: the finished document, then the removal of the open one.
A job published straight to Kafka is inserted by the runner; a tick is an update of its schedule besides. Indexes, driver,
event loop and transport are those of the services. There is no workflow to read, no history, retry, fence, authentication,
metric or recovery, and no schedule but an instant. What these cost, no system on this stack can go below.

This module is the Faust app of each: ``BENCH_BARE`` says which.
"""

import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import faust
import orjson
import psutil
from aiohttp import web as aiohttp_web
from faust import web
from faust.types import TransportT
from pymongo import AsyncMongoClient, InsertOne
from yarl import URL

from events.topics import PARTITIONS
from events.transport import Transport
from store.chunks import chunks
from store.group_commit import GroupCommit

DATABASE = "bare"
PUBLISHED = "bare.published"
TOPICS = ("bare.request", "bare.result", PUBLISHED)
SCHEDULED_AGAIN = 3600  # seconds


class Bare(faust.App):
    """A Faust app on the services' transport."""

    fetch_wait_ms = 30

    def _new_transport(self) -> TransportT:
        return Transport(self.conf.broker_consumer, self)

    def _new_producer_transport(self) -> TransportT:
        return Transport(self.conf.broker_producer, self)


class Job(faust.Record):
    """What is passed on."""

    execution_id: str
    workflow_id: str


class Asked(faust.Record):
    """What is published straight to Kafka."""

    workflow_id: str


class Services:
    """What the three have in common, and what each adds to its app."""

    def __init__(self, app: faust.App) -> None:
        self.app = app
        self.requests, self.results, self.published = (
            app.topic(name, key_type=str, value_type=kind, partitions=PARTITIONS)
            for name, kind in zip(TOPICS, (Job, Job, Asked), strict=True)
        )
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            os.environ["MONGODB_URL"], connect=False, w="majority", journal=True, retryWrites=False
        )
        self.database = client[DATABASE]
        self.inserts: GroupCommit[dict[str, Any], None] = GroupCommit(self._insert)

    async def _insert(self, documents: Sequence[dict[str, Any]]) -> Sequence[None]:
        await self.database.opened.bulk_write([InsertOne(document) for document in documents], ordered=False)
        return [None] * len(documents)

    async def open(self, workflow_id: str) -> Job:
        """Write an open execution."""
        execution_id = str(uuid.uuid4())
        await self.inserts.submit(
            {"_id": execution_id, "lock_key": execution_id, "workflow_id": workflow_id, "status": "pending"}
        )
        return Job(execution_id=execution_id, workflow_id=workflow_id)

    async def request(self, workflow_id: str) -> Job:
        """Write an open execution and have it run."""
        job = await self.open(workflow_id)
        await self.requests.send(key=workflow_id, value=job)
        return job

    def api(self) -> None:
        """``POST /workflows/<id>/trigger`` and ``GET /executions/<id>``, which answers when it has finished."""
        self.app.producer_only = True

        @self.app.page("/workflows/{workflow_id}/trigger")
        class Trigger(web.View):
            async def post(view, request: web.Request, workflow_id: str) -> Any:
                job = await self.request(workflow_id)
                return aiohttp_web.Response(status=202, body=orjson.dumps({"executionId": job.execution_id}))

        @self.app.page("/executions/{execution_id}")
        class Execution(web.View):
            async def get(view, request: web.Request, execution_id: str) -> Any:
                while True:
                    if found := await self.database.finished.find_one({"_id": execution_id}):
                        return aiohttp_web.Response(body=orjson.dumps({"finishedAt": found["finished_at"]}))
                    await asyncio.sleep(0.002)

    def scheduler(self) -> None:
        """Release what is due."""
        self.app.producer_only = True
        schedules = self.database.schedules

        @self.app.task  # type: ignore[untyped-decorator]
        async def release() -> None:
            while True:
                due = await schedules.find({"next_run": {"$lte": time.time()}}, limit=500).sort("next_run").to_list()
                if not due:
                    await asyncio.sleep(0.01)
                for part in chunks([document["_id"] for document in due]):
                    await asyncio.gather(*(self.request(workflow_id) for workflow_id in part))
                    await schedules.update_many(
                        {"_id": {"$in": part}}, [{"$set": {"next_run": {"$add": ["$next_run", SCHEDULED_AGAIN]}}}]
                    )

    def runner(self) -> None:
        """Run what was asked for; ``GET /finished`` tells how many are written."""
        requests, results, published = self.requests, self.results, self.published
        ended: asyncio.Queue[Job] = asyncio.Queue()
        written = 0
        underway: set[asyncio.Task[None]] = set()
        action = os.environ["BENCH_ACTION"]
        client: aiohttp.ClientSession | None = None

        async def act(job: Job) -> None:
            nonlocal client
            if action:
                client = client or aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1000))
                async with client.get(action) as response:
                    await response.read()
            await results.send(key=job.workflow_id, value=job)

        async def take(asked: Asked) -> None:
            await act(await self.open(asked.workflow_id))

        @self.app.agent(requests)
        async def run(stream: Any) -> None:
            async for job in stream:
                await act(job)

        @self.app.agent(published)
        async def admit(stream: Any) -> None:
            async for asked in stream:
                task = asyncio.create_task(take(asked))
                underway.add(task)
                task.add_done_callback(underway.discard)

        @self.app.agent(results)
        async def fold(stream: Any) -> None:
            async for job in stream:
                ended.put_nowait(job)

        @self.app.task  # type: ignore[untyped-decorator]
        async def write() -> None:
            nonlocal written
            while True:
                batch = [await ended.get()]
                while not ended.empty():
                    batch.append(ended.get_nowait())
                for part in chunks(batch):
                    done = [
                        {"_id": job.execution_id, "workflow_id": job.workflow_id, "status": "ok", "finished_at": time.time()}
                        for job in part
                    ]
                    await self.database.finished.bulk_write([InsertOne(document) for document in done], ordered=False)
                    await self.database.opened.delete_many({"_id": {"$in": [job.execution_id for job in part]}})
                    written += len(part)

        @self.app.page("/finished")
        class Finished(web.View):
            async def get(view, request: web.Request) -> Any:
                return aiohttp_web.Response(body=orjson.dumps(written))


def _app(kind: str) -> faust.App:
    host, port = "127.0.0.1", int(os.environ["BENCH_PORT"])
    app = Bare(
        f"bare-{kind}",
        broker=[URL(f"kafka://{os.environ['KAFKA_BOOTSTRAP']}")],
        store="memory://",
        datadir=os.environ["DATA_DIR"],
        web_host=host,
        web_bind=host,
        web_port=port,
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        stream_wait_empty=False,
        consumer_auto_offset_reset="earliest",
    )
    getattr(Services(app), kind)()
    return app


@asynccontextmanager
async def started(
    *, bootstrap: str, mongodb_url: str, data_dir: str, ports: Mapping[str, int], action: str
) -> AsyncIterator[dict[str, psutil.Process]]:
    """Run those that ``ports`` names; they are there, but may not be ready. Jobs get ``action``, a URL, or do nothing."""
    async with AsyncExitStack() as stack:
        found: dict[str, psutil.Process] = {}
        for kind, port in ports.items():
            environment = {
                "BENCH_BARE": kind, "BENCH_PORT": str(port), "KAFKA_BOOTSTRAP": bootstrap, "MONGODB_URL": mongodb_url,
                "DATA_DIR": f"{data_dir}/bare-{kind}", "BENCH_ACTION": action,
            }  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "faust", "-A", "bench.bare", "--quiet", "-L", "uvloop", "worker", "-l", "error"),
                *("--web-port", str(port), "--web-host", "127.0.0.1", "--web-bind", "127.0.0.1"),
                env={**os.environ, **environment},
                stdout=asyncio.subprocess.DEVNULL,
            )
            stack.push_async_callback(process.wait)
            stack.callback(process.terminate)
            found[kind] = psutil.Process(process.pid)
        yield found


if "BENCH_BARE" in os.environ:
    app = _app(os.environ["BENCH_BARE"])
