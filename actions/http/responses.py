"""What is kept of an answer's headers."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Final

from multidict import CIMultiDictProxy

from domain.excerpts import excerpt

KEPT: Final = {  # by the names that they are kept under
    name.lower(): name
    for name in (
        "Content-Type",
        "Content-Length",
        "Content-Encoding",
        "Date",
        "ETag",
        "Last-Modified",
        "Link",
        "Location",
        "Retry-After",
        "Server",
        "X-Request-Id",
    )
}
LONGEST: Final = 1000


def kept_headers(headers: CIMultiDictProxy[str], more: Iterable[str]) -> dict[str, str]:
    """Return the headers that are kept, by their names in lower case."""
    names = {**KEPT, **{name.lower(): name for name in more}}
    return {
        kept: excerpt(_printable(_joined(kept, headers.getall(name))), LONGEST)
        for kept, name in names.items()
        if name in headers
    }


def _joined(name: str, values: list[str]) -> str:
    # A comma within a cookie's date could not be told from one between two cookies (RFC 9110, 5.3).
    return ("\n" if name == "set-cookie" else ", ").join(values)


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Return the seconds that ``Retry-After`` asks to wait, given as seconds or as a date; None where it says nothing."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        at = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=timezone.utc)
    return max(0.0, (at - now).total_seconds())


def _printable(value: str) -> str:
    # aiohttp keeps bytes that are not UTF-8 as lone surrogates, which JSON cannot carry.
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
