"""Webhooks: how somebody who has no token of this system starts a workflow, and proves by a secret who it is.

Three kinds of proof, of which every sender that signs or identifies itself knows one:

- ``hmac``: a header holds the HMAC-SHA256 of the body (GitHub, Gitea, Shopify, Linear, …);
- ``token``: a header holds the secret itself (GitLab, Telegram, …);
- ``standard``: Standard Webhooks 1.0 (https://www.standardwebhooks.com): id, time and body are signed, and an old request is
  refused.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Final, Literal

from pydantic import Field

from domain.errors import DomainError
from domain.model import Model
from domain.names import HeaderName, SecretName

TOLERANCE: Final = 300  # seconds between the clock of the sender and ours, as Standard Webhooks has it
_STANDARD: Final = ("webhook-id", "webhook-timestamp", "webhook-signature")
_STANDARD_SECRET: Final = "whsec_"
PREFIX_PATTERN: Final = r"^[ -~]*$"
_ODD: Final = "surrogateescape"  # bytes in headers that are no UTF-8


class NotProven(DomainError):
    """The request does not prove that it comes from somebody who knows the secret."""


class _BySecret(Model):
    """What every kind has: one secret, in a field that tells what it is to the sender (keySecret, tokenSecret)."""

    type: str  # each kind has its own; declared here so that it comes first wherever a webhook is shown

    @property
    def secret(self) -> str:
        """Name of the secret that it is proved by."""
        return str(next(value for name, value in self if name.endswith("_secret")))


class _InHeader(_BySecret):
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

    @property
    def proof(self) -> str:
        """The header that proves, in lower case: nothing that a workflow needs to see."""
        return self.header.lower()

    def _given(self, headers: Mapping[str, str]) -> str:
        given = headers.get(self.header)
        if given is None:
            raise NotProven(f"{self.header} is missing; it proves who sends this.")
        if not given.startswith(self.prefix):
            raise NotProven(f"{self.header} does not begin with {self.prefix!r}.")
        return given[len(self.prefix) :].strip()


class HmacWebhook(_InHeader):
    """The sender signs the body: a header holds its HMAC-SHA256, with the secret as key."""

    type: Literal["hmac"]
    key_secret: SecretName
    encoding: Literal["hex", "base64"] = Field(default="hex", description="How the signature is written.")

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check a request; raises NotProven."""
        digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
        given = self._given(headers)
        is_good = _equal(given.lower(), digest.hex()) if self.encoding == "hex" else _equal(given, _base64(digest))
        if not is_good:
            raise NotProven(
                f"{self.header} is not the HMAC-SHA256 of the body in {self.encoding}, with the webhook's secret."
            )


class TokenWebhook(_InHeader):
    """The sender sends the secret itself, in a header."""

    type: Literal["token"]
    token_secret: SecretName

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check a request; raises NotProven."""
        if not _equal(self._given(headers), secret):
            raise NotProven(f"{self.header} is not the webhook's secret.")


class StandardWebhook(_BySecret):
    """The sender follows Standard Webhooks 1.0; a delivery that is sent again starts nothing."""

    type: Literal["standard"]
    key_secret: SecretName

    @property
    def proof(self) -> str:
        """The header that proves: nothing that a workflow needs to see."""
        return "webhook-signature"

    @property
    def delivery_header(self) -> str:
        """The header in which the sender names the delivery."""
        return _STANDARD[0]

    def check(self, secret: str, headers: Mapping[str, str], body: bytes, now: datetime) -> None:
        """Check a request; raises NotProven."""
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
        # Only now: whoever does not know the secret learns nothing of our clock.
        if not (timestamp.isascii() and timestamp.isdigit()) or abs(now.timestamp() - int(timestamp)) > TOLERANCE:
            raise NotProven(f"webhook-timestamp is more than {TOLERANCE} s from the present; sign and send it anew.")


Webhook = Annotated[HmacWebhook | TokenWebhook | StandardWebhook, Field(discriminator="type")]


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()


def _equal(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(errors=_ODD), expected.encode())
