"""``http-request``: sends one HTTP request; a status below 400 is success unless ``expect`` says otherwise.

An attempt runs against one clock (:mod:`actions.http.timing`): the wait for a slot of the host, request, redirects, body.
Within an attempt, only what failed before a request could have left (a connection that was not made) is tried again by
aiohttp-retry, a few times and at once; everything else is the workflow's retry policy's business, which is visible in the
execution's history.

Every address, also that of a redirect, passes the guard (:mod:`actions.http.guard`). Every failure has one of the classes
blocked-address, dns, connect, tls, certificate, proxy, throttled, timeout-connect, timeout-first-byte, timeout-idle,
timeout-total, disconnected, bad-response, too-many-redirects, insecure-redirect, bad-redirect, status, assertion,
body-decode, secret, token, tls-settings, url or request.

A request that proves itself by OAuth 2.0 begins with one for a token, where this runner has none
(:mod:`actions.http.tokens`): by the same rules and against the same clock, and before anything is sent to its own receiver.
"""

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal

import aiohttp
from multidict import CIMultiDict
from pydantic import (
    AfterValidator,
    Field,
    JsonValue,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)
from typing_extensions import Self
from yarl import URL

from actions.http.auth import USERNAME_PATTERN, Auth, Credentials, OAuth2Auth, basic, bearer, secrets_of
from actions.http.bodies import Part, Values, form_body, json_body, multipart_body, pairs
from actions.http.connections import Connections, user_agent
from actions.http.expectations import Expectations
from actions.http.failures import EXPECTED, RequestFailed, failure_of
from actions.http.oauth2 import LONGEST_ANSWER, token_key, token_of, token_request
from actions.http.reading import Body, read_body
from actions.http.redaction import redact_headers, redact_url
from actions.http.requests import REDIRECTS, Request, basic_of, traceparent
from actions.http.responses import kept_headers, retry_after
from actions.http.timing import TimeLimits, Timing
from actions.http.tls import BadTls, Tls
from actions.http.tokens import Token
from actions.http.tracebacks import forget_traceback
from actions.http.urls import HttpUrl
from actions.running import Context, Failed, Outcome, Succeeded, redacted
from domain.action import Action
from domain.durations import Duration, parse_duration
from domain.excerpts import excerpt
from domain.model import Model
from domain.names import HeaderName, SecretName, check_header_name
from templates.template import is_open
from vault.values import UnknownSecret

LOGGED_CHARACTERS: Final = 50
LONGEST_TIMEOUT: Final = timedelta(hours=24)
MAX_REDIRECTS: Final = 10
MAX_BODY: Final = 1_048_576
STORE_BODY: Final = 65_536
STORED_OF_A_FAILURE: Final = 8192  # bytes: an execution keeps the answers of all its failed attempts
_UNSAFE: Final = frozenset({"POST", "PATCH"})
_HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)


def _bounded(text: str) -> str:
    if parse_duration(text) > LONGEST_TIMEOUT:
        raise ValueError(f"{text} is longer than 24h; write 24h or less")
    return text


Timeout = Annotated[Duration, AfterValidator(_bounded)]


class Timeouts(Model):
    """How long the parts of a request may take, each within ``timeout``."""

    connect: Timeout = Field(default="10s", description="Name, connection and TLS handshake.")
    first_byte: Timeout = Field(default="30s", description="From the connection to the headers of the answer.")
    idle: Timeout = Field(default="15s", description="Between two pieces of the body.")


_DEFAULT_TIMEOUTS: Final = Timeouts()
_DEFAULT_EXPECTATIONS: Final = Expectations()


class Proxy(Model):
    """An HTTP proxy to send the request through."""

    url: HttpUrl
    username: str | None = Field(default=None, max_length=1000, pattern=USERNAME_PATTERN)
    password_secret: SecretName | None = None

    @model_validator(mode="after")
    def _whose_password(self) -> Self:
        if self.password_secret is not None and self.username is None:
            raise ValueError("a password without a user name; give username as well")
        return self


class HttpRequestAction(Action):
    """Sends one HTTP request."""

    waits: ClassVar[bool] = False  # beyond its own clock, that is

    type: Literal["http-request"]
    url: HttpUrl
    method: Literal["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD", "OPTIONS"]
    headers: dict[str, str] = Field(default_factory=dict, description="Sent as given.")
    query: Values | None = Field(default=None, description="Added to the URL; a list repeats the name, null leaves it out.")
    body: str | None = Field(default=None, max_length=1_000_000, description="Sent as UTF-8 text.")
    json_body: JsonValue = Field(default=None, alias="json", description="Sent as JSON, also null.")
    form: Values | None = Field(
        default=None, description="Sent as a form, URL-encoded; a list repeats the name, null leaves it out."
    )
    multipart: tuple[Part, ...] | None = Field(
        default=None, min_length=1, max_length=100, description="Sent as a form with files."
    )
    auth: Auth | None = None
    tls: Tls | None = None
    proxy: Proxy | None = None
    timeout: Timeout = Field(default="30s", description="For all of it, connection to last byte, redirects included.")
    timeouts: Timeouts | None = Field(default=None, description="How long its parts may take.")
    max_redirects: int | None = Field(
        default=None, strict=True, ge=0, le=20, description=f"0: a redirect is the answer (default {MAX_REDIRECTS})."
    )
    expect: Expectations | None = Field(default=None, description="What counts as success (default: a status below 400).")
    max_body: int | None = Field(
        default=None,
        strict=True,
        ge=0,
        le=16_777_216,
        description=f"Bytes read of the body; the rest is not waited for (default {MAX_BODY}).",
    )
    store_body: int | None = Field(
        default=None,
        strict=True,
        ge=0,
        le=131_072,
        description=f"Bytes of the body kept in the history (default {STORE_BODY}).",
    )
    store_headers: tuple[HeaderName, ...] | None = Field(
        default=None,
        max_length=50,
        description="Headers of the answer kept beside the usual ones; repeated ones are joined with commas, Set-Cookie "
        "with line breaks.",
    )
    on_unknown: Literal["retry", "fail"] = Field(
        default="retry",
        description="What becomes of a request that left and of whose answer nothing is known (the connection broke, the "
        "time was over, the runner died): retry sends it again, as the retry policy says and under the same "
        "Idempotency-Key; fail never does, and ends the step with the outcome unknown.",
    )

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        bodies = {
            "body": self.body is not None,
            "json": self.has_json,
            "form": self.form is not None,
            "multipart": self.multipart is not None,
        }
        given = [name for name, is_given in bodies.items() if is_given]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are {'both ' if len(given) == 2 else ''}given; keep one of them")
        return self

    @model_serializer(mode="wrap")
    def _keep_null(self, serialize: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        # Definitions are stored without what is None; a json of null is a body.
        null = {"json" if info.by_alias else "json_body": None} if self.has_json and self.json_body is None else {}
        return {**serialize(self), **null}

    @field_validator("headers")
    @classmethod
    def _headers_can_be_sent(cls, headers: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        for name, value in headers.items():
            if not is_open(name, info):
                check_header_name(name)
            if name.lower() in _HOP_BY_HOP:
                raise ValueError(f"{name} is set by the service; leave it out")
            if not is_open(value, info) and any(c in "\r\n\0" for c in value):
                raise ValueError(f"the value of {name} holds a line break; remove it")
        return headers

    @property
    def has_json(self) -> bool:
        """Whether its body is JSON, which may be null."""
        return "json_body" in self.model_fields_set

    @property
    def is_idempotent(self) -> bool:
        """Whether its method is, by RFC 9110."""
        return self.method not in _UNSAFE

    def secrets(self) -> dict[str, str]:
        """Return the secrets it refers to: path of the field -> name."""
        return dict(secrets_of(self))

    @cached_property
    def parts(self) -> "_Parts":
        """What is the same for every attempt."""
        return _parts(self)

    @cached_property
    def shown_url(self) -> str:
        """The URL as it may be shown."""
        return self.url if "@" not in self.url and "?" not in self.url else redact_url(URL(self.url))

    @cached_property
    def time_limits(self) -> TimeLimits:
        """The timeouts in seconds."""
        parts = self.timeouts or _DEFAULT_TIMEOUTS
        texts = (parts.connect, parts.first_byte, parts.idle, self.timeout)
        return TimeLimits(*(parse_duration(text).total_seconds() for text in texts))


async def run(action: HttpRequestAction, context: Context) -> Outcome:
    """Send the request and read the answer."""
    return await _Attempt(action, context).run()


@dataclass(frozen=True)
class _Parts:
    """What of a request is the same for every attempt: made once for each action that is written without templates."""

    url: URL
    headers: CIMultiDict[str]
    shown_headers: dict[str, str]
    body: bytes | None


def _parts(action: HttpRequestAction) -> _Parts:
    url = URL(action.url)
    headers: CIMultiDict[str] = CIMultiDict()
    body, content_type = _render(action)
    if content_type is not None:
        headers["Content-Type"] = content_type
    if url.raw_user is not None or url.raw_password is not None:
        headers["Authorization"] = basic_of(url) or ""
        url = url.with_user(None)
    headers.update(action.headers)
    if action.query:
        url = url.extend_query(pairs(action.query))
    return _Parts(url, headers, redact_headers(action.headers), body)


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


def _render(action: HttpRequestAction) -> tuple[bytes | None, str | None]:
    """Return the body and its content type."""
    if action.has_json:
        return json_body(action.json_body), "application/json"
    if action.body is not None:
        return action.body.encode(), "text/plain; charset=utf-8"
    if action.form is not None:
        return form_body(action.form), "application/x-www-form-urlencoded"
    if action.multipart is not None:
        return multipart_body(action.multipart)
    return None, None


class _Attempt:
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
            "traceparent": request.headers["traceparent"],
        }

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
            # Nothing else in the output is cut unmarked; it may be within a secret.
            for redactor in (self.context.resources.secrets.redactor, *(token.redactor for token in self.tokens)):
                report |= {name: redactor.cut(report[name]) for name in ("text", "base64") if name in report}
        return report

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
