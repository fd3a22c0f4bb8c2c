"""Names of what lies outside: secrets, variables, and headers of HTTP."""

import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

from domain.excerpts import excerpt

NAME_RULE: Final = "must be 1 to 128 letters, digits, '-' or '_', the first a letter or '_'"
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")

SecretName = Annotated[str, Field(min_length=1, max_length=128, description="Name of a secret.")]


def is_name(text: str) -> bool:
    """Tell whether ``text`` can be the name of a secret or of a variable."""
    return _NAME.fullmatch(text) is not None


def check_header_name(name: str) -> str:
    """Return ``name``; raise ValueError where it is none (RFC 9110, token)."""
    if not name or not name.isascii() or any(c <= " " or c in '()<>@,;:\\"/[]?={}\x7f' for c in name):
        raise ValueError(f"{excerpt(name, 100)!r} is not a header name; write for example X-Request-Source")
    return name


HeaderName = Annotated[str, Field(max_length=256), AfterValidator(check_header_name)]
