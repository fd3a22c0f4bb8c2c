"""How much one runner asks of one host: requests at the same time, and per second, over all its executions."""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field


class HostLimit(BaseModel):
    """The limits of one host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(default=500, ge=1, description="Requests at the same time.")
    rate: float | None = Field(
        default=None, gt=0, le=100_000, description="Requests begun per second; no limit when absent."
    )


class Throttled(Exception):
    """The host's limit did not let the request begin in time."""


@dataclass
class _Host:
    limit: HostLimit
    active: int = 0
    waiting: deque["asyncio.Future[None]"] = field(default_factory=deque)
    free_at: float = 0.0  # loop time from which the rate lets the next request begin


class HostLimits:
    """Slots of every host; first come, first served."""

    def __init__(self, default: HostLimit | None = None, hosts: Mapping[str, HostLimit] | None = None) -> None:
        self._default = default or HostLimit()
        self._limits = {name.lower(): limit for name, limit in (hosts or {}).items()}
        self._hosts: dict[str, _Host] = {}

    async def acquire(self, name: str, patience: float) -> None:
        """Wait until a request to ``name`` may begin; give it back with :meth:`release`.

        Raises:
            Throttled: that is not within ``patience`` seconds.
        """
        host = self._hosts.get(name)
        if host is None:
            host = self._hosts[name] = _Host(self._limits.get(name, self._default))
        if host.active < host.limit.concurrency and not host.waiting:
            host.active += 1
        else:
            await self._queue(name, host, patience)
        if host.limit.rate is not None:
            try:
                await self._pace(name, host, host.limit.rate, patience)
            except BaseException:
                self.release(name)
                raise

    async def _queue(self, name: str, host: _Host, patience: float) -> None:
        turn = asyncio.get_running_loop().create_future()
        host.waiting.append(turn)
        try:
            # A slot that is handed over at the very instant of the timeout must not be lost: hence wait, not wait_for.
            await asyncio.wait([turn], timeout=patience)
        except asyncio.CancelledError:
            if turn.done():
                self.release(name)
            else:
                host.waiting.remove(turn)
            raise
        if not turn.done():
            host.waiting.remove(turn)
            raise Throttled(f"{host.limit.concurrency} requests to {name} were under way for {patience:.0f} s")

    @staticmethod
    async def _pace(name: str, host: _Host, rate: float, patience: float) -> None:
        now = asyncio.get_running_loop().time()
        begin = max(now, host.free_at)
        if begin - now > patience:
            raise Throttled(f"the rate of {rate:g}/s to {name} would let it begin in {begin - now:.0f} s")
        host.free_at = begin + 1 / rate
        if begin > now:
            await asyncio.sleep(begin - now)

    def release(self, name: str) -> None:
        """Give a slot back."""
        host = self._hosts[name]
        while host.waiting:
            turn = host.waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the slot changes hands
                return
        host.active -= 1
        if not host.active and host.free_at <= asyncio.get_running_loop().time():
            del self._hosts[name]  # else every host ever seen is remembered
