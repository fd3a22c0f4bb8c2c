"""Gives what can go wrong with a request a stable name, and tells whether the request may have left."""

import asyncio
from dataclasses import dataclass

import aiohttp

from actions.http.guard import BlockedAddress
from actions.http.limits import Throttled
from actions.http.timing import TimedOut


@dataclass
class RequestFailed(Exception):
    """The request came to nothing; ``left`` tells whether the receiver may have got it.

    ``status`` is that of the answer which decides whether it is tried again, ``retry_after`` how many seconds that asks to
    wait.
    """

    error_class: str
    message: str
    left: bool = False
    status: int | None = None
    retry_after: float | None = None

    def __str__(self) -> str:
        return self.message


def failure_of(error: Exception, connected: bool) -> RequestFailed:
    """Return what ``error`` means; ``connected`` tells whether there was a connection to send the request on."""
    if isinstance(error, RequestFailed):
        return error
    if isinstance(error, BlockedAddress):
        return RequestFailed("blocked-address", str(error))
    if isinstance(error, Throttled):
        return RequestFailed("throttled", str(error))
    if isinstance(error, TimedOut) and error.part == "queue":
        return RequestFailed("throttled", f"{error}: as many requests as its limit allows were under way")
    if isinstance(error, TimedOut):
        return RequestFailed(f"timeout-{error.part}", str(error), left=connected)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return RequestFailed("dns", f"{error.host} cannot be resolved: {_cause(error)}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return RequestFailed("certificate", f"the certificate of {error.host} is not trusted: {error.certificate_error}")
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return RequestFailed("proxy", f"the proxy {error.host}:{error.port} cannot be reached: {_cause(error)}")
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return RequestFailed("proxy", f"the proxy answered {error.status} {error.message}")
    if isinstance(error, aiohttp.ClientSSLError):
        return RequestFailed("tls", f"no TLS connection to {error.host}: {_cause(error)}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return RequestFailed("connect", f"cannot connect to {error.host}:{error.port}: {_cause(error)}")
    if isinstance(error, aiohttp.InvalidURL):
        return RequestFailed("url", "the URL cannot be requested")
    if isinstance(error, aiohttp.ClientPayloadError) and "content-encoding" in str(error):
        return RequestFailed("body-decode", "the body is not encoded as its Content-Encoding says", left=True)
    if isinstance(error, aiohttp.ClientResponseError) and "content-encoding" in error.message:
        return RequestFailed("body-decode", f"the body has a Content-Encoding that is not known: {error.message}", left=True)
    if isinstance(error, aiohttp.ClientResponseError):
        return RequestFailed("bad-response", f"the answer is not HTTP: {error.message}", left=True)
    if isinstance(error, aiohttp.ClientPayloadError):
        return RequestFailed("disconnected", "the connection ended before the body did", left=True)
    if isinstance(error, aiohttp.ClientConnectionError | OSError):
        return RequestFailed("disconnected", f"the connection was lost: {error or type(error).__name__}", left=True)
    return RequestFailed("request", f"{error or type(error).__name__}", left=connected)


def _cause(error: aiohttp.ClientConnectorError) -> str:
    cause = error.os_error
    return cause.strerror or str(cause) or type(cause).__name__


EXPECTED = (
    RequestFailed,
    BlockedAddress,
    Throttled,
    TimedOut,
    aiohttp.ClientError,
    asyncio.TimeoutError,
    OSError,
    ValueError,
)
"""What sending a request may raise."""
