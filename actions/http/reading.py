"""Reads the body of an answer: streamed, bounded, hashed, and made text where it is text."""

import base64
import codecs
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import orjson
import re2

from domain.excerpts import excerpt
from domain.json_values import DEEPEST, integer, odd_values

if TYPE_CHECKING:
    import aiohttp

    from actions.http.timing import Timing

_LONG_NUMBER: Final = re2.compile(r"[0-9]{19}")  # none with fewer digits is beyond 64 bits
_NOT_TEXTUAL_CODECS: Final = frozenset({"idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape", "utf-7"})
_TEXTUAL_TYPES: Final = frozenset(
    {
        "application/ecmascript",
        "application/graphql",
        "application/javascript",
        "application/json",
        "application/toml",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "application/xml",
        "application/yaml",
        "application/x-yaml",
    }
)


class NotJson(ValueError):
    """The body is not JSON, or JSON that cannot be kept; the message says why."""


@dataclass(frozen=True)
class Body:
    """What was read of a body."""

    content: bytes
    sha256: str  # of the content
    complete: bool  # whether that is all of it
    content_type: str
    charset: str | None  # as declared

    @property
    def text(self) -> str | None:
        """The content as text; None where it is binary."""
        return self.text_of(len(self.content))

    def text_of(self, length: int) -> str | None:
        """Return the first ``length`` bytes as text, a character cut in two left out; None where it is binary."""
        prefix = self.content[:length]
        final = self.complete and length >= len(self.content)
        codec = _codec(self.charset)
        textual = (
            codec is not None  # "charset=binary" declares no text
            or self.content_type.startswith("text/")
            or self.content_type.endswith(("+json", "+xml"))
            or self.content_type in _TEXTUAL_TYPES
        )
        if not textual and b"\0" in prefix:
            return None
        errors = "replace" if textual else "strict"
        try:
            if final and codec in (None, "utf-8-sig"):
                return prefix.removeprefix(codecs.BOM_UTF8).decode("utf-8", errors)
            return codecs.getincrementaldecoder(codec or "utf-8-sig")(errors).decode(prefix, final)
        except UnicodeError:
            return None

    @property
    def is_json(self) -> bool:
        """Whether it is declared to be JSON."""
        return self.content_type == "application/json" or self.content_type.endswith("+json")

    def json(self) -> Any:
        """Return the value.

        Raises:
            NotJson: there is none that can be kept.
        """
        if not self.complete:
            raise NotJson(f"only its first {len(self.content)} bytes were read (maxBody)")
        try:
            value = self._parsed()
        except ValueError as error:
            raise NotJson(str(error)) from None
        if self.content.count(b"[") + self.content.count(b"{") > DEEPEST and _depth(value) > DEEPEST:
            raise NotJson(f"it is nested more than {DEEPEST} levels deep")
        return value

    def _parsed(self) -> Any:
        if _codec(self.charset) in (None, "utf-8-sig"):
            try:
                return orjson.loads(self.content)
            except ValueError:
                pass  # a byte order mark, or bytes that are not UTF-8: read as text they may be JSON all the same
        return orjson.loads((self.text or "").encode("utf-8", "replace"))

    def report(self, limit: int) -> dict[str, Any]:
        """Return what is kept: a prefix of at most ``limit`` bytes, and what tells of the rest."""
        kept = min(limit, len(self.content))
        whole = self.complete and kept == len(self.content)
        report: dict[str, Any] = {
            "body": {
                "length": len(self.content),
                "storedLength": kept,
                "sha256": self.sha256,
                "truncated": not whole,
                "complete": self.complete,
                "contentType": self.content_type,
            }
        }
        text = self.text_of(kept)
        if self.is_json:
            report |= self._json_report(kept, text or "")
        if not kept:
            return report
        if text is None:
            report["body"]["binary"] = True
            report["base64"] = base64.b64encode(self.content[:kept]).decode()
            return report
        report["text"] = text
        return report

    def _json_report(self, kept: int, text: str) -> dict[str, Any]:
        """Return the value, or why there is none; ``text`` is what is kept."""
        try:
            if kept < len(self.content):
                raise NotJson(f"only its first {kept} bytes are kept (storeBody)")
            return {"json": self._exact_json(text)}
        except NotJson as error:
            return {"jsonError": str(error)}

    def _exact_json(self, text: str) -> Any:
        value = self.json()
        # orjson makes floats of integers beyond 64 bits, which later steps would send on as other numbers.
        odd = next(odd_values(json.loads(text, parse_int=integer)), None) if _LONG_NUMBER.search(text) else None
        if odd is not None:
            raise NotJson(f"{excerpt(odd[0], 200) or 'the number'} {odd[1]}")
        return value

    def excerpt(self, characters: int) -> str:
        """Return how the body begins, for people."""
        text = self.text_of(characters * 4)
        if text is None:
            return f"<{len(self.content)} bytes of {self.content_type}>"
        return text[:characters]


async def read_body(response: "aiohttp.ClientResponse", limit: int, timing: "Timing") -> Body:
    """Read at most ``limit`` bytes; a connection with more to come is closed rather than read to its end."""
    if response.content.is_eof() and response.content.total_bytes <= limit:
        # It came whole with the headers, as most answers do: no clock needs to be set.
        content = response.content.read_nowait() if response.content.total_bytes else b""
        return _body(response, content, complete=True)
    chunks: list[bytes] = []
    left = limit
    timing.enter("idle")
    while left and (chunk := await response.content.readany()):
        chunks.append(chunk[:left])
        left -= len(chunks[-1])
        timing.enter("idle")
    complete = response.content.is_eof() and response.content.total_bytes <= limit
    if not complete:
        response.close()
    return _body(response, b"".join(chunks), complete)


def _body(response: "aiohttp.ClientResponse", content: bytes, complete: bool) -> Body:
    return Body(content, hashlib.sha256(content).hexdigest(), complete, response.content_type, response.charset)


@lru_cache(maxsize=256)
def _codec(charset: str | None) -> str | None:
    if charset is None:
        return None
    try:
        found = codecs.lookup(charset)
    except (LookupError, ValueError):
        return None
    textual = getattr(found, "_is_text_encoding", True) and found.name not in _NOT_TEXTUAL_CODECS
    if not textual or found.incrementaldecoder is None:
        return None
    return "utf-8-sig" if found.name == "utf-8" else found.name


def _depth(value: Any) -> int:
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [
            child
            for parent in level
            if isinstance(parent, list | dict)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, list | dict)
        ]
    return deepest
