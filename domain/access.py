"""Who may do what, and the tokens that say who somebody is.

A token is ``wf_<id>_<secret>``. The id is public: it names the token in lists, logs and the audit log. The secret are 256
random bits, of which only the SHA-256 is stored. A slow password hash would add nothing: it makes guessing a weak secret
expensive, and 256 random bits cannot be guessed at any speed; it would only make every request expensive.
"""

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Final

TOKEN_NAME_PATTERN: Final = r"^[^\x00-\x1f\x7f]+$"


class Scope(str, Enum):
    """What a token allows; each scope includes the ones before it."""

    PUBLIC = "public"  # needs no token; no token has it
    VIEWER = "viewer"  # reads
    OPERATOR = "operator"  # also changes workflows and variables, and starts executions
    ADMIN = "admin"  # also secrets, tokens and the audit log

    def covers(self, needed: "Scope") -> bool:
        """Tell whether somebody of this scope may do what needs ``needed``."""
        return _ORDER[self] >= _ORDER[needed]


_ORDER: Final = {scope: position for position, scope in enumerate(Scope)}
_TOKEN: Final = re.compile(r"wf_([0-9a-f]{16})_([A-Za-z0-9_-]{43})")


@dataclass(frozen=True)
class Token:
    """A stored token: everything but its secret."""

    token_id: str
    name: str
    scope: Scope
    digest: str  # SHA-256 of the whole token, in hex
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_good(self, now: datetime) -> bool:
        """Tell whether it still opens anything."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)

    def matches(self, text: str) -> bool:
        """Tell whether ``text`` is this token; takes as long for a near miss as for a far one."""
        return hmac.compare_digest(self.digest, digest(text))


def write_token(token_id_entropy: bytes, secret_entropy: bytes) -> str:
    """Return a new token; from 8 and 32 random bytes."""
    secret = urlsafe_b64encode(secret_entropy[:32]).decode().rstrip("=")
    return f"wf_{token_id_entropy[:8].hex()}_{secret}"


def token_id_of(text: str) -> str | None:
    """Return the id in a token; None where it is none."""
    match = _TOKEN.fullmatch(text)
    return match[1] if match else None


def digest(text: str) -> str:
    """Return what is stored of a token."""
    return hashlib.sha256(text.encode()).hexdigest()


def csrf_of(text: str) -> str:
    """Return what a browser that is logged in with the token ``text`` must send in a header with every change.

    Derived rather than stored: whoever can compute it has the token itself, and another site can read neither.
    """
    return hashlib.sha256(f"csrf\0{text}".encode()).hexdigest()
