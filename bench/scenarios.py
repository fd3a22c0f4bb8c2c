"""The scenarios: each runs once on a running stack and returns named figures."""

import asyncio
import json
import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import Any

import aiohttp

from apps.standalone.stack import Stack
from bench import floor, measure, schedules
from bench.measure import SERVICES, Figures, Scenario
from domain.durations import duration_text


def _prefix(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:6]}"


def http(clients: int, number: int = 3000) -> Scenario:
    """Trigger ``number`` one-step workflows over HTTP from ``clients`` clients."""

    async def scenario(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
        count = max(clients, int(number * scale))
        workflows = min(max(200, clients * 24), count)
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
        spans = await _spans(stack, session, answer["begun"], made, prefix)
        return {
            "accepted/s": made / (answer["ended"] - answer["begun"]),
            "finished/s": made / (ended - answer["begun"]),
            "accepted p50 ms": 1000 * measure.percentile(answer["latencies"], 0.5),
            "accepted p99 ms": 1000 * measure.percentile(answer["latencies"], 0.99),
            "created to finished p50 ms": measure.percentile(spans, 0.5),
            "created to finished p99 ms": measure.percentile(spans, 0.99),
            **measure.costs(cost),
        }

    return scenario


async def _spans(stack: Stack, session: aiohttp.ClientSession, since: float, count: int, prefix: str) -> list[float]:
    """Return the milliseconds from creation to end of the newest ``count`` executions of workflows of this name."""
    spans: list[float] = []
    start = datetime.fromtimestamp(since, timezone.utc).isoformat().replace("+", "%2B")
    cursor: str | None = ""
    while cursor is not None and len(spans) < count:
        address = f"{stack.api_url}/executions?limit=500&from={start}" + (f"&cursor={cursor}" if cursor else "")
        async with session.get(address) as response:
            page = await response.json()
        spans += [
            1000 * (_instant(item["finishedAt"]) - _instant(item["createdAt"])).total_seconds()
            for item in page["items"]
            if item["workflowId"].startswith(prefix) and item["finishedAt"]
        ]
        cursor = page["nextCursor"]
    return spans


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


async def round_trip(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """One client: from the trigger until the API shows the execution finished."""
    prefix = _prefix("trip")
    await measure.load("create", url=stack.api_url, prefix=prefix, workflows=50)
    answer = await measure.load("round-trip", url=stack.api_url, prefix=prefix, workflows=50, count=int(300 * scale))
    return {
        "trigger to finished p50 ms": 1000 * measure.percentile(answer["latencies"], 0.5),
        "trigger to finished p99 ms": 1000 * measure.percentile(answer["latencies"], 0.99),
    }


async def _published(
    stack: Stack, session: aiohttp.ClientSession, prefix: str, count: int, workflows: int, **created: Any
) -> Figures:
    await measure.load("create", url=stack.api_url, prefix=prefix, workflows=workflows, **created)
    begun_at = await measure.finished(session, stack)
    before = measure.cpu_seconds(stack)
    answer = await measure.load("publish", bootstrap=stack.kafka_bootstrap, prefix=prefix, workflows=workflows, count=count)
    await measure.until_finished(session, stack, begun_at + count)
    ended = time.time()
    cost = measure.per_execution(before, measure.cpu_seconds(stack), count)
    return {"finished/s": count / (ended - answer["begun"]), **measure.costs(cost)}


async def kafka(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """Publish requests straight to Kafka."""
    count = int(3000 * scale)
    return await _published(stack, session, _prefix("kafka"), count, count)


async def io_bound(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """HTTP actions that take 100 ms, a thousand in flight on one runner."""
    async with measure.slow_server() as url:
        actions = json.dumps([{"type": "http-request", "url": url, "method": "GET"}])
        count = int(3000 * scale)
        return await _published(stack, session, _prefix("io"), count, count, actions=actions)


async def ticks(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """Periodic workflows, evenly spread, a hundred ticks a second more at each step until they are not kept up with.

    The most that finished is what counts: with more ticks than can be run, those that are skipped cost as well.
    """
    interval, seconds = timedelta(seconds=10), 10
    added = int(1000 * scale)
    trigger = {"type": "periodic", "interval": duration_text(interval)}
    prefixes: list[str] = []
    best: Figures = {"finished/s": 0.0}
    while True:
        prefixes.append(_prefix("ticks"))
        begin = schedules.now() + timedelta(seconds=2)
        anchors = schedules.spread(added, interval.total_seconds(), begin - interval)
        await schedules.seed(stack, prefixes[-1], [trigger] * added, anchors=anchors, first=begin)
        await asyncio.sleep(6)
        before, begun_at, begun = measure.cpu_seconds(stack), await measure.finished(session, stack), time.time()
        await asyncio.sleep(seconds)
        done, ended = await measure.finished(session, stack) - begun_at, time.time()
        rate, offered = done / (ended - begun), len(prefixes) * added / interval.total_seconds()
        if rate > best["finished/s"]:
            best = {"finished/s": rate, **measure.costs(measure.per_execution(before, measure.cpu_seconds(stack), done))}
        if rate < 0.9 * offered:
            break
    for prefix in prefixes:
        await measure.load("archive", url=stack.api_url, prefix=prefix, workflows=added)
    await measure.until_finished(session, stack, 0)
    return best


async def lateness(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """500 workflows at 10 s for a minute: how late their requests are published, and whether all are."""
    workflows, interval, rounds = int(500 * scale), 10.0, 6
    prefix = _prefix("late")
    found = await schedules.punctuality(
        stack, prefix, workflows, timedelta(seconds=interval), timedelta(seconds=interval * rounds)
    )
    await measure.load("archive", url=stack.api_url, prefix=prefix, workflows=workflows)
    await measure.until_finished(session, stack, 0)
    return {
        "lateness p50 ms": found["p50"],
        "lateness p99 ms": found["p99"],
        "ticks missed or doubled": found["missed"] + found["doubled"],
    }


async def idle(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """Nothing to do: CPU and memory of each process."""
    await asyncio.sleep(2)
    before, begun = measure.cpu_seconds(stack), time.time()
    await asyncio.sleep(20)
    after, ended = measure.cpu_seconds(stack), time.time()
    return {
        **{f"idle CPU % of a core, {kind}": 100 * (after[kind] - before[kind]) / (ended - begun) for kind in before},
        **{f"memory MB, {kind}": value for kind, value in measure.memory_mb(stack).items()},
    }


async def bytes_per_execution(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
    """What one execution leaves on Kafka's and the database's disk."""
    places = {name: stack.settings.data_dir / name for name in ("kafka", "mongodb")}
    before = {name: measure.size_on_disk(path) for name, path in places.items()}
    prefix = _prefix("bytes")
    await measure.load("create", url=stack.api_url, prefix=prefix, workflows=1000)
    begun_at = await measure.finished(session, stack)
    answer = await measure.load(
        "trigger", url=stack.api_url, prefix=prefix, workflows=1000, count=int(3000 * scale), clients=16
    )
    count = len(answer["latencies"])  # a whole number for each client
    await measure.until_finished(session, stack, begun_at + count)
    return {
        f"bytes per execution, {name}": (measure.size_on_disk(path) - before[name]) / count for name, path in places.items()
    }


async def scaling(stack: Stack, session: aiohttp.ClientSession, scale: float) -> Figures:
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
    "http-1": http(1, 300),
    "round-trip": round_trip,
    "http-16": http(16),
    "http-64": http(64),
    "kafka": kafka,
    "ticks": ticks,
    "io-bound": io_bound,
    "lateness": lateness,
    "bytes": bytes_per_execution,
    "scaling": scaling,
    **floor.SCENARIOS,
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
    ("lateness", "lateness p50 ms"): ("≤", 5),
    ("lateness", "lateness p99 ms"): ("≤", 50),
    ("lateness", "ticks missed or doubled"): ("≤", 0),
    ("flat", "% of the empty store's"): ("≥", 90),
    ("http-64", "CPU ms per execution, api"): ("≤", 0.30),
    ("http-64", "CPU ms per execution, runner"): ("≤", 0.60),
    **{("idle", f"idle CPU % of a core, {kind}"): ("≤", 1.0) for kind in SERVICES},
    **{("idle", f"memory MB, {kind}"): ("≤", 90) for kind in SERVICES},
}
