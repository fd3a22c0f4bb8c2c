"""Names of what lies outside: secrets, and headers of HTTP."""

from typing import Annotated

from pydantic import AfterValidator, Field

from domain.excerpts import excerpt

SecretName = Annotated[str, Field(min_length=1, max_length=128, description="Name of a secret.")]


def check_header_name(name: str) -> str:
    """Return ``name``; raise ValueError where it is none (RFC 9110, token)."""
    if not name or not name.isascii() or any(c <= " " or c in '()<>@,;:\\"/[]?={}\x7f' for c in name):
        raise ValueError(f"{excerpt(name, 100)!r} is not a header name; write for example X-Request-Source")
    return name


HeaderName = Annotated[str, Field(max_length=256), AfterValidator(check_header_name)]
