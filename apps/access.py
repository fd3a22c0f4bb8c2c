"""The door of every service: who asks, and whether they may.

``AUTH=none`` (the default) is for one's own machine: a service listens on loopback alone and lets everybody on the machine
in; elsewhere it refuses to start. Two things are still turned away, because they come from the browser of somebody on the
machine and not from that person: changes asked for by a page of another site, and requests under a host name that is not
this machine's (a foreign name that was made to point here). ``AUTH=open`` lets everybody in who can reach the service.

``AUTH=tokens``: a request brings a token as ``Authorization: Bearer``, or, from a browser, in the cookie that ``/login``
set; then every change must also carry ``X-CSRF-Token``. A token that was looked up is believed for ``BELIEVED`` seconds, so
that a request costs no round trip; a revoked one works that long at most. What a route asks for stands beside the view
(:mod:`apps.operations`).
"""

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson
import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from apps.operations import needed_scope
from domain.access import Scope, Token, csrf_of, token_id_of
from domain.instants import instant
from store.interfaces import StoreError, StoreUnavailable, Tokens

log = structlog.get_logger(__name__)

SESSION_COOKIE: Final = "wf_session"
CSRF_COOKIE: Final = "wf_csrf"
CSRF_HEADER: Final = "X-CSRF-Token"
SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
BELIEVED: Final = 5.0  # seconds
USE_NOTED_EVERY: Final = 60.0  # seconds
_MOST_REMEMBERED: Final = 10_000


class AccessError(Exception):
    """Base of the refusals; the message names the mend."""


class NotAuthenticated(AccessError):
    """Nobody said who is asking, or the token is not good."""

    def __init__(self, why: str = "Nobody is logged in.") -> None:
        super().__init__(f"{why} Send a token as Authorization: Bearer wf_…, or log in at /login.")


class NotAllowed(AccessError):
    """The caller may not do this."""


@dataclass(frozen=True)
class Principal:
    """Who asks."""

    name: str
    scope: Scope
    token_id: str | None = None
    csrf: str | None = None  # of a browser that is logged in


ANYBODY: Final = Principal("anonymous", Scope.ADMIN)
PRINCIPAL: Final = web.RequestKey("principal", Principal)


def is_loopback(host: str) -> bool:
    """Tell whether an address can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def principal_of(request: web.BaseRequest) -> Principal:
    """Return who asks."""
    found: Principal = request.get(PRINCIPAL, ANYBODY)
    return found


class Gate:
    """Decides on each request before its view is called."""

    def __init__(
        self,
        *,
        mode: str,
        hosts: frozenset[str],
        views: Callable[[], Any],
        tokens: Callable[[], Tokens],
        answer: Callable[[Exception], web.Response],
        login_path: str = "",
        origins: frozenset[str] = frozenset(),
        now: Callable[[], datetime] = lambda: instant(datetime.now(timezone.utc)),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare; ``hosts`` are the names that this service has, ``views`` its views by path."""
        self._mode = mode
        self._hosts = hosts
        self._views = views
        self._tokens = tokens
        self._answer = answer
        self._login_path = login_path
        self._origins = origins
        self._now = now
        self._monotonic = monotonic
        self._believed: dict[str, tuple[float, Token | None]] = {}
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Call the view, or say why not."""
        try:
            self._check_browser(request)
            if self._mode == "tokens":
                await self._check_token(request)
        except NotAuthenticated as error:
            if self._login_path and request.method == "GET" and "text/html" in request.headers.get(hdrs.ACCEPT, ""):
                address = f"{self._login_path}?next={quote(request.path_qs, safe='')}"
                return web.Response(status=303, headers={"Location": address, "Cache-Control": "no-store"})
            return self._answer(error)
        except (AccessError, StoreUnavailable) as error:
            return self._answer(error)
        return await handler(request)

    def _check_browser(self, request: web.Request) -> None:
        """Turn away what another site asks for through a browser."""
        host = request.headers.get(hdrs.HOST, "")
        if self._mode == "none" and host and not _is_one_of(host, self._hosts):
            raise NotAllowed(
                f"Without authentication this service answers under the names of its own machine, not as {host[:100]}. "
                "Set AUTH=tokens, or AUTH=open to let everybody in."
            )
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or request.method in SAFE or origin in self._origins:
            return
        if _netloc(origin) != host:
            raise NotAllowed(f"Changes asked for by pages of {origin[:100]} are refused; CORS_ORIGINS can allow them.")

    async def _check_token(self, request: web.Request) -> None:
        resource = request.match_info.route.resource
        if resource is None:
            return  # there is nothing at this address, which is no secret
        view = self._views().get(resource.canonical)
        needed = needed_scope(view, request.method)
        # The browser's question before a request to another origin; it carries no token.
        if needed is Scope.PUBLIC or (request.method == "OPTIONS" and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers):
            return
        principal = await self.identify(request)
        request[PRINCIPAL] = principal
        if not principal.scope.covers(needed):
            raise NotAllowed(
                f"This needs a token of scope {needed.value}; {principal.name} has scope {principal.scope.value}."
            )

    async def identify(self, request: web.Request) -> Principal:
        """Return who asks.

        Raises:
            NotAuthenticated: there is no good token.
            NotAllowed: a browser asks for a change without X-CSRF-Token.
        """
        if self._mode != "tokens":
            return ANYBODY
        header = request.headers.get(hdrs.AUTHORIZATION)
        if header is not None:
            kind, _, text = header.partition(" ")
            if kind.lower() != "bearer":
                raise NotAuthenticated("The Authorization header is not of the kind Bearer.")
            return await self.recognize(text.strip())
        text = request.cookies.get(SESSION_COOKIE, "")
        if not text:
            raise NotAuthenticated
        principal = await self.recognize(text)
        csrf = csrf_of(text)
        given = request.headers.get(CSRF_HEADER, "")
        if request.method not in SAFE and not hmac.compare_digest(given.encode("utf-8", "replace"), csrf.encode()):
            raise NotAllowed(f"A browser must send {CSRF_HEADER} with every change: the value of the cookie {CSRF_COOKIE}.")
        return Principal(principal.name, principal.scope, principal.token_id, csrf)

    async def recognize(self, text: str) -> Principal:
        """Return whose token ``text`` is.

        Raises:
            NotAuthenticated: it is nobody's, revoked or expired.
        """
        if self._mode != "tokens":
            return ANYBODY
        token_id = token_id_of(text)
        token = None if token_id is None else await self._look_up(token_id)
        # Which of these it was is not told: somebody who tries tokens should not learn that one has existed.
        if token is None or not token.matches(text) or not token.is_good(self._now()):
            raise NotAuthenticated("The token is unknown, revoked or expired.")
        self._note_use(token.token_id)
        return Principal(token.name, token.scope, token.token_id)

    async def _look_up(self, token_id: str) -> Token | None:
        at = self._monotonic()
        known = self._believed.get(token_id)
        if known is not None and at - known[0] < BELIEVED:
            return known[1]
        token = await self._tokens().get(token_id)
        if len(self._believed) >= _MOST_REMEMBERED:  # somebody tries ids
            self._believed.clear()
        self._believed[token_id] = (at, token)
        return token

    def _note_use(self, token_id: str) -> None:
        at = self._monotonic()
        if at - self._noted.get(token_id, float("-inf")) < USE_NOTED_EVERY:
            return
        if len(self._noted) >= _MOST_REMEMBERED:  # some make a token for every job
            self._noted.clear()
        self._noted[token_id] = at
        task = asyncio.get_running_loop().create_task(self._write_use(token_id))
        self._notes.add(task)
        task.add_done_callback(self._notes.discard)

    async def _write_use(self, token_id: str) -> None:
        try:
            await self._tokens().note_use(token_id, self._now())
        except StoreError as error:
            log.warning("use of a token not noted", token_id=token_id, error=str(error))


@lru_cache(maxsize=100)  # each client names the same one in every request
def _is_one_of(host: str, hosts: frozenset[str]) -> bool:
    """Tell whether a Host header has one of these names, or one of this machine's own."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return name in hosts or is_loopback(name)


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def refusal(error: Exception) -> web.Response:
    """Return the answer to a refusal, for services that have no problems of their own."""
    status, title = (401, "Not authenticated") if isinstance(error, NotAuthenticated) else (403, "Not allowed")
    detail = str(error)
    headers = {"Content-Type": "application/problem+json"}
    if isinstance(error, StoreUnavailable):
        status, title, detail = 503, "Database unavailable", "The database cannot be reached. Send the request again later."
        headers["Retry-After"] = "5"
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="workflow-automation"'
    members = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return web.Response(body=orjson.dumps(members), status=status, headers=headers)
