"""A request ready to be sent, and what a redirect makes of it."""

import hashlib
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Final

from multidict import CIMultiDict
from yarl import URL

from actions.http.bodies import describes_body
from actions.http.failures import RequestFailed
from actions.http.redaction import is_secret, redact_url
from domain.excerpts import excerpt

_TRACE: Final = re.compile(r"(?!0{32})[0-9a-f]{32}")
REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})


@dataclass(frozen=True)
class Request:
    """What goes out; ``credentials`` names the headers and parameters that prove who sends."""

    method: str
    url: URL
    headers: CIMultiDict[str]
    body: bytes | None
    credentials: Collection[str] = ()
    sign: Callable[[str, URL, bytes, int], dict[str, str]] | None = None
    own_origin: bool = True  # whether it still goes where its author sent it

    def headers_at(self, timestamp: int) -> CIMultiDict[str]:
        """Return the headers, signed where they are to be."""
        if self.sign is None:
            return self.headers
        signed: CIMultiDict[str] = CIMultiDict(self.headers)
        signed.update(self.sign(self.method, self.url, self.body or b"", timestamp))
        return signed

    @property
    def shown(self) -> str:
        """The address as it may be shown."""
        return redact_url(self.url, self.credentials)

    def redirected(self, status: int, location: str, holds_secret: Callable[[str], bool]) -> "Request":
        """Return the request that follows.

        As in browsers (Fetch standard, HTTP-redirect fetch): 303, and 301 or 302 after POST, go on as GET without a body.
        Credentials do not go to another origin, and do not come back from there: what authentication added, headers whose
        name tells of a credential, and those whose value ``holds_secret``.

        Raises:
            RequestFailed: it must not be followed.
        """
        try:
            target = self.url.join(URL(location.encode("utf-8", "surrogateescape").decode("utf-8", "replace")))
            if target.scheme not in ("http", "https") or not target.host:
                raise ValueError
            target = target.with_user(None).with_fragment(None)
        except ValueError:
            raise RequestFailed(
                "bad-redirect", f"redirected to {_shortened(location)}, which is no HTTP URL", True
            ) from None
        if self.url.scheme == "https" and target.scheme == "http":
            raise RequestFailed("insecure-redirect", f"redirected from https to {redact_url(target)}", True)
        followed = replace(self, url=target)
        if (status == 303 and self.method not in ("GET", "HEAD")) or (status in (301, 302) and self.method == "POST"):
            headers = self.headers.copy()
            for name in [name for name in headers if describes_body(name)]:
                headers.pop(name, None)
            followed = replace(followed, method="GET", headers=headers, body=None)
        if target.origin() != self.url.origin():
            headers = followed.headers.copy()
            for name in {
                name
                for name, value in headers.items()
                if name in self.credentials or is_secret(name) or name.lower() == "host" or holds_secret(value)
            }:
                headers.popall(name, None)
            followed = replace(followed, headers=headers, sign=None, own_origin=False)
        return followed


def traceparent(execution_id: str, span: str) -> str:
    """Return the W3C trace context: the trace is the execution, the span the attempt of the action."""
    trace = execution_id.replace("-", "")
    if not _TRACE.fullmatch(trace):
        trace = hashlib.sha256(execution_id.encode()).hexdigest()[:32]
    return f"00-{trace}-{hashlib.sha256(span.encode()).hexdigest()[:16]}-01"


def _shortened(location: str) -> str:
    return repr(excerpt(location.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), 100))
