"""One attempt at an HTTP request, from the slot of the host to the outcome.

It runs against one clock (:mod:`actions.http.timing`): the wait for a slot of the host, request, redirects, body. Within it,
only what failed before a request could have left (a connection that was not made) is tried again by aiohttp-retry, a few
times and at once; everything else is the workflow's retry policy's business, which is visible in the execution's history.

Every address, also that of a redirect, passes the guard (:mod:`actions.http.guard`). A request that proves itself by OAuth
2.0 begins with one for a token, where this runner has none (:mod:`actions.http.tokens`): by the same rules and against the
same clock, and before anything is sent to its own receiver.
"""

import codecs
import time
from dataclasses import replace
from datetime import datetime, timezone
from typing import Any, Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from actions.http.auth import Credentials, OAuth2Auth, basic, bearer
from actions.http.connections import Connections, user_agent
from actions.http.expectations import Expectations
from actions.http.failures import EXPECTED, RequestFailed, failure_of
from actions.http.oauth2 import LONGEST_ANSWER, token_key, token_of, token_request
from actions.http.reading import Body, read_body
from actions.http.requests import REDIRECTS, Request, traceparent
from actions.http.responses import kept_headers, retry_after
from actions.http.timing import Timing
from actions.http.tls import Tls
from actions.http.tls_contexts import BadTls
from actions.http.tokens import Token
from actions.http.tracebacks import forget_traceback
from actions.http_request import MAX_BODY, MAX_REDIRECTS, STORE_BODY, STORE_REQUEST_BODY, HttpRequestAction
from actions.running import Context, Failed, Outcome, Succeeded, redacted
from domain.excerpts import excerpt
from vault.interfaces import UnknownSecret

LOGGED_CHARACTERS: Final = 50
STORED_OF_A_FAILURE: Final = 8192  # bytes: an execution keeps the answers of all its failed attempts
_DEFAULT_EXPECTATIONS: Final = Expectations()


def _request(action: HttpRequestAction, context: Context, credentials: Credentials | None) -> Request:
    parts = action.parts
    key = context.idempotency_key
    headers: CIMultiDict[str] = CIMultiDict(
        {
            "User-Agent": user_agent(),
            "Idempotency-Key": key,
            "Workflow-Attempt": str(context.attempt),
            "Workflow-Epoch": str(context.epoch),
            "traceparent": traceparent(context.execution_id, f"{key}:{context.attempt}"),
        }
    )
    headers.update(parts.headers)
    if credentials is None:
        return Request(action.method, parts.url, headers, parts.body)
    headers.update(credentials.headers)
    url = parts.url.update_query(credentials.query) if credentials.query else parts.url
    names = frozenset((*credentials.headers, *credentials.query))
    return Request(action.method, url, headers, parts.body, names, credentials.sign)


class Attempt:
    """One attempt, from the slot to the outcome."""

    request: Request

    def __init__(self, action: HttpRequestAction, context: Context) -> None:
        self.action = action
        self.context = context
        self.connections: Connections = context.resources.http
        self.hops: list[str] = []
        self.max_redirects = MAX_REDIRECTS if action.max_redirects is None else action.max_redirects
        self.max_body = MAX_BODY if action.max_body is None else action.max_body
        self.store_body = STORE_BODY if action.store_body is None else action.store_body
        self.arrived = False  # whether some request of this attempt has been answered
        self.response: aiohttp.ClientResponse | None = None  # the answer to the last one
        self.slot: str | None = None  # of which host this attempt has one
        self.tokens: list[Token] = []  # those that it has used; the last one was the newest
        self.token_key = b""
        self.may_renew = False  # whether a token that is refused is worth another one, and the request another try
        self.asked: str | None = None  # where it is asking for a token
        self.output: dict[str, Any] = {}

    async def run(self) -> Outcome:
        outcome = await self._outcome()
        for token in self.tokens:
            outcome = redacted(outcome, token.redactor)
        return outcome

    async def _outcome(self) -> Outcome:
        timing = Timing(self.action.time_limits)
        try:
            with timing:
                await self._prepare(timing)
                response, body = await self._converse(timing)
        except BadTls as error:
            return self._failed(RequestFailed("tls-settings", str(error)))
        except UnknownSecret as error:
            return Failed("secret", str(error), output=self.output or None)
        except EXPECTED as error:
            self.output["timings"] = timing.report()
            forget_traceback(error)
            failed = failure_of(error, connected=timing.part not in ("queue", "connect"))
            if self.asked is not None:
                # Its own request is not sent without one.
                failed = replace(failed, message=f"no token from {self.asked}: {failed.message}", left=False)
            return self._failed(failed)
        finally:
            self._leave()
        self.output["timings"] = timing.report()
        return self._judge(response, body)

    async def _prepare(self, timing: Timing) -> None:
        request = self.request = _request(self.action, self.context, await self._credentials(timing))
        self.output["request"] = {
            "method": request.method,
            "url": request.shown,
            "headers": self.action.parts.shown_headers,
            "bodyLength": len(request.body or b""),
            **self._sent(request.body or b""),
            "traceparent": request.headers["traceparent"],
        }

    def _sent(self, body: bytes) -> dict[str, Any]:
        """Return what is kept of the body that is sent: how it begins, where it is text."""
        action = self.action
        kept = body[: STORE_REQUEST_BODY if action.store_request_body is None else action.store_request_body]
        whole = len(kept) == len(body)
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(kept, final=whole)
        except UnicodeDecodeError:
            return {}
        if not text:
            return {}
        return {"body": text} if whole else {"body": self._cut(text), "bodyTruncated": True}

    async def _credentials(self, timing: Timing) -> Credentials | None:
        auth = self.action.auth
        if isinstance(auth, OAuth2Auth):
            token = await self._token(auth, timing)
            self.tokens.append(token)
            return bearer(token.value)
        return None if auth is None else await auth.credentials(self.context.secret)

    async def _token(self, auth: OAuth2Auth, timing: Timing) -> Token:
        """Return the token that this runner has, or a new one."""
        secret = await self.context.secret(auth.client_secret)
        tokens, key = self.connections.tokens, token_key(auth, secret, self.action.tls, self.action.proxy)
        token = tokens.get(key)
        # One that was made for this attempt was refused for what it is, not for its age; and twice is enough.
        self.may_renew = token is not None and not self.tokens
        self.token_key = key
        if token is None:
            self.asked = auth.shown_url
            self._leave()  # whoever asks may need the very slot
            timing.token_begins()
            token = await tokens.fetch(key, lambda: self._fetch(auth, secret, timing))
            timing.token_ends()
            self.asked = None
        return token

    async def _fetch(self, auth: OAuth2Auth, secret: str, timing: Timing) -> Token:
        asked_at = self.connections.tokens.now()
        response = await self._send(token_request(auth, secret), timing)
        try:
            return token_of(response, await read_body(response, LONGEST_ANSWER, timing), asked_at, secret)
        finally:
            response.release()

    async def _converse(self, timing: Timing) -> tuple[aiohttp.ClientResponse, Body]:
        """Send the request, once more where its token had become void, follow redirects, read the body."""
        while True:
            self.response = None
            response = self.response = await self._send(self.request, timing)
            if self._refuses_token(response) and self.may_renew and not self.hops:
                response.release()
                await self._prepare(timing)
                continue
            self.arrived = True
            location = response.headers.get("Location")
            if response.status not in REDIRECTS or location is None or not self.max_redirects:
                try:
                    return response, await read_body(response, self.max_body, timing)
                finally:
                    response.release()
            response.release()
            if len(self.hops) == self.max_redirects:
                raise RequestFailed("too-many-redirects", f"redirected more than {self.max_redirects} times", True)
            self.request = self.request.redirected(response.status, location, self.context.resources.secrets.redactor.hides)
            self.hops.append(self.request.shown)

    def _refuses_token(self, response: aiohttp.ClientResponse) -> bool:
        """Tell whether the token was refused, and with it the request; nobody uses that token again."""
        expect = self.action.expect or _DEFAULT_EXPECTATIONS
        if response.status != 401 or not self.tokens or not self.request.own_origin or expect.accepts_status(401):
            return False
        self.connections.tokens.drop(self.token_key, self.tokens[-1])
        return True

    async def _enter(self, host: str, timing: Timing) -> None:
        """Take a slot of the host that the next request goes to, and give back that of the one before."""
        self._leave()
        if not self.connections.limits.begin(host):
            timing.queue_begins()
            await self.connections.limits.wait(host, timing.left)
            timing.queue_ends()
        self.slot = host

    def _leave(self) -> None:
        if self.slot is not None:
            self.connections.limits.release(self.slot)
            self.slot = None

    async def _send(self, request: Request, timing: Timing) -> aiohttp.ClientResponse:
        await self._enter(request.url.host or "", timing)
        options = await self._proxy()
        if request.url.scheme == "https":
            options["ssl"] = await self.connections.tls.get(self._tls(request), self.context.secret)
        client = await self.connections.client_for(request.url, options.get("proxy"))
        timing.request_begins()
        headers = request.headers_at(int(time.time()))
        if request.url.scheme == "http" and "proxy_headers" in options:
            # A proxy reads them in the request itself, unless it is asked for a tunnel first.
            headers = CIMultiDict(headers, **options.pop("proxy_headers"))
        response = await client.send(request.method, request.url, headers=headers, data=request.body, **options)
        timing.headers_arrived()
        return response

    def _tls(self, request: Request) -> Tls | None:
        tls = self.action.tls
        if tls is None or request.own_origin:
            return tls
        # A client certificate is a credential; the authority is not.
        return tls.without_certificate()

    async def _proxy(self) -> dict[str, Any]:
        proxy = self.action.proxy
        if proxy is None:
            return {}
        url = URL(proxy.url)
        if proxy.username is None:
            return {"proxy": url}
        password = await self.context.secret(proxy.password_secret) if proxy.password_secret else ""
        return {"proxy": url.with_user(None), "proxy_headers": {"Proxy-Authorization": basic(proxy.username, password)}}

    def _note_answer(self) -> None:
        """Keep how the answer began, whatever became of its body."""
        if self.response is not None:
            self.output["status"] = self.response.status
            self.output["headers"] = kept_headers(self.response.headers, self.action.store_headers or ())
        if self.hops:
            self.output["redirects"] = self.hops

    def _judge(self, response: aiohttp.ClientResponse, body: Body) -> Outcome:
        self._note_answer()
        failed = self._unmet(response, body)
        self.output |= self._report(body, self.store_body if failed is None else min(self.store_body, STORED_OF_A_FAILURE))
        text = self.output.get("text")
        excerpt = body.excerpt(LOGGED_CHARACTERS) if text is None else text[:LOGGED_CHARACTERS]
        log = f"{self.action.shown_url} [STATUS {response.status}] => {excerpt}"
        if failed is None:
            return Succeeded(logs=(log,), output=self.output)
        return self._failed(failed, log=log)

    def _report(self, body: Body, limit: int) -> dict[str, Any]:
        report = body.report(limit)
        if report["body"]["truncated"]:
            report |= {name: self._cut(report[name]) for name in ("text", "base64") if name in report}
        return report

    def _cut(self, text: str) -> str:
        """Return a text that has been cut unmarked, which nothing else in the output is: it may be within a secret."""
        for redactor in (self.context.resources.secrets.redactor, *(token.redactor for token in self.tokens)):
            text = redactor.cut(text)
        return text

    def _unmet(self, response: aiohttp.ClientResponse, body: Body) -> RequestFailed | None:
        """Return what is expected and not so."""
        expect = self.action.expect or _DEFAULT_EXPECTATIONS
        if not expect.accepts_status(response.status):
            return RequestFailed(
                "status",
                f"{self.action.shown_url} answered {response.status}",
                left=True,
                status=response.status,
                retry_after=retry_after(response.headers, datetime.now(timezone.utc)),
            )
        problem = expect.problem(body)
        return None if problem is None else RequestFailed(problem[0], problem[1], left=True)

    def _failed(self, failed: RequestFailed, *, log: str | None = None) -> Failed:
        shown = self.action.shown_url
        message = failed.message if shown in failed.message else f"{shown}: {failed.message}"
        self._note_answer()
        return Failed(
            failed.error_class,
            excerpt(message.encode("utf-8", "replace").decode(), 1000),
            logs=(log,) if log is not None else (),
            output=self.output,
            status=failed.status,
            retry_after=failed.retry_after,
            maybe_done=not self.action.is_idempotent and (failed.left or self.arrived),
            is_in_doubt=failed.left and self.response is None,
        )
