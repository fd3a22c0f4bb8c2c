"""The scenarios: each runs once on a running stack and returns named figures."""

import asyncio
import json
import sys
import time
import uuid
from collections.abc import Awaitable, Callable
from datetime import datetime

import aiohttp
import psutil

from apps.standalone.stack import Stack
from bench import measure

Figures = dict[str, float]
Scenario = Callable[[Stack, aiohttp.ClientSession, int], Awaitable[Figures]]


def _prefix(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:6]}"


def http(clients: int) -> Scenario:
    """Trigger one-step workflows over HTTP from ``clients`` clients."""

    async def scenario(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
        count = (300 if clients == 1 else 3000) * scale
        workflows = max(200, clients * 24)
        prefix = _prefix(f"http{clients}")
        await measure.load("create", url=stack.api_url, prefix=prefix, workflows=workflows)
        begun_at = await measure.finished(session, stack)
        before = measure.cpu_seconds(stack)
        answer = await measure.load(
            "trigger", url=stack.api_url, prefix=prefix, workflows=workflows, count=count, clients=clients
        )
        made = len(answer["latencies"])
        await measure.until_finished(session, stack, begun_at + made)
        ended = time.time()
        cost = measure.per_execution(before, measure.cpu_seconds(stack), made)
        return {
            "accepted/s": made / (answer["ended"] - answer["begun"]),
            "finished/s": made / (ended - answer["begun"]),
            "accepted p50 ms": 1000 * measure.percentile(answer["latencies"], 0.5),
            "accepted p99 ms": 1000 * measure.percentile(answer["latencies"], 0.99),
            **{f"CPU ms per execution, {kind}": value for kind, value in cost.items()},
        }

    return scenario


async def round_trip(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
    """One client: from the trigger until the API shows the execution finished."""
    prefix = _prefix("trip")
    await measure.load("create", url=stack.api_url, prefix=prefix, workflows=50)
    answer = await measure.load("round-trip", url=stack.api_url, prefix=prefix, workflows=50, count=300 * scale)
    return {
        "trigger to finished p50 ms": 1000 * measure.percentile(answer["latencies"], 0.5),
        "trigger to finished p99 ms": 1000 * measure.percentile(answer["latencies"], 0.99),
    }


async def kafka(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
    """Publish requests straight to Kafka."""
    count = 3000 * scale
    prefix = _prefix("kafka")
    await measure.load("create", url=stack.api_url, prefix=prefix, workflows=count)
    begun_at = await measure.finished(session, stack)
    before = measure.cpu_seconds(stack)
    answer = await measure.load("publish", bootstrap=stack.kafka_bootstrap, prefix=prefix, workflows=count, count=count)
    await measure.until_finished(session, stack, begun_at + count)
    ended = time.time()
    cost = measure.per_execution(before, measure.cpu_seconds(stack), count)
    return {
        "finished/s": count / (ended - answer["begun"]),
        **{f"CPU ms per execution, {kind}": value for kind, value in cost.items()},
    }


async def ticks(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
    """Periodic workflows, each every second: how many ticks finish."""
    workflows, seconds = 300 * scale, 10
    prefix = _prefix("ticks")
    trigger = json.dumps({"type": "periodic", "interval": "1s"})
    await measure.load("create", url=stack.api_url, prefix=prefix, workflows=workflows, trigger=trigger)
    await asyncio.sleep(2)
    before, begun_at, begun = measure.cpu_seconds(stack), await measure.finished(session, stack), time.time()
    await asyncio.sleep(seconds)
    done, ended = await measure.finished(session, stack) - begun_at, time.time()
    cost = measure.per_execution(before, measure.cpu_seconds(stack), done)
    late = await _lateness(stack, session, f"{prefix}-1")
    for number in range(workflows):
        async with session.delete(f"{stack.api_url}/workflows/{prefix}-{number}") as response:
            await response.read()
    return {
        "offered/s": float(workflows),
        "finished/s": done / (ended - begun),
        "lateness of the start p50 ms": late,
        **{f"CPU ms per execution, {kind}": value for kind, value in cost.items()},
    }


async def _lateness(stack: Stack, session: aiohttp.ClientSession, workflow_id: str) -> float:
    async with session.get(f"{stack.api_url}/executions?workflowId={workflow_id}&limit=500") as response:
        items = (await response.json())["items"]
    late = [
        1000 * (_instant(item["startedAt"]) - _instant(item["dueAt"])).total_seconds()
        for item in items
        if item["startedAt"] and item["dueAt"]
    ]
    return measure.percentile(late, 0.5) if late else float("nan")


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


async def io_bound(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
    """HTTP actions that take 100 ms, a thousand in flight on one runner."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", "slow-server", "--delay", "0.1", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        port = int(await server.stdout.readline())
        actions = json.dumps([{"type": "http-request", "url": f"http://127.0.0.1:{port}/", "method": "GET"}])
        count, prefix = 3000 * scale, _prefix("io")
        await measure.load("create", url=stack.api_url, prefix=prefix, workflows=count, actions=actions)
        begun_at = await measure.finished(session, stack)
        before = measure.cpu_seconds(stack)
        answer = await measure.load("publish", bootstrap=stack.kafka_bootstrap, prefix=prefix, workflows=count, count=count)
        await measure.until_finished(session, stack, begun_at + count)
        ended = time.time()
        cost = measure.per_execution(before, measure.cpu_seconds(stack), count)
        return {
            "finished/s": count / (ended - answer["begun"]),
            **{f"CPU ms per execution, {kind}": value for kind, value in cost.items()},
        }
    finally:
        server.kill()
        await server.wait()


async def idle(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
    """Nothing to do: CPU and memory of each process."""
    await asyncio.sleep(2)
    before, begun = measure.cpu_seconds(stack), time.time()
    await asyncio.sleep(10)
    after, ended = measure.cpu_seconds(stack), time.time()
    return {
        **{f"idle CPU % of a core, {kind}": 100 * (after[kind] - before[kind]) / (ended - begun) for kind in before},
        **{f"memory MB, {kind}": value for kind, value in measure.memory_mb(stack).items()},
    }


async def bytes_per_execution(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
    """What one execution leaves on Kafka's and the database's disk."""
    places = {name: stack.settings.data_dir / name for name in ("kafka", "mongodb")}
    before = {name: measure.size_on_disk(path) for name, path in places.items()}
    count, prefix = 3000 * scale, _prefix("bytes")
    await measure.load("create", url=stack.api_url, prefix=prefix, workflows=1000)
    begun_at = await measure.finished(session, stack)
    await measure.load("trigger", url=stack.api_url, prefix=prefix, workflows=1000, count=count, clients=16)
    await measure.until_finished(session, stack, begun_at + count)
    return {
        f"bytes per execution, {name}": (measure.size_on_disk(path) - before[name]) / count for name, path in places.items()
    }


async def scaling(stack: Stack, session: aiohttp.ClientSession, scale: int) -> Figures:
    """The same over one, two and four runners."""
    figures: Figures = {}
    for runners in (1, 2, 4):
        while sum(worker.service == "runner" for worker in stack.workers.values()) < runners:
            await stack.add_worker("runner")
        await asyncio.sleep(3)
        found = await http(64)(stack, session, scale)
        figures[f"finished/s, {runners} runners"] = found["finished/s"]
        figures[f"CPU ms per execution, {runners} runners"] = found["CPU ms per execution, runner"]
    for name in [name for name, worker in stack.workers.items() if worker.service == "runner" and name != "runner"]:
        await stack.remove_worker(name)
    return figures


SCENARIOS: dict[str, Scenario] = {
    "idle": idle,
    "http-1": http(1),
    "round-trip": round_trip,
    "http-16": http(16),
    "http-64": http(64),
    "kafka": kafka,
    "ticks": ticks,
    "io-bound": io_bound,
    "bytes": bytes_per_execution,
    "scaling": scaling,
}

GOALS: dict[tuple[str, str], tuple[str, float]] = {
    ("http-64", "finished/s"): ("≥", 1000),
    ("http-1", "accepted p50 ms"): ("≤", 3),
    ("http-1", "accepted p99 ms"): ("≤", 10),
    ("round-trip", "trigger to finished p50 ms"): ("≤", 7),
    ("round-trip", "trigger to finished p99 ms"): ("≤", 20),
    ("io-bound", "finished/s"): ("≥", 700),
    ("kafka", "finished/s"): ("≥", 1500),
    ("ticks", "finished/s"): ("≥", 1000),
    ("http-64", "CPU ms per execution, api"): ("≤", 0.30),
    ("http-64", "CPU ms per execution, runner"): ("≤", 0.60),
    **{("idle", f"idle CPU % of a core, {kind}"): ("≤", 1.0) for kind in ("api", "scheduler", "runner")},
    **{("idle", f"memory MB, {kind}"): ("≤", 90) for kind in ("api", "scheduler", "runner")},
}


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    return {
        "cores": psutil.cpu_count(),
        "memory GB": round(psutil.virtual_memory().total / 2**30),
        "python": sys.version.split()[0],
    }
