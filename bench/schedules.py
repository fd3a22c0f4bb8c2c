"""How punctual, fast, available and small the scheduler is: ``make bench-schedules``.

Everything runs on a stack of its own: a real Kafka, the standalone database, the services as processes. What is measured is
read from Kafka: the instant at which it appended each ``ExecutionRequest`` (milliseconds) against the due instant that it
carries. Workflows are written straight to the database, spread evenly over their interval.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from aiokafka import AIOKafkaConsumer, TopicPartition
from pymongo import AsyncMongoClient

from actions.registry import WorkflowDefinition
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports
from domain.durations import duration_text
from domain.instants import instant, to_millis
from domain.trigger import next_due
from events.topics import EXECUTION, PARTITIONS, partition_of
from store.interfaces import Workflow
from store.workflows import to_document

DATABASE = "workflows"
LOG = {"type": "log", "message": "tick"}


@dataclass
class Published:
    """The requests that were published, as Kafka has them."""

    lateness: list[tuple[int, float]] = field(default_factory=list)  # due instant and lateness, ms
    ticks: Counter[tuple[str, int]] = field(default_factory=Counter)  # (workflow, due in ms)
    at: list[float] = field(default_factory=list)  # timestamps, s

    def take(self, record: Any, prefix: str) -> None:
        """Note a request for a tick of a workflow whose name begins with ``prefix``."""
        request = json.loads(record.value)
        if request.get("due_at") is None or not request["workflow_id"].startswith(prefix):
            return
        due = to_millis(datetime.fromisoformat(request["due_at"].replace("Z", "+00:00")))
        if request["epoch"] > 1 and (request["workflow_id"], due) in self.ticks:
            return  # handed out anew, to be started once all the same
        self.lateness.append((due, record.timestamp - due))
        self.ticks[request["workflow_id"], due] += 1
        self.at.append(record.timestamp / 1000)

    def late(self, since: int) -> list[float]:
        """Return how late each request was whose tick was due at ``since`` (ms) or later, in ms."""
        return sorted(late for due, late in self.lateness if due >= since)


def share(ordered: Sequence[float], part: float) -> float:
    """Return the value that ``part`` of the values stay within."""
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))] if ordered else float("nan")


@asynccontextmanager
async def watching(bootstrap: str, prefix: str) -> AsyncIterator[Published]:
    """Read the requests from here on."""
    published = Published()
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False)
    await consumer.start()
    partitions = [TopicPartition(EXECUTION.name, number) for number in range(PARTITIONS)]
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    for partition in partitions:
        await consumer.position(partition)

    async def read() -> None:
        async for record in consumer:
            published.take(record, prefix)

    reading = asyncio.create_task(read())
    try:
        yield published
        await asyncio.sleep(0.5)
    finally:
        reading.cancel()
        await consumer.stop()


@asynccontextmanager
async def stack(**environment: str) -> AsyncIterator[Stack]:
    """Run a stack in a directory of its own."""
    with tempfile.TemporaryDirectory() as directory:
        settings = on_free_ports(StandaloneSettings(data_dir=Path(directory)))
        async with Stack(settings, environment=environment) as running:
            yield running


async def seed(
    running: Stack, prefix: str, triggers: Sequence[dict[str, Any]], *, anchors: Sequence[datetime], first: datetime
) -> None:
    """Store workflows whose schedules stand on ``anchors`` and go on after ``first``."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(running.mongodb_url)
    documents = []
    for number, (trigger, anchor) in enumerate(zip(triggers, anchors, strict=True)):
        workflow_id = f"{prefix}-{number}"
        definition = WorkflowDefinition.model_validate({"workflowId": workflow_id, "trigger": trigger, "actions": [LOG]})
        documents.append(
            to_document(
                Workflow(
                    workflow_id=workflow_id,
                    version=1,
                    definition=definition.to_document(),
                    total_actions=1,
                    shard=partition_of(workflow_id),
                    created_at=anchor,
                    updated_at=anchor,
                    anchor=anchor,
                    next_run=next_due(definition.trigger, anchor, first),
                )
            )
        )
    for start in range(0, len(documents), 1000):
        await client[DATABASE].workflows.insert_many(documents[start : start + 1000], ordered=False)
    await client.close()


def spread(count: int, over: float, start: datetime) -> list[datetime]:
    """Return ``count`` instants, evenly over ``over`` seconds."""
    return [instant(start + timedelta(seconds=over * number / count)) for number in range(count)]


def now() -> datetime:
    return instant(datetime.now(timezone.utc))


async def punctuality(
    running: Stack,
    prefix: str,
    count: int,
    interval: timedelta,
    duration: timedelta,
    *,
    half_way: Callable[[], object] | None = None,
    settle: float = 1.0,
) -> dict[str, float]:
    """Run ``count`` periodic workflows, evenly spread, for a while; ``half_way`` something may happen to the scheduler."""
    # Nothing is due while the workflows are being stored, however long that takes on a busy machine, nor while the scheduler
    # starts on them. Nor before what is measured: without a runner, a tick finds the execution of the one before still open.
    begin = now() + timedelta(seconds=count / 500)
    start = begin + timedelta(seconds=12)
    trigger = {"type": "periodic", "interval": duration_text(interval), "misfire": {"policy": "all", "max": 1000}}
    # Stored as if they had been there for a while, so that the first round is like every other.
    anchors = spread(count, interval.total_seconds(), begin - interval)
    await seed(running, prefix, [trigger] * count, anchors=anchors, first=start - timedelta(milliseconds=1))
    end = start + duration
    happened: float | None = None
    async with watching(running.kafka_bootstrap, prefix) as published:
        if half_way is not None:
            await asyncio.sleep((start - now() + duration / 2).total_seconds())
            happened = to_millis(now())
            half_way()
        await asyncio.sleep((end - now()).total_seconds() + settle)
    expected = {
        (f"{prefix}-{number}", to_millis(anchor + round * interval))
        for number, anchor in enumerate(anchors)
        for round in range(1, (end - begin) // interval + 3)
        if start <= anchor + round * interval < end
    }
    inside = {tick: times for tick, times in published.ticks.items() if tick in expected}
    late = published.late(to_millis(start))
    found = {
        "ticks": float(len(inside)),
        "missed": float(len(expected - inside.keys())),
        "doubled": float(sum(times - 1 for times in inside.values())),
        "p50": share(late, 0.5),
        "p99": share(late, 0.99),
        "max": late[-1] if late else float("nan"),
    }
    if happened is not None:
        # The lateness of what was due while nobody was there tells how long that was.
        found["takeover"] = found["max"] / 1000
    return found


async def alone(count: int, seconds: float, *, with_runner: bool) -> dict[str, float]:
    """Return how punctual one scheduler is with ``count`` workflows at one minute."""
    async with stack() as running:
        if not with_runner:
            await running.children["runner"].stop()
        return await punctuality(running, "lateness", count, timedelta(minutes=1), timedelta(seconds=seconds))


async def killed(count: int, seconds: float, *, comes_back: bool) -> dict[str, float]:
    """Return how two schedulers do of which one is killed half-way, and started again at once or not at all."""
    async with stack() as running:
        await running.add_worker("scheduler")
        victim = running.children["scheduler"]
        victim.supervised = comes_back
        return await punctuality(
            running,
            "killed",
            count,
            timedelta(minutes=1),
            timedelta(seconds=seconds),
            half_way=lambda: victim.kill(signal.SIGKILL),
            settle=20,
        )


async def throughput(count: int) -> float:
    """Have ``count`` workflows due at one instant and return how many ticks a second are published."""
    async with stack(SCHEDULER_MISFIRE_AFTER="3600") as running:
        await running.children["runner"].stop()
        due = now() + timedelta(seconds=20)
        anchors = [instant(due - timedelta(hours=1))] * count
        await seed(running, "burst", [{"type": "periodic", "interval": "1h"}] * count, anchors=anchors, first=now())
        async with watching(running.kafka_bootstrap, "burst") as published:
            deadline = time.monotonic() + 30 + count / 50
            while len(published.ticks) < count and time.monotonic() < deadline:  # noqa: ASYNC110 - the topic is polled
                await asyncio.sleep(0.2)
        return len(published.ticks) / (max(published.at) - due.timestamp())


async def size(count: int) -> dict[str, float]:
    """Start a scheduler on ``count`` periodic and cron workflows and return what that takes."""
    async with stack() as running:
        await running.children["runner"].stop()
        scheduler = running.workers["scheduler"]
        empty = psutil.Process(scheduler.pid).memory_info().rss
        await scheduler.stop()
        kinds = [
            {"type": "periodic", "interval": "1h"},
            {"type": "cron", "expression": "17 * * * *", "timezone": "Europe/Berlin"},
            {"type": "cron", "expression": "*/30 8-18 * * mon-fri", "timezone": "America/New_York"},
            {"type": "periodic", "interval": "24h"},
        ]
        begin = now()
        triggers = [kinds[number % len(kinds)] for number in range(count)]
        anchors = spread(count, 3600, begin - timedelta(hours=1))
        await seed(running, "idle", triggers, anchors=anchors, first=begin + timedelta(seconds=60))
        started = time.monotonic()
        await scheduler.start()
        await scheduler.wait_ready()
        async with aiohttp.ClientSession() as session:
            shards: list[int] = []
            while len(shards) < PARTITIONS:
                async with session.get(f"{scheduler.url}/agenda") as response:
                    shards = (await response.json())["shards"]
                await asyncio.sleep(0.05)
        ready = time.monotonic() - started
        process = psutil.Process(scheduler.pid)
        await asyncio.sleep(10)
        before, at = process.cpu_times(), time.monotonic()
        await asyncio.sleep(20)
        after = process.cpu_times()
        cpu = (after.user + after.system - before.user - before.system) / (time.monotonic() - at)
        rss = process.memory_info().rss
        return {
            "start": ready,
            "rss": rss / 2**20,
            "bytes": (rss - empty) / count,
            "cpu": cpu * 100,
        }


def spread_of(values: Sequence[float]) -> str:
    """Return the median of several runs, and their spread."""
    text = f"{statistics.median(values):,.1f}"
    return text if len(values) == 1 else f"{text} ({min(values):,.1f} to {max(values):,.1f})"


def row(what: str, goal: str, values: Sequence[float], unit: str = "") -> None:
    print(f"| {what} | {goal} | {spread_of(values)}{unit} |", flush=True)  # noqa: T201


async def main(arguments: argparse.Namespace) -> None:
    runs, seconds = (3, 600) if arguments.full else (arguments.runs, arguments.seconds)
    print("| | goal | measured |\n|---|---|---|", flush=True)  # noqa: T201
    if "lateness" in arguments.only:
        for with_runner in (False, True):
            found = [await alone(10_000, min(seconds, 120), with_runner=with_runner) for _ in range(runs)]
            where = "with a runner running them" if with_runner else "scheduler alone"
            row(f"lateness, 10,000 workflows at 1 min, {where}: p50", "≤ 5 ms", [each["p50"] for each in found], " ms")
            row("p99", "≤ 50 ms", [each["p99"] for each in found], " ms")
            row("worst", "", [each["max"] for each in found], " ms")
            row("missed / doubled", "0", [each["missed"] + each["doubled"] for each in found])
    for name, comes_back, what in (
        ("kill", True, "a kill -9 of one of two schedulers"),
        ("gone", False, "a kill -9 of one of two schedulers, not started again"),
    ):
        if name in arguments.only:
            times = 1 if arguments.full else runs
            found = [await killed(arguments.killed_workflows, seconds, comes_back=comes_back) for _ in range(times)]
            row(f"ticks missed over {seconds:.0f} s with {what}", "0", [each["missed"] for each in found])
            row("ticks doubled", "0", [each["doubled"] for each in found])
            row("take-over, worst (session timeout 10 s)", "≤ 13 s", [each["takeover"] for each in found], " s")
    if "throughput" in arguments.only:
        row("ticks a second, one scheduler", "≥ 500", [await throughput(10_000) for _ in range(runs)])
    if "size" in arguments.only:
        found = [await size(100_000) for _ in range(1 if not arguments.full else runs)]
        row("start-up with 100,000 workflows", "< 30 s", [each["start"] for each in found], " s")
        row("memory", "< 300 MB", [each["rss"] for each in found], " MB")
        row("memory per idle workflow", "", [each["bytes"] for each in found], " B")
        row("CPU of 100,000 idle workflows", "", [each["cpu"] for each in found], " % of a core")


def read_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="ten minutes with the kill, three runs of the rest")
    parser.add_argument("--runs", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--killed-workflows", type=int, default=5000)
    parser.add_argument("--only", nargs="+", default=["lateness", "kill", "gone", "throughput", "size"])
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(asyncio.run(main(read_arguments())))
