"""What a URL must be that is requested."""

from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo
from yarl import URL

from templates.template import is_open


def _http_url(text: str, info: ValidationInfo) -> str:
    if is_open(text, info):
        return text
    try:
        url = URL(text)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{text!r} is not a URL that can be requested; write for example https://example.org/path"
        ) from None
    return text


HttpUrl = Annotated[str, Field(max_length=8192, examples=["https://example.org"]), AfterValidator(_http_url)]
