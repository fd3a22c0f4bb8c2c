"""``http-request``: sends one HTTP request; a status below 400 is success unless ``expect`` says otherwise.

This is what its author writes; :mod:`actions.http.attempt` sends it. Every failure has one of the classes
blocked-address, dns, connect, tls, certificate, proxy, throttled, timeout-connect, timeout-first-byte, timeout-idle,
timeout-total, disconnected, bad-response, too-many-redirects, insecure-redirect, bad-redirect, status, assertion,
body-decode, secret, token, tls-settings, url or request.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, Literal

from multidict import CIMultiDict
from pydantic import (
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

from actions.http.auth import USERNAME_PATTERN, Auth, basic_of, secrets_of
from actions.http.bodies import Part, Values, form_body, json_body, multipart_body, pairs
from actions.http.expectations import Expectations
from actions.http.redaction import redact_headers, redact_url
from actions.http.timeouts import TimeLimits, Timeout, Timeouts
from actions.http.tls import Tls
from actions.http.urls import HttpUrl
from actions.running import Context, Outcome
from domain.action import Action
from domain.model import Model
from domain.names import HeaderName, SecretName, check_header_name
from templates.template import is_open

MAX_REDIRECTS: Final = 10
MAX_BODY: Final = 1_048_576
STORE_BODY: Final = 65_536
STORE_REQUEST_BODY: Final = 8192
_UNSAFE: Final = frozenset({"POST", "PATCH"})
_HOP_BY_HOP: Final = frozenset(
    {"connection", "content-length", "keep-alive", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade"}
)
_DEFAULT_TIMEOUTS: Final = Timeouts()


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
    store_request_body: int | None = Field(
        default=None,
        strict=True,
        ge=0,
        le=131_072,
        description=f"Bytes of a body of text that is sent kept in the history (default {STORE_REQUEST_BODY}; 0: none).",
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
        return (self.timeouts or _DEFAULT_TIMEOUTS).limits(self.timeout)


async def run(action: HttpRequestAction, context: Context) -> Outcome:
    """Send the request and read the answer."""
    from actions.http.attempt import Attempt  # with aiohttp's client, which nobody needs who only checks definitions

    return await Attempt(action, context).run()


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
