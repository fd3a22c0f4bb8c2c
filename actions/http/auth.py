"""How a request proves who sends it. Secrets are named, never written: their values are asked for when it is sent.

The signature of ``type: hmac`` is that of what the receiver sees::

    Workflow-Timestamp: 1767225600                      (seconds since 1970)
    Workflow-Signature: v1=<hex HMAC-SHA256 of the text below, keyed with the secret>

    POST\\n/path?query\\n1767225600\\n<hex SHA-256 of the body>

Path and query are as sent, percent-encoded. A receiver that refuses old timestamps refuses replays.
"""

import base64
import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationInfo, field_validator
from yarl import URL

from actions.http.bodies import Values
from actions.http.redaction import redact_url
from actions.http.urls import HttpUrl
from domain.model import Model
from domain.names import HeaderName, SecretName
from templates.template import is_open

Ask = Callable[[str], Awaitable[str]]
"""Returns the value of a secret by name."""

KEY_ID_PATTERN: Final = r"^[!-~]+$"
USERNAME_PATTERN: Final = r"^[^:\r\n\x00]*$"
_FORBIDDEN_IN_VALUES: Final = "\r\n\0"
_NOT_IN_THE_FORM: Final = {
    "grant_type": "is always client_credentials; leave it out",
    "client_id": "has a field of its own; write clientId",
    "client_secret": "has a field of its own; write clientSecret, and the name of the secret",
    "scope": "has a field of its own; write scope",
    "audience": "has a field of its own; write audience",
}


@dataclass(frozen=True)
class Credentials:
    """What authentication adds to a request."""

    headers: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    sign: Callable[[str, URL, bytes, int], dict[str, str]] | None = None  # method, url, body, timestamp -> headers


class BasicAuth(Model):
    """User name and password (RFC 7617)."""

    type: Literal["basic"]
    username: str = Field(max_length=1000, pattern=USERNAME_PATTERN)
    password_secret: SecretName

    async def credentials(self, ask: Ask) -> Credentials:
        """Return the header."""
        return Credentials({"Authorization": basic(self.username, await ask(self.password_secret))})


class BearerAuth(Model):
    """A token (RFC 6750)."""

    type: Literal["bearer"]
    token_secret: SecretName

    async def credentials(self, ask: Ask) -> Credentials:
        """Return the header."""
        return bearer(_sendable(self.token_secret, await ask(self.token_secret)))


class ApiKeyAuth(Model):
    """A key in a header or in the query."""

    type: Literal["api-key"]
    place: Literal["header", "query"] = Field(default="header", alias="in")
    name: HeaderName = Field(default="X-Api-Key", description="Of the header or query parameter.")
    key_secret: SecretName

    async def credentials(self, ask: Ask) -> Credentials:
        """Return the header or parameter."""
        key = _sendable(self.key_secret, await ask(self.key_secret))
        return Credentials(headers={self.name: key}) if self.place == "header" else Credentials(query={self.name: key})


class HmacAuth(Model):
    """A signature of method, path, time and body, which docs/actions.md tells how to verify."""

    type: Literal["hmac"]
    key_secret: SecretName
    key_id: str | None = Field(
        default=None, max_length=200, pattern=KEY_ID_PATTERN, description="Sent as Workflow-Key-Id: which key signed."
    )

    async def credentials(self, ask: Ask) -> Credentials:
        """Return what signs each request."""
        key = (await ask(self.key_secret)).encode()
        key_id = {"Workflow-Key-Id": self.key_id} if self.key_id else {}
        return Credentials(
            sign=lambda method, url, body, timestamp: {**key_id, **signature(key, method, url, body, timestamp)}
        )


class OAuth2Auth(Model):
    """A token that the runner gets with the client's own credentials (RFC 6749, 4.4) and keeps until it expires."""

    type: Literal["oauth2"]
    token_url: HttpUrl = Field(description="Where tokens are to be had.")
    client_id: str = Field(min_length=1, max_length=1000, description="Which client asks.")
    client_secret: SecretName
    scope: str | None = Field(
        default=None, min_length=1, max_length=4000, description="What the token is to be good for; blanks between several."
    )
    audience: str | None = Field(
        default=None,
        min_length=1,
        max_length=4000,
        description="For whom it is to be, where the server wants to know (Auth0).",
    )
    form: Values | None = Field(
        default=None, description="What else the server wants to be sent, such as resource; a list repeats the name."
    )
    client_auth: Literal["basic", "body"] = Field(
        default="basic", description="How id and secret are sent: in a header (HTTP Basic), or in the body."
    )

    @field_validator("token_url")
    @classmethod
    def _holds_no_credentials(cls, text: str, info: ValidationInfo) -> str:
        if not is_open(text, info) and (URL(text).raw_user is not None or URL(text).raw_password is not None):
            raise ValueError("holds a user name or a password; write clientId and clientSecret instead")
        return text

    @field_validator("form")
    @classmethod
    def _says_nothing_twice(cls, form: Values | None) -> Values | None:
        for name in form or ():
            if name in _NOT_IN_THE_FORM:
                raise ValueError(f"{name} {_NOT_IN_THE_FORM[name]}")
        return form

    @property
    def shown_url(self) -> str:
        """Where tokens are to be had, as it may be shown."""
        return redact_url(URL(self.token_url))


Auth = Annotated[BasicAuth | BearerAuth | ApiKeyAuth | HmacAuth | OAuth2Auth, Field(discriminator="type")]


def bearer(token: str) -> Credentials:
    """Return what proves by a token (RFC 6750)."""
    return Credentials({"Authorization": f"Bearer {token}"})


def basic(username: str, password: str) -> str:
    """Return the value of a header that proves by user and password (RFC 7617)."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


def basic_of(url: URL) -> str | None:
    """Return the Authorization header that user and password in a URL stand for."""
    if url.raw_user is None and url.raw_password is None:
        return None
    return basic(url.user or "", url.password or "")


def signature(key: bytes, method: str, url: URL, body: bytes, timestamp: int) -> dict[str, str]:
    """Return the headers that sign a request."""
    signed = f"{method}\n{url.raw_path_qs}\n{timestamp}\n{hashlib.sha256(body).hexdigest()}"
    digest = hmac.new(key, signed.encode(), hashlib.sha256).hexdigest()
    return {"Workflow-Timestamp": str(timestamp), "Workflow-Signature": f"v1={digest}"}


def secrets_of(model: Model) -> Iterator[tuple[str, str]]:
    """Yield the path and name of every secret that ``model`` refers to."""
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Model):
            yield from ((f"{info.alias}.{path}", secret) for path, secret in secrets_of(value))
        elif name.endswith("_secret") and value is not None:
            yield str(info.alias), value


def _sendable(name: str, value: str) -> str:
    if any(c in value for c in _FORBIDDEN_IN_VALUES):
        raise ValueError(f"secret {name} holds a line break and cannot be sent in a header; store it without")
    return value
