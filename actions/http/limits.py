"""How much one runner asks of one host: requests at the same time, and per second, over all its executions.

Every request counts, also one that a redirect leads to. Whoever waits is served in the order of arrival, so no execution can
starve another; whoever gives up waiting leaves his turn to the next.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from pydantic import BaseModel, ConfigDict, Field

MOST_IDLE: Final = 1000  # hosts that are remembered though nothing is asked of them
CATCH_UP: Final = 0.05  # seconds by which a late timer may be made up for: else the rate is never reached


class HostLimit(BaseModel):
    """The limits of one host."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    concurrency: int = Field(default=500, ge=1, description="Requests at the same time.")
    rate: float | None = Field(
        default=None, gt=0, le=100_000, description="Requests begun per second; no limit when absent."
    )


class Throttled(Exception):
    """The rate of the host does not let the request begin in time."""


@dataclass(eq=False)
class _Host:
    name: str
    limit: HostLimit
    active: int = 0  # requests under way, and those that have a slot and wait for the rate
    waiting: deque["asyncio.Future[None]"] = field(default_factory=deque)  # for a slot
    free_at: float = 0.0  # loop time from which the rate lets the next request begin
    pacing: int = 0  # how many wait for that
    turns: asyncio.Lock = field(default_factory=asyncio.Lock)  # one after the other; it is fair


class HostLimits:
    """Slots of every host; first come, first served."""

    def __init__(self, default: HostLimit | None = None, hosts: Mapping[str, HostLimit] | None = None) -> None:
        self._default = default or HostLimit()
        self._limits = {_key(name): self._completed(limit) for name, limit in (hosts or {}).items()}
        self._hosts: dict[str, _Host] = {}

    def begin(self, name: str) -> bool:
        """Begin a request to ``name`` and return True, or False where it must :meth:`wait`; end it with :meth:`release`."""
        host = self._host(name)
        if host.active >= host.limit.concurrency or host.waiting or host.limit.rate is not None:
            return False
        host.active += 1
        return True

    def _completed(self, limit: HostLimit) -> HostLimit:
        """Return a host's own limit, with what it does not say taken from the default."""
        return self._default.model_copy(update={name: getattr(limit, name) for name in limit.model_fields_set})

    async def wait(self, name: str, patience: float) -> None:
        """Begin a request as soon as it may; end it with :meth:`release`, unless this was cancelled or has raised.

        Raises:
            Throttled: the rate will not let it begin within ``patience`` seconds.
        """
        host = self._host(name)
        if host.active < host.limit.concurrency and not host.waiting:
            host.active += 1
        else:
            await self._queue(host)
        if host.limit.rate is None:
            return
        try:
            await self._pace(host, host.limit.rate, patience)
        except BaseException:
            self.release(name)
            raise

    async def _queue(self, host: _Host) -> None:
        turn = asyncio.get_running_loop().create_future()
        host.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # passed over already
                    host.waiting.remove(turn)
            else:
                self.release(host.name)  # it was handed over at the very instant
            raise

    @staticmethod
    async def _pace(host: _Host, rate: float, patience: float) -> None:
        clock = asyncio.get_running_loop().time
        came = clock()
        wait = max(0.0, host.free_at - came) + host.pacing / rate
        if wait > patience:
            raise Throttled(f"the rate of {rate:g}/s to {host.name} would let it begin in {wait:.0f} s")
        host.pacing += 1
        try:
            async with host.turns:
                waits = came < host.free_at
                if waits:
                    await asyncio.sleep(host.free_at - clock())
                host.free_at = (max(host.free_at, clock() - CATCH_UP) if waits else clock()) + 1 / rate
        finally:
            host.pacing -= 1

    def release(self, name: str) -> None:
        """End a request: its slot is free for the next."""
        host = self._host(name)
        while host.waiting:
            turn = host.waiting.popleft()
            if not turn.done():
                turn.set_result(None)  # the slot changes hands
                return
        host.active -= 1
        if len(self._hosts) > MOST_IDLE and not host.active:
            self._forget_idle()

    def _host(self, name: str) -> _Host:
        host = self._hosts.get(name)
        if host is not None:
            return host
        key = _key(name)
        host = self._hosts.get(key)
        if host is None:
            host = self._hosts[key] = _Host(key, self._limits.get(key, self._default))
        return host

    def _forget_idle(self) -> None:
        now = asyncio.get_running_loop().time()
        self._hosts = {name: host for name, host in self._hosts.items() if host.active or host.free_at > now}


def _key(name: str) -> str:
    return name.lower().rstrip(".")  # the dot of the root makes no other host
