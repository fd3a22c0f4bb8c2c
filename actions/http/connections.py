"""What all HTTP requests of a runner share: pooled connections, resolved names, tokens, the guard and the limits.

There are two pools. Hosts that the operator allowed by name are reached through one that connects to whatever the name
resolves to; everything else goes through the guarded one. A connection made for a trusted name can therefore never serve a
request that must be guarded. Within a pool, connections are told apart by host, port, TLS settings and proxy.
"""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import aiohttp
from aiohttp.abc import AbstractResolver
from aiohttp.resolver import ThreadedResolver
from aiohttp_retry import ExponentialRetry, RetryClient
from yarl import URL

from actions.http.failures import RequestFailed
from actions.http.guard import Guard, GuardedResolver
from actions.http.limits import HostLimit, HostLimits
from actions.http.timing import TimedConnector, TimedResolver, current_timing
from actions.http.tls_contexts import TlsContexts
from actions.http.tokens import Tokens

DNS_SECONDS: Final = 10  # how long a resolved name is believed
IDLE_SECONDS: Final = 15  # how long an unused connection is kept
LONGEST_HEADER: Final = 65_536  # bytes of one line; aiohttp's 8190 are too few for some policies and cookies

# After the first try.
_CONNECTION_RETRIES: Final = ExponentialRetry(
    attempts=2, start_timeout=0.05, max_timeout=0.5, exceptions={aiohttp.ClientConnectorError}, retry_all_server_errors=False
)


@dataclass(frozen=True)
class HttpSettings:
    """What the operator sets."""

    allow_hosts: Sequence[str] = ()
    default_limit: HostLimit = field(default_factory=HostLimit)
    host_limits: Mapping[str, HostLimit] = field(default_factory=dict)
    tls_dir: Path | None = None


class Client:
    """Sends requests; a connection that cannot be made is tried again at once, for nothing has left that would be repeated.

    The first try goes past the retrying client, which costs a tenth of a request's CPU.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self._again = RetryClient(client_session=session, retry_options=_CONNECTION_RETRIES, raise_for_status=False)

    async def send(self, method: str, url: URL, **options: Any) -> aiohttp.ClientResponse:
        """Send one request and return the answer, also one that redirects."""
        try:
            return await self._session.request(method, url, allow_redirects=False, **options)
        except aiohttp.ClientConnectorError:
            pass
        response: aiohttp.ClientResponse = await self._again.request(method, url, allow_redirects=False, **options)
        return response

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


class Connections:
    """Opened at the first request, so that it can be made before the loop runs."""

    def __init__(self, settings: HttpSettings | None = None) -> None:
        settings = settings or HttpSettings()
        self.guard = Guard(settings.allow_hosts)
        self.limits = HostLimits(settings.default_limit, settings.host_limits)
        self.tls = TlsContexts(settings.tls_dir)
        self.tokens = Tokens()
        self._guarded: Client | None = None
        self._trusting: Client | None = None
        self._resolver: GuardedResolver | None = None

    async def client_for(self, url: URL, proxy: URL | None = None) -> Client:
        """Return the client for a request.

        A proxy is connected to like any host. What it connects to is its own doing, so the target is resolved and judged
        here as well: a proxy inside the network is no way around the guard.

        Raises:
            BlockedAddress: the address that the URL (or that of the proxy) spells may not be connected to, or, behind a
                proxy, the name resolves to such an address.
            RequestFailed: behind a proxy, the name cannot be resolved.
        """
        host = url.host or ""
        trusted = self.guard.admits_host(host)
        if proxy is not None:
            if not trusted:
                await self._resolve(host, url.port or 0)
            trusted = self.guard.admits_host(proxy.host or "")
        if trusted:
            if self._trusting is None:
                self._trusting = _open(ThreadedResolver(), lambda info: socket.socket(*info[:3]))
            return self._trusting
        if self._guarded is None:
            self._guarded = _open(GuardedResolver(self.guard), self.guard.open_socket)
        return self._guarded

    async def _resolve(self, host: str, port: int) -> None:
        if self._resolver is None:
            self._resolver = GuardedResolver(self.guard)
        try:
            await self._resolver.resolve(host, port)
        except OSError as error:
            raise RequestFailed("dns", f"{host} cannot be resolved: {error.strerror or error}") from error

    async def close(self) -> None:
        """Close every connection."""
        for client in (self._guarded, self._trusting):
            if client is not None:
                await client.close()
        self._guarded = self._trusting = None


def _open(resolver: AbstractResolver, make_socket: Callable[[Any], socket.socket]) -> Client:
    def noted(info: Any) -> socket.socket:
        timing = current_timing()
        if timing is not None:
            timing.socket_opened()
        return make_socket(info)

    connector = TimedConnector(
        limit=0,
        ttl_dns_cache=DNS_SECONDS,
        keepalive_timeout=IDLE_SECONDS,
        resolver=TimedResolver(resolver),
        socket_factory=noted,
    )
    session = aiohttp.ClientSession(
        connector=connector,
        # Cookies would travel from one workflow's requests to another's.
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=None),
        max_line_size=LONGEST_HEADER,
        max_field_size=LONGEST_HEADER,
    )
    # aiohttp sends an idempotent request whose connection broke a second time, by itself and unseen. What has left is for
    # the workflow's retry policy, and for onUnknown, to send again. There is no public way to say so.
    session._retry_connection = False
    return Client(session)


@lru_cache(maxsize=1)
def user_agent() -> str:
    """Return what requests say they come from."""
    try:
        return f"workflow-automation/{version('workflow-automation')}"
    except PackageNotFoundError:
        return "workflow-automation"
