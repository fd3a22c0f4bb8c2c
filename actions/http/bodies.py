"""What a request carries: rendered to bytes first, so that it can be signed, and sent again where a redirect says so."""

import base64
import binascii
import hashlib
import json
import math
import re
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from pydantic import AfterValidator, BeforeValidator, Field, JsonValue, ValidationInfo, model_validator
from typing_extensions import Self

from domain.model import Model
from templates.template import is_open

CONTENT_TYPE_PATTERN: Final = r"^[!-~][ -~]*$"
LONGEST: Final = 1_000_000  # characters of a text, bytes of a part

Scalar = str | int | float | bool | None


def _checked(value: Any) -> Any:
    # Before the union is looked at, whose own complaint would name each of its members.
    for item in value if isinstance(value, list) else [value]:
        if not isinstance(item, Scalar) or (isinstance(item, float) and not math.isfinite(item)):
            raise ValueError("must be a string, a number, true, false, null, or a list of these")
    return value


Values = Annotated[
    dict[str, Annotated[Scalar | list[Scalar], BeforeValidator(_checked)]],
    Field(max_length=1000, description="Names and values; a list repeats the name, null leaves it out."),
]


def _base64(text: str, info: ValidationInfo) -> str:
    if is_open(text, info):
        return text
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("is not base64; encode the bytes as in aGVsbG8=") from None
    return text


class Part(Model):
    """One part of a multipart form."""

    name: str = Field(min_length=1, max_length=256)
    value: str | None = Field(default=None, max_length=LONGEST, description="A text.")
    json_value: JsonValue = Field(default=None, alias="json", description="Sent as JSON.")
    base64: Annotated[str, Field(max_length=2 * LONGEST), AfterValidator(_base64)] | None = Field(
        default=None, description="Bytes."
    )
    filename: str | None = Field(default=None, max_length=256)
    content_type: str | None = Field(default=None, max_length=256, pattern=CONTENT_TYPE_PATTERN)

    @model_validator(mode="after")
    def _one_content(self) -> Self:
        if sum(given is not None for given in (self.value, self.json_value, self.base64)) != 1:
            raise ValueError("give exactly one of value, json and base64")
        return self

    def render(self) -> bytes:
        """Return the part with its headers."""
        disposition = f'form-data; name="{_quoted(self.name)}"'
        if self.filename is not None:
            disposition += f'; filename="{_quoted(self.filename)}"'
        if self.json_value is not None:
            content, kind = json.dumps(self.json_value).encode(), "application/json"
        elif self.base64 is not None:
            content, kind = base64.b64decode(self.base64), "application/octet-stream"
        else:
            content, kind = (self.value or "").encode(), "text/plain; charset=utf-8"
        head = f"Content-Disposition: {disposition}\r\nContent-Type: {self.content_type or kind}\r\n\r\n"
        return head.encode() + content


def _quoted(text: str) -> str:
    # As browsers do (HTML standard, multipart/form-data encoding algorithm).
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def form_body(values: Values) -> bytes:
    """Return an application/x-www-form-urlencoded body."""
    return urlencode(pairs(values)).encode()


def pairs(values: Values) -> list[tuple[str, str]]:
    """Return names and values, names repeated for lists and left out for null, numbers and booleans as JSON writes them."""
    return [
        (name, item if isinstance(item, str) else json.dumps(item))
        for name, value in values.items()
        for item in (value if isinstance(value, list) else [value])
        if item is not None
    ]


def multipart_body(parts: tuple[Part, ...]) -> tuple[bytes, str]:
    """Return a multipart/form-data body and its content type.

    The boundary comes from the contents, so that every attempt sends the same bytes under the same Idempotency-Key.
    """
    rendered = [part.render() for part in parts]
    boundary = hashlib.sha256(b"\0".join(rendered)).hexdigest()[:40]
    body = b"".join(b"--%s\r\n%s\r\n" % (boundary.encode(), part) for part in rendered) + b"--%s--\r\n" % boundary.encode()
    return body, f"multipart/form-data; boundary={boundary}"


def json_body(value: Any) -> bytes:
    """Return a JSON body."""
    return json.dumps(value).encode()


_CONTENT_HEADER: Final = re.compile(r"content-(type|encoding|language|location)$", re.IGNORECASE)


def describes_body(header: str) -> bool:
    """Tell whether a header speaks of the body, and goes with it when a redirect drops it."""
    return _CONTENT_HEADER.match(header) is not None
