"""What must not be kept of a request: credentials in its address, its query and its headers."""

import re
from collections.abc import Collection, Mapping
from typing import Final

from yarl import URL

HIDDEN: Final = "***"
_SECRET_NAME: Final = re.compile(
    r"authori[sz]ation|cookie|token|secret|passw|pwd|credential|session|signature|api[-_.]?key|(^|[-_.])(auth|key|sig|code)$",
    re.IGNORECASE,
)
_HARMLESS: Final = frozenset({"idempotency-key"})


def is_secret(name: str) -> bool:
    """Tell whether a header or query parameter of this name carries a credential."""
    return name.lower() not in _HARMLESS and _SECRET_NAME.search(name) is not None


def redact_url(url: URL, names: Collection[str] = ()) -> str:
    """Return ``url`` without user, password and fragment, and the values of secret parameters (and ``names``) hidden."""
    if url.raw_user is not None or url.raw_password is not None:
        url = url.with_user(None)
    if url.raw_query_string:
        query = [(name, HIDDEN if name in names or is_secret(name) else value) for name, value in url.query.items()]
        if any(value == HIDDEN for _, value in query):
            url = url.with_query(query)
    return str(url.with_fragment(None) if url.raw_fragment else url)


def redact_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return ``headers`` with the values of those that carry credentials hidden."""
    return {name: HIDDEN if is_secret(name) else value for name, value in headers.items()}
