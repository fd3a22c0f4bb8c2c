"""Webhooks: how somebody who has no token of this system starts a workflow, and proves by a secret who it is.

Kinds of proof, of which every sender that signs or identifies itself knows one:

- ``hmac``: a header holds the HMAC-SHA256 of the body (GitHub, Gitea, Shopify, Linear, …), or of the body and a timestamp
  (Calendly, Paddle, …), which makes an old request worthless;
- ``stripe``, ``slack``, ``zoom``: the same in the ways of these three, of which two also look whether somebody is there
  before they send anything;
- ``token``: a header holds the secret itself (GitLab, Telegram, …);
- ``standard``: Standard Webhooks 1.0 (https://www.standardwebhooks.com): id, time and body are signed, and an old request is
  refused.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal, NamedTuple

from pydantic import Field, ValidationInfo, field_validator

from domain.errors import DomainError
from domain.model import Model
from domain.names import HeaderName, SecretName

TOLERANCE: Final = 300  # seconds between the clock of the sender and ours, as Standard Webhooks, Stripe and Slack have it
_STANDARD: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
_STANDARD_SECRET: Final = "whsec_"
PREFIX_PATTERN: Final = r"^[ -~]*$"
FIELD_PATTERN: Final = r"^[^.]+(\.[^.]+)*$"
_ODD: Final = "surrogateescape"  # bytes in headers that are no UTF-8
_BODY: Final = "{body}"
_TIMESTAMP: Final = "{timestamp}"
_BETWEEN: Final = re.compile(r"[,; ]+")  # the parts of a header, as in t=…,v1=… and ts=…;h1=…; no signature has these
_BRACES: Final = re.compile(r"\{[^{}]*\}|[{}]")
_SECONDS: Final = re.compile(r"[0-9]{1,12}")

Encoding = Literal["hex", "base64"]


class NotProven(DomainError):
    """The request does not prove that it comes from somebody who knows the secret."""


class Delivery(NamedTuple):
    """What a sender calls a delivery, however often it sends it."""

    name: str
    header: str | None = None  # where it stands; None: in what is signed, so the name alone tells one from the other


@dataclass(frozen=True)
class _Scheme:
    """How a sender signs with a key that both sides know."""

    header: str
    prefix: str = ""
    encoding: Encoding = "hex"
    timestamp_header: str | None = None
    timestamp_prefix: str = ""
    signed: str = _BODY

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery | None:
        """Check a request, and return what its signature makes of it; raises NotProven."""
        given = _header(headers, self.header, "it proves who sends this")
        timestamp = None if self.timestamp_header is None else self._timestamp(headers, self.timestamp_header)
        around = (part.replace(_TIMESTAMP, timestamp or "").encode(errors=_ODD) for part in self.signed.split(_BODY))
        digest = hmac.new(secret.encode(), body.join(around), hashlib.sha256).digest()
        # All of it too, for a prefix with a blank. While one key replaces another, it is signed with both.
        found = _after(self.prefix, self.header, given, *_BETWEEN.split(given))
        is_hex = self.encoding == "hex"
        expected = digest.hex() if is_hex else _base64(digest)
        if not any(_equal(each.lower() if is_hex else each, expected) for each in found):
            what = "the body" if self.signed == _BODY else self.signed
            raise NotProven(f"{self.header} is not the HMAC-SHA256 of {what} in {self.encoding}, with the webhook's secret.")
        if timestamp is None:
            return None  # whatever says the same has the same signature
        _check_age(timestamp, str(self.timestamp_header), now)
        return Delivery(digest.hex())

    def _timestamp(self, headers: Mapping[str, str], name: str) -> str:
        given = _header(headers, name, "its time is signed with the body")
        return _after(self.timestamp_prefix, name, *_BETWEEN.split(given))[0]


class _Webhook(Model):
    """What every kind has; its secret is in a field that tells what it is to the sender (keySecret, tokenSecret)."""

    type: str  # each kind has its own; declared here so that it comes first wherever a webhook is shown

    is_answered_bare: ClassVar[bool] = False  # by 200 without a body: the sender takes nothing else, or shows it to somebody

    @property
    def secret(self) -> str:
        """Name of the secret that it is proved by."""
        return str(next(value for name, value in self if name.endswith("_secret")))

    def greeting(self, secret: str, payload: Any) -> dict[str, str] | None:
        """Return the answer to a sender that asks by ``payload`` whether somebody is there; None: it is a delivery."""
        return None


class _InHeader(_Webhook):
    """The proof is in one header."""

    header: HeaderName = Field(description="Where the proof is, as in X-Hub-Signature-256 or X-Gitlab-Token.")
    prefix: str = Field(
        default="",
        max_length=100,
        pattern=PREFIX_PATTERN,
        description='What stands before it, as in "sha256=" or "Bearer ".',
    )
    delivery_header: HeaderName | None = Field(
        default=None,
        description="Where the sender names the delivery, as in X-GitHub-Delivery: one that is sent again starts nothing.",
    )
    delivery_field: str | None = Field(
        default=None,
        max_length=256,
        pattern=FIELD_PATTERN,
        description="Where the body names the delivery, as in update_id or event.id.",
    )

    @property
    def proof(self) -> str:
        """The header that proves, in lower case: nothing that a workflow needs to see."""
        return self.header.lower()

    def delivery(self, headers: Mapping[str, str], payload: Any) -> Delivery | None:
        """Return what a request that was proven is called by its sender."""
        return _delivery(headers, payload, self.delivery_header, self.delivery_field)


class HmacWebhook(_InHeader):
    """The sender signs the body, or the body and a timestamp: a header holds the HMAC-SHA256, with the secret as key."""

    type: Literal["hmac"]
    key_secret: SecretName
    encoding: Encoding = Field(default="hex", description="How the signature is written.")
    timestamp_header: HeaderName | None = Field(
        default=None,
        description="Where the time is, in Unix seconds, that is signed too; what is older than five minutes is refused.",
    )
    timestamp_prefix: str | None = Field(
        default=None,
        max_length=100,
        pattern=PREFIX_PATTERN,
        description='What stands before it, as in "t=", where it is a part of a header like t=…,v1=….',
    )
    signed: str | None = Field(
        default=None,
        max_length=100,
        pattern=PREFIX_PATTERN,
        description='What is signed, as in "v0:{timestamp}:{body}"; "{timestamp}.{body}" where there is a timestampHeader, '
        'and "{body}" where there is none.',
    )

    @field_validator("timestamp_prefix")
    @classmethod
    def _stands_in_a_header(cls, prefix: str | None, info: ValidationInfo) -> str | None:
        if prefix is not None and info.data.get("timestamp_header", "wrong") is None:
            raise ValueError("stands before a timestamp; say in timestampHeader where that is")
        return prefix

    @field_validator("signed")
    @classmethod
    def _names_what_there_is(cls, signed: str | None, info: ValidationInfo) -> str | None:
        if signed is None or "timestamp_header" not in info.data:
            return signed
        named = [_BODY] if info.data["timestamp_header"] is None else [_BODY, _TIMESTAMP]
        found = _BRACES.findall(signed)
        if sorted(found) != named:
            raise ValueError(
                f"must hold {' and '.join(named)}, once, and nothing else in braces"
                + ("; {timestamp} needs a timestampHeader" if _TIMESTAMP in found and _TIMESTAMP not in named else "")
            )
        return signed

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery | None:
        """Check a request, and return what its signature makes of it; raises NotProven."""
        return self._scheme.check(secret, headers, body, now)

    @property
    def _scheme(self) -> _Scheme:
        return _Scheme(
            self.header,
            self.prefix,
            self.encoding,
            self.timestamp_header,
            self.timestamp_prefix or "",
            self.signed or (_BODY if self.timestamp_header is None else f"{_TIMESTAMP}.{_BODY}"),
        )


class TokenWebhook(_InHeader):
    """The sender sends the secret itself, in a header."""

    type: Literal["token"]
    token_secret: SecretName

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery | None:
        """Check a request, and return what its signature makes of it; raises NotProven."""
        (given,) = _after(self.prefix, self.header, _header(headers, self.header, "it proves who sends this"))
        if not _equal(given, secret):
            raise NotProven(f"{self.header} is not the webhook's secret.")
        return None


class _Known(_Webhook):
    """A sender whose way is known here; only its key is not."""

    key_secret: SecretName

    scheme: ClassVar[_Scheme]
    delivery_field: ClassVar[str | None] = None

    @property
    def proof(self) -> str:
        """The header that proves: nothing that a workflow needs to see."""
        return self.scheme.header.lower()

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery | None:
        """Check a request, and return what its signature makes of it; raises NotProven."""
        return self.scheme.check(secret, headers, body, now)

    def delivery(self, headers: Mapping[str, str], payload: Any) -> Delivery | None:
        """Return what a request that was proven is called by its sender."""
        return _delivery(headers, payload, field=self.delivery_field)


class StripeWebhook(_Known):
    """The sender is Stripe; an event that is sent again starts nothing."""

    type: Literal["stripe"]

    scheme: ClassVar = _Scheme("Stripe-Signature", "v1=", "hex", "Stripe-Signature", "t=", f"{_TIMESTAMP}.{_BODY}")
    delivery_field: ClassVar = "id"


class SlackWebhook(_Known):
    """The sender is Slack; an event that is sent again starts nothing."""

    type: Literal["slack"]

    scheme: ClassVar = _Scheme(
        "X-Slack-Signature", "v0=", "hex", "X-Slack-Request-Timestamp", "", f"v0:{_TIMESTAMP}:{_BODY}"
    )
    delivery_field: ClassVar = "event_id"
    is_answered_bare: ClassVar = True

    def greeting(self, secret: str, payload: Any) -> dict[str, str] | None:
        """Return the challenge that Slack sends when it is told the address."""
        if isinstance(payload, dict) and payload.get("type") == "url_verification":
            return {"challenge": str(payload.get("challenge", ""))}
        return None


class ZoomWebhook(_Known):
    """The sender is Zoom."""

    type: Literal["zoom"]

    scheme: ClassVar = _Scheme("X-Zm-Signature", "v0=", "hex", "X-Zm-Request-Timestamp", "", f"v0:{_TIMESTAMP}:{_BODY}")
    is_answered_bare: ClassVar = True

    def greeting(self, secret: str, payload: Any) -> dict[str, str] | None:
        """Return the token that Zoom sends when it is told the address, and every three days, signed."""
        if not isinstance(payload, dict) or payload.get("event") != "endpoint.url_validation":
            return None
        inner = payload.get("payload")
        token = str(inner.get("plainToken", "")) if isinstance(inner, dict) else ""
        signed = hmac.new(secret.encode(), token.encode(), hashlib.sha256).hexdigest()
        return {"plainToken": token, "encryptedToken": signed}


class StandardWebhook(_Webhook):
    """The sender follows Standard Webhooks 1.0; a delivery that is sent again starts nothing."""

    type: Literal["standard"]
    key_secret: SecretName

    proof: ClassVar[str] = "webhook-signature"

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Delivery | None:
        """Check a request, and return what its signature makes of it; raises NotProven."""
        missing = [name for name in _STANDARD if name not in headers]
        if missing:
            raise NotProven(f"{missing[0]} is missing; Standard Webhooks asks for {', '.join(_STANDARD)}.")
        message_id, timestamp, signatures = (headers[name] for name in _STANDARD)
        try:
            key = base64.b64decode(secret.removeprefix(_STANDARD_SECRET), validate=True)
        except ValueError:
            raise NotProven("The webhook's secret is no key of Standard Webhooks: whsec_ and base64.") from None
        signed = b".".join((message_id.encode(errors=_ODD), timestamp.encode(errors=_ODD), body))
        expected = f"v1,{_base64(hmac.new(key, signed, hashlib.sha256).digest())}"
        if not any(_equal(each, expected) for each in signatures.split()):
            raise NotProven("webhook-signature is not that of this request with the webhook's secret.")
        _check_age(timestamp, _STANDARD[1], now)
        return None

    def delivery(self, headers: Mapping[str, str], payload: Any) -> Delivery | None:
        """Return what a request that was proven is called by its sender."""
        return _delivery(headers, payload, _STANDARD[0])


Webhook = Annotated[
    HmacWebhook | TokenWebhook | StandardWebhook | StripeWebhook | SlackWebhook | ZoomWebhook, Field(discriminator="type")
]


def _delivery(
    headers: Mapping[str, str], payload: Any, header: str | None = None, field: str | None = None
) -> Delivery | None:
    if header is not None and header in headers:
        return Delivery(headers[header], header)
    name = payload
    for part in field.split(".") if field is not None else ():
        name = name.get(part) if isinstance(name, dict) else None
    return Delivery(str(name)) if field is not None and type(name) in (str, int) and name != "" else None


def _header(headers: Mapping[str, str], name: str, why: str) -> str:
    given = headers.get(name)
    if given is None:
        raise NotProven(f"{name} is missing; {why}.")
    return given


def _after(prefix: str, header: str, *parts: str) -> list[str]:
    """Return what stands behind ``prefix`` in those parts of a header that begin with it: one at least."""
    found = [part[len(prefix) :].strip() for part in parts if part.startswith(prefix)]
    if not found:
        raise NotProven(f"{header} holds nothing that begins with {prefix!r}.")
    return found


def _check_age(timestamp: str, header: str, now: datetime) -> None:
    # After the signature: whoever does not know the secret learns nothing of our clock.
    if not _SECONDS.fullmatch(timestamp) or abs(now.timestamp() - int(timestamp)) > TOLERANCE:
        raise NotProven(
            f"{header} is more than {TOLERANCE} s from the present, or is not in Unix seconds; sign and send it anew."
        )


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors=_ODD), expected.encode())
