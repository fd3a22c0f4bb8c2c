"""A look at which processes exist, to tell that none was left behind."""

from __future__ import annotations

import time
from collections.abc import Iterable

import psutil
import pytest


def descendants(pid: int) -> list[psutil.Process]:
    """All processes that the process started, directly or not."""
    children: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
    return children


def assert_gone(processes: Iterable[psutil.Process | int], within: float = 5.0) -> None:
    """Fail unless none of the processes exists any more (a zombie that nobody has collected yet does not count)."""
    wanted = [psutil.Process(one) if isinstance(one, int) and psutil.pid_exists(one) else one for one in processes]
    deadline = time.monotonic() + within
    while True:
        left = [one for one in wanted if isinstance(one, psutil.Process) and _exists(one)]
        if not left:
            return
        if time.monotonic() > deadline:
            pytest.fail(f"left behind: {left}")
        time.sleep(0.05)


def _exists(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
