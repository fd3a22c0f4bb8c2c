"""How long the parts of a request take, and how long they may: one timer that each part sets anew.

The parts are ``connect`` (DNS, TCP, TLS), ``first-byte`` (until the headers of the answer) and ``idle`` (until the next
piece of its body); ``total`` covers all of them, redirects included.
"""

import asyncio
import ssl
import sys
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import aiohttp

if sys.version_info >= (3, 11):
    from asyncio import timeout_at
else:
    from async_timeout import timeout_at

_current: ContextVar["Timing | None"] = ContextVar("current", default=None)


@dataclass(frozen=True)
class TimeLimits:
    """In seconds."""

    connect: float
    first_byte: float
    idle: float
    total: float


class TimedOut(Exception):
    """A part of the request took too long; ``part`` is connect, first-byte, idle or total."""

    def __init__(self, part: str, limit: float) -> None:
        super().__init__(f"no {_AWAITED[part]} within {limit:g} s")
        self.part = part


_AWAITED = {"connect": "connection", "first-byte": "answer", "idle": "more of the body", "total": "complete answer"}


class Timing:
    """The clock of one attempt."""

    def __init__(self, limits: TimeLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._by_part = {"connect": limits.connect, "first-byte": limits.first_byte, "idle": limits.idle}
        self._begun = self._loop.time()
        self._end = self._begun + limits.total
        self._timeout = timeout_at(min(self._end, self._begun + limits.connect))
        self.part = "connect"
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self.first_byte: float | None = None
        self._dns_begun = self._connect_begun = self._tls_begun = 0.0
        self._request_begun = self._begun

    async def __aenter__(self) -> "Timing":
        await self._timeout.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, error, trace)
        except asyncio.TimeoutError:
            total = self._loop.time() >= self._end
            part = "total" if total else self.part
            raise TimedOut(part, self._limits.total if total else self._by_part[part]) from None

    def enter(self, part: str) -> None:
        """Begin ``part``: from now on its limit counts."""
        self.part = part
        when = min(self._end, self._loop.time() + self._by_part[part])
        if sys.version_info >= (3, 11):
            self._timeout.reschedule(when)
        else:
            self._timeout.update(when)

    def request_begins(self) -> None:
        """Note that a request (the first, or that of a redirect) begins."""
        self._request_begun = self._loop.time()
        _current.set(self)

    def headers_arrived(self) -> None:
        """Note that an answer began."""
        self.first_byte = self._loop.time() - self._request_begun

    def tls_begins(self) -> None:
        """Note that a handshake begins."""
        self._tls_begun = self._loop.time()

    def report(self) -> dict[str, float | None]:
        """Return the milliseconds of each part; null where there was none, as on a connection that is used again."""
        parts = {
            "dns": self.dns,
            "connect": self.connect,
            "tls": self.tls,
            "firstByte": self.first_byte,
            "total": self._loop.time() - self._begun,
        }
        return {name: None if seconds is None else round(seconds * 1000, 1) for name, seconds in parts.items()}

    # -- what the session's trace tells --------------------------------------------------------------------------------

    def _dns_begins(self) -> None:
        self._dns_begun = self._loop.time()

    def _dns_ended(self) -> None:
        self.dns = (self.dns or 0.0) + self._loop.time() - self._dns_begun

    def _connect_begins(self) -> None:
        self._connect_begun, self._tls_begun = self._loop.time(), 0.0
        self._dns_before = self.dns or 0.0
        self.enter("connect")

    def _connected(self) -> None:
        now = self._loop.time()
        end = self._tls_begun or now
        if self._tls_begun:
            self.tls = (self.tls or 0.0) + now - self._tls_begun
        self.connect = (self.connect or 0.0) + end - self._connect_begun - ((self.dns or 0.0) - self._dns_before)
        self.enter("first-byte")

    def _reused(self) -> None:
        self.enter("first-byte")


def trace_config() -> aiohttp.TraceConfig:
    """Return what makes a session tell the :class:`Timing` in ``trace_request_ctx["timing"]`` where it stands."""

    def telling(note: Any) -> Any:
        async def tell(session: aiohttp.ClientSession, context: Any, params: Any) -> None:
            note(context.trace_request_ctx["timing"])

        return tell

    config = aiohttp.TraceConfig()
    config.on_dns_resolvehost_start.append(telling(Timing._dns_begins))
    config.on_dns_resolvehost_end.append(telling(Timing._dns_ended))
    config.on_connection_create_start.append(telling(Timing._connect_begins))
    config.on_connection_create_end.append(telling(Timing._connected))
    config.on_connection_reuseconn.append(telling(Timing._reused))
    return config


class TimedSSLContext(ssl.SSLContext):
    """Tells the current request when its handshake begins, which aiohttp does not."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a handshake."""
        timing = _current.get()
        if timing is not None:
            timing.tls_begins()
        return super().wrap_bio(*args, **kwargs)
