"""Tells the scheduler that this process is alive: one document, written every few seconds, removed at a clean stop."""

import asyncio
import os
import socket
from typing import Any

import structlog
from mode import Service

from apps.runner.clock import now
from store.interfaces import Heartbeat, Runners, StoreUnavailable

log = structlog.get_logger(__name__)


class Heartbeats(Service):
    """Writes the heartbeat of this process."""

    def __init__(self, runners: Runners, *, runner: str, interval: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.runners = runners
        self.runner = runner
        self.interval = interval
        self._beat = 0
        self._info = {"host": socket.gethostname(), "pid": os.getpid(), "started_at": now()}

    async def on_start(self) -> None:
        await self._write()

    @Service.task
    async def _keep_beating(self) -> None:
        while not self.should_stop:
            await self.sleep(self.interval)
            await self._write()

    async def _write(self) -> None:
        self._beat += 1
        try:
            await asyncio.wait_for(
                self.runners.beat(Heartbeat(self.runner, self._beat, self._info)), timeout=max(self.interval, 1.0)
            )
        except (StoreUnavailable, asyncio.TimeoutError) as error:
            log.warning("heartbeat not written", error=str(error) or "no answer in time")

    async def on_stop(self) -> None:
        try:
            await self.runners.remove(self.runner)
        except StoreUnavailable as error:
            log.warning("heartbeat not removed; it becomes stale by itself", error=str(error))
