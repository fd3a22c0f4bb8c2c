"""How long the parts of a request take, and how long they may: one clock for all of them.

The parts are ``connect`` (DNS, TCP, TLS), ``first-byte`` (until the headers of the answer) and ``idle`` (until the next
piece of its body); ``total`` covers all of them, redirects included, and ``queue``, the wait for a slot of the host, and
``token``, the wait for one.

The connector, the resolver and the TLS context tell the clock of the current task where its request stands. aiohttp's
``TraceConfig`` would tell the same for about 40 µs of CPU a request, in one measurement; a timer per part took about 25, so
there is one timer, which looks when it fires whether the current part is really over.
"""

import asyncio
import socket
import ssl
import sys
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from actions.http.timeouts import TimeLimits
from actions.http.tracebacks import forget_traceback

_current: ContextVar["Timing | None"] = ContextVar("current", default=None)


class TimedOut(Exception):
    """A part of the request took too long; ``part`` is queue, connect, first-byte, idle or total."""

    def __init__(self, part: str, limit: float) -> None:
        super().__init__(f"no {_AWAITED[part]} within {limit:g} s")
        self.part = part


_AWAITED = {
    "queue": "slot of the host",
    "token": "token",
    "connect": "connection",
    "first-byte": "answer",
    "idle": "more of the body",
    "total": "complete answer",
}


class Timing:
    """The clock of one attempt; within it, the task is cancelled when a part takes too long.

    Raises, at the end of the ``with`` block:
        TimedOut: that has happened.
    """

    def __init__(self, limits: TimeLimits) -> None:
        self._loop = asyncio.get_running_loop()
        self._limits = limits
        self._by_part = {
            "queue": limits.total,
            "token": limits.total,
            "connect": limits.connect,
            "first-byte": limits.first_byte,
            "idle": limits.idle,
        }
        self._begun = self._loop.time()
        self._end = self._begun + limits.total
        self._deadline = min(self._end, self._begun + limits.connect)
        self._expired = False
        self._cancels = 0
        self.part = "connect"
        self.queue: float | None = None
        self.token: float | None = None
        self.dns: float | None = None
        self.connect: float | None = None
        self.tls: float | None = None
        self.first_byte: float | None = None
        self._connect_begun = self._tls_begun = 0.0
        self._request_begun = self._begun

    def __enter__(self) -> "Timing":
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is sent from within a task")
        self._task = task
        if sys.version_info >= (3, 11):
            self._cancels = task.cancelling()
        self._timer_at = self._deadline
        self._timer = self._loop.call_at(self._deadline, self._fire)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._timer.cancel()
        task = self._task
        del self._task  # its context holds this clock: only the garbage collector would find the two of them
        if not self._expired:
            return
        # Somebody else may have cancelled the task as well: that must not be lost.
        ours = True
        if sys.version_info >= (3, 11):
            ours = task.uncancel() <= self._cancels
        if ours and kind is asyncio.CancelledError:
            total = self._loop.time() >= self._end and self.part != "queue"
            part = "total" if total else self.part
            raise TimedOut(part, self._limits.total if total else self._by_part[part]) from None

    def _fire(self) -> None:
        if self._loop.time() < self._deadline:
            self._timer_at = self._deadline
            self._timer = self._loop.call_at(self._deadline, self._fire)
        else:
            self._expired = True
            self._task.cancel()

    def enter(self, part: str) -> None:
        """Begin ``part``: from now on its limit counts."""
        self.part = part
        self._deadline = min(self._end, self._loop.time() + self._by_part[part])
        if self._deadline < self._timer_at:
            self._timer.cancel()
            self._timer_at = self._deadline
            self._timer = self._loop.call_at(self._deadline, self._fire)

    @property
    def left(self) -> float:
        """Seconds until everything must be over."""
        return self._end - self._loop.time()

    def queue_begins(self) -> None:
        """Note that a request must wait for a slot of its host."""
        self._queue_begun = self._loop.time()
        self.enter("queue")

    def queue_ends(self) -> None:
        """Note that it has one."""
        self.queue = (self.queue or 0.0) + self._loop.time() - self._queue_begun

    def token_begins(self) -> None:
        """Note that a request must wait for its token, for which this task may ask itself."""
        self._token_begun = self._loop.time()
        self.enter("token")

    def token_ends(self) -> None:
        """Note that it has one."""
        self.token = (self.token or 0.0) + self._loop.time() - self._token_begun

    def request_begins(self) -> None:
        """Note that a request (the first, or that of a redirect) begins."""
        _current.set(self)
        self._request_begun = self._connect_begun = self._loop.time()
        self._tls_begun = 0.0
        self._dns_before = self.dns or 0.0
        self._socket_opened = False
        if self.part != "connect":
            self.enter("connect")

    def name_resolved(self, seconds: float) -> None:
        """Note how long a name took."""
        self.dns = (self.dns or 0.0) + seconds

    def socket_opened(self) -> None:
        """Note that a connection is made, rather than used again."""
        self._socket_opened = True

    def tls_begins(self) -> None:
        """Note that a handshake begins."""
        self._tls_begun = self._loop.time()

    def connected(self) -> None:
        """Note that there is a connection."""
        if self._socket_opened:
            now = self._loop.time()
            dns = (self.dns or 0.0) - self._dns_before
            if self._tls_begun:
                self.tls = (self.tls or 0.0) + now - self._tls_begun
            self.connect = (self.connect or 0.0) + (self._tls_begun or now) - self._connect_begun - dns
        self.enter("first-byte")

    def headers_arrived(self) -> None:
        """Note that an answer began."""
        self.first_byte = self._loop.time() - self._request_begun

    def report(self) -> dict[str, float | None]:
        """Return the milliseconds of each part; null where there was none, as on a connection that is used again."""
        parts = {
            "queue": self.queue,
            "token": self.token,
            "dns": self.dns,
            "connect": self.connect,
            "tls": self.tls,
            "firstByte": self.first_byte,
            "total": self._loop.time() - self._begun,
        }
        return {name: None if seconds is None else round(seconds * 1000, 1) for name, seconds in parts.items()}


def current_timing() -> Timing | None:
    """Return the clock of the request that this task sends."""
    return _current.get()


class TimedConnector(aiohttp.TCPConnector):
    """Tells the current request that it has a connection."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        """Return a connection, made or used again."""
        try:
            connection = await super().connect(*args, **kwargs)
        except aiohttp.ClientConnectorError as error:
            forget_traceback(error)  # a request may be tried again, and only the last error is seen by who asked for it
            raise
        timing = _current.get()
        if timing is not None:
            timing.connected()
        return connection


class TimedResolver(AbstractResolver):
    """Tells the current request how long its name took."""

    def __init__(self, resolver: AbstractResolver) -> None:
        self._resolver = resolver

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host``."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        try:
            return await self._resolver.resolve(host, port, family)
        finally:
            timing = _current.get()
            if timing is not None:
                timing.name_resolved(clock() - begun)

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._resolver.close()


class TimedSSLContext(ssl.SSLContext):
    """Tells the current request when its handshake begins, which aiohttp does not."""

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        """Begin a handshake."""
        timing = _current.get()
        if timing is not None:
            timing.tls_begins()
        return super().wrap_bio(*args, **kwargs)
