"""What is read from outside: CPU time and memory of processes, the runners' counters, sizes on disk."""

import asyncio
import json
import re
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from apps.standalone.stack import Stack

_COUNTED = re.compile(r'^runner_executions_total\{[^}]*status="(\w+)"[^}]*\} ([0-9.e+]+)$', re.MULTILINE)


def kinds(stack: Stack) -> dict[str, list[psutil.Process]]:
    """Return the processes of the stack by kind: several workers of one service are one kind."""
    found: dict[str, list[psutil.Process]] = {}
    for name, child in stack.children.items():
        if child.pid is not None:
            kind = "api" if name.startswith("workflows") else re.sub(r"-\d+$", "", name)
            found.setdefault(kind, []).append(psutil.Process(child.pid))
    return found


def cpu_seconds(stack: Stack) -> dict[str, float]:
    """Return the CPU time that each kind of process has used."""
    return {kind: sum(sum(process.cpu_times()[:2]) for process in processes) for kind, processes in kinds(stack).items()}


def memory_mb(stack: Stack) -> dict[str, float]:
    """Return the resident memory of each kind of process."""
    return {
        kind: sum(process.memory_info().rss for process in processes) / 2**20 for kind, processes in kinds(stack).items()
    }


def per_execution(before: Mapping[str, float], after: Mapping[str, float], executions: int) -> dict[str, float]:
    """Return the CPU milliseconds per execution by kind."""
    return {kind: 1000 * (after[kind] - before[kind]) / max(executions, 1) for kind in before}


async def finished(session: aiohttp.ClientSession, stack: Stack) -> int:
    """Return how many executions the runners say have ended."""
    total = 0.0
    for worker in stack.workers.values():
        if worker.service == "runner":
            async with session.get(f"{worker.url}/metrics") as response:
                total += sum(float(count) for _, count in _COUNTED.findall(await response.text()))
    return int(total)


async def until_finished(session: aiohttp.ClientSession, stack: Stack, goal: int, deadline: float = 300.0) -> None:
    """Wait until ``goal`` executions have ended and their ends are written."""
    loop = asyncio.get_running_loop()
    end = loop.time() + deadline
    while (done := await finished(session, stack)) < goal:
        if loop.time() > end:
            async with session.get(f"{stack.api_url}/executions?status=pending,running&limit=3") as response:
                left = (await response.json())["items"]
            lines = [line for worker in stack.workers.values() for line in list(worker.lines)[-5:]]
            raise SystemExit(
                f"{goal - done} executions not finished within {deadline:.0f} s; some of the open ones: {left}; "
                f"last lines of the services: {lines}"
            )
        await asyncio.sleep(0.02)
    while True:
        async with session.get(f"{stack.api_url}/executions?status=pending,running&limit=1") as response:
            if not (await response.json())["items"]:
                return
        await asyncio.sleep(0.01)


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


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that ``share`` of the values stay within."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median, minimum and maximum."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
