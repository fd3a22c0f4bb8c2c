"""What is read from outside: CPU time and memory of processes, the runners' counters, sizes on disk, the machine's pace."""

import asyncio
import json
import os
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import psutil
from pymongo import AsyncMongoClient

from apps.standalone.stack import Stack

Figures = dict[str, float]
Scenario = Callable[[Stack, aiohttp.ClientSession, float], Awaitable[Figures]]  # the last: a factor of the executions

DATABASE = "workflows"
SERVICES = ("api", "scheduler", "runner")  # the kinds of processes that are measured, beside the servers
_FINISHED_WITHIN = 300.0  # seconds
_COUNTED = re.compile(r'^runner_executions_total\{[^}]*status="(\w+)"[^}]*\} ([0-9.e+]+)$', re.MULTILINE)


def kinds(stack: Stack) -> dict[str, list[psutil.Process]]:
    """Return the processes of the stack by kind: several workers of one service are one kind."""
    found: dict[str, list[psutil.Process]] = {}
    for name, child in stack.children.items():
        if child.pid is not None:
            kind = "api" if name.startswith("workflows") else re.sub(r"-\d+$", "", name)
            found.setdefault(kind, []).append(psutil.Process(child.pid))
    return found


def cpu_seconds(stack: Stack, others: Mapping[str, psutil.Process] = MappingProxyType({})) -> dict[str, float]:
    """Return the CPU time that each kind of process has used; ``others`` take the places of the stack's own."""
    every = {**kinds(stack), **{kind: [process] for kind, process in others.items()}}
    return {kind: sum(sum(process.cpu_times()[:2]) for process in processes) for kind, processes in every.items()}


def memory_mb(stack: Stack) -> dict[str, float]:
    """Return the resident memory of each kind of process."""
    return {
        kind: sum(process.memory_info().rss for process in processes) / 2**20 for kind, processes in kinds(stack).items()
    }


def per_execution(before: Mapping[str, float], after: Mapping[str, float], executions: int) -> dict[str, float]:
    """Return the CPU milliseconds per execution by kind."""
    return {kind: 1000 * (after[kind] - before[kind]) / max(executions, 1) for kind in before}


def costs(cost: Mapping[str, float]) -> Figures:
    """Return such milliseconds by the names that figures have."""
    return {f"CPU ms per execution, {kind}": value for kind, value in cost.items()}


async def finished(session: aiohttp.ClientSession, stack: Stack) -> int:
    """Return how many executions the runners say have ended."""
    total = 0.0
    for worker in stack.workers.values():
        if worker.service == "runner":
            async with session.get(f"{worker.url}/metrics") as response:
                total += sum(float(count) for _, count in _COUNTED.findall(await response.text()))
    return int(total)


async def until_finished(session: aiohttp.ClientSession, stack: Stack, goal: int) -> None:
    """Wait until ``goal`` executions have ended and their ends are written.

    What is asked takes a hundredth to a tenth of the time, of the runners (their metrics are milliseconds of work) and of
    the database: the standalone one reads everything to count it, 36 ms for 3,000 open executions.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + _FINISHED_WITHIN
    are_run = False
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(stack.mongodb_url)
    async with client:
        opened = client[DATABASE].open_executions
        while True:
            begun = loop.time()
            are_run = are_run or await finished(session, stack) >= goal
            if are_run and not await opened.estimated_document_count():
                return
            if begun > end:
                lines = [line for worker in stack.workers.values() for line in list(worker.lines)[-5:]]
                raise SystemExit(f"not finished within {_FINISHED_WITHIN:.0f} s; the last lines of the services: {lines}")
            await asyncio.sleep(max(0.05, 10 * (loop.time() - begun)))


def size_on_disk(path: Path) -> int:
    """Return the bytes of the files below ``path``."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


async def load(what: str, **options: Any) -> Any:
    """Run the load generator as a process of its own and return what it measured."""
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", what, *arguments, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"the load generator failed ({what})")
    return json.loads(out)


@asynccontextmanager
async def slow_server() -> AsyncIterator[str]:
    """Run a server that answers after 100 ms, as a process of its own; yields its URL."""
    server = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench.load", "slow-server", "--delay", "0.1", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(await server.stdout.readline())}/"
    finally:
        server.kill()
        await server.wait()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values stay within."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def pace() -> dict[str, float]:
    """Return what this machine takes for things that everything else is made of; machines and hours differ by factors."""
    return {
        "a million additions in Python, ms": _best(_add, 5),
        "a message there and back on loopback, us": _best(_exchange, 5),
        "4 KiB written and synced, ms": _best(_sync, 50),
    }


def _best(work: Callable[[], float], times: int) -> float:
    return min(work() for _ in range(times))


def _add() -> float:
    begun, total = time.perf_counter(), 0
    for number in range(1_000_000):
        total += number
    return 1000 * (time.perf_counter() - begun)


def _exchange() -> float:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as here:
        there, _ = server.accept()
        with there:
            begun = time.perf_counter()
            for _ in range(2000):
                here.sendall(b"x" * 100)
                there.sendall(there.recv(100))
                here.recv(100)
            return 1_000_000 * (time.perf_counter() - begun) / 2000


def _sync() -> float:
    with tempfile.TemporaryFile() as file:
        begun = time.perf_counter()
        file.write(b"x" * 4096)
        file.flush()
        os.fsync(file.fileno())
        return 1000 * (time.perf_counter() - begun)


def machine() -> dict[str, object]:
    """Return what the figures were measured on."""
    return {
        "cores": psutil.cpu_count(),
        "memory GB": round(psutil.virtual_memory().total / 2**30),
        "python": sys.version.split()[0],
    }
