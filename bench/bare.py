"""The floor under the figures: a bare API and runner on the same stack, which know nothing but how to pass a job on.

A trigger is one insert under a unique index, shared with its neighbours, and one record to Kafka; the runner answers it with
a second record, and what comes back is written in batches of 32: the finished document, then the removal of the open one.
Indexes, driver, event loop and transport are those of the services. There is no workflow to read, no history, schedule,
retry, fence, authentication, metric or recovery. What these two cost, no runner on this stack can go below.

This module is the Faust app of either: ``BENCH_BARE`` says which.
"""

import asyncio
import os
import sys
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

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
TOPICS = ("bare.request", "bare.result")
KINDS = ("api", "runner")


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
    requests, results = (app.topic(name, key_type=str, value_type=Job, partitions=PARTITIONS) for name in TOPICS)
    database: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        os.environ["MONGODB_URL"], connect=False, w="majority", journal=True, retryWrites=False
    )
    opened, finished = database[DATABASE].opened, database[DATABASE].finished

    if kind == "api":
        app.producer_only = True

        async def insert(documents: Sequence[dict[str, Any]]) -> Sequence[None]:
            await opened.bulk_write([InsertOne(document) for document in documents], ordered=False)
            return [None] * len(documents)

        inserts: GroupCommit[dict[str, Any], None] = GroupCommit(insert)

        @app.page("/workflows/{workflow_id}/trigger")
        class Trigger(web.View):
            async def post(self, request: web.Request, workflow_id: str) -> Any:
                execution_id = str(uuid.uuid4())
                await inserts.submit(
                    {"_id": execution_id, "lock_key": execution_id, "workflow_id": workflow_id, "status": "pending"}
                )
                await requests.send(key=workflow_id, value=Job(execution_id=execution_id, workflow_id=workflow_id))
                return aiohttp_web.Response(status=202, body=orjson.dumps({"executionId": execution_id}))

    else:
        written: asyncio.Queue[Job] = asyncio.Queue()

        @app.agent(requests)
        async def run(stream: Any) -> None:
            async for job in stream:
                await results.send(key=job.workflow_id, value=job)

        @app.agent(results)
        async def fold(stream: Any) -> None:
            async for job in stream:
                written.put_nowait(job)

        @app.task  # type: ignore[untyped-decorator]
        async def write() -> None:
            while True:
                batch = [await written.get()]
                while not written.empty():
                    batch.append(written.get_nowait())
                for part in chunks(batch):
                    done = [
                        {"_id": job.execution_id, "workflow_id": job.workflow_id, "status": "ok", "finished_at": time.time()}
                        for job in part
                    ]
                    await finished.bulk_write([InsertOne(document) for document in done], ordered=False)
                    await opened.delete_many({"_id": {"$in": [job.execution_id for job in part]}})

    return app


@asynccontextmanager
async def started(
    *, bootstrap: str, mongodb_url: str, data_dir: str, ports: Sequence[int]
) -> AsyncIterator[dict[str, psutil.Process]]:
    """Run both; they are there, but may not be ready."""
    async with AsyncExitStack() as stack:
        found: dict[str, psutil.Process] = {}
        for kind, port in zip(KINDS, ports, strict=True):
            environment = {
                "BENCH_BARE": kind, "BENCH_PORT": str(port), "KAFKA_BOOTSTRAP": bootstrap, "MONGODB_URL": mongodb_url,
                "DATA_DIR": f"{data_dir}/bare-{kind}",
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
