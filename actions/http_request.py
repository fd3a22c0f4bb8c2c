"""``http-request``: sends one HTTP request; a status below 400 is success.

Within an attempt, only what failed before a request could have left (a refused or reset connection) is tried again by
aiohttp-retry, a few times and at once; everything else is the workflow's retry policy's business, which is visible in the
execution's history.
"""

import asyncio
from typing import Annotated, Any, Literal

import aiohttp
from aiohttp_retry import ExponentialRetry, RetryClient
from pydantic import AfterValidator, Field, JsonValue, model_validator
from typing_extensions import Self
from yarl import URL

from actions.running import Context, Failed, Outcome, Succeeded
from domain.action import Action
from domain.durations import Duration, parse_duration

LOGGED_CHARACTERS = 50
BODY_LIMIT = 1_048_576  # bytes read of a response; the rest is not waited for
_CONNECTION_RETRIES = ExponentialRetry(
    attempts=3, start_timeout=0.05, max_timeout=0.5, exceptions={aiohttp.ClientConnectorError}, retry_all_server_errors=False
)


def _http_url(text: str) -> str:
    try:
        url = URL(text)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"{text!r} is not a URL that can be requested; write for example https://example.org/path"
        ) from None
    return text


class HttpRequestAction(Action):
    """Sends one HTTP request."""

    type: Literal["http-request"]
    url: Annotated[str, Field(max_length=8192, examples=["https://example.org"]), AfterValidator(_http_url)]
    method: Literal["GET", "PUT", "POST", "DELETE", "PATCH", "HEAD"]
    headers: dict[str, str] = Field(default_factory=dict, description="Sent as given.")
    body: str | None = Field(default=None, max_length=1_000_000, description="Sent as UTF-8 text.")
    json_body: JsonValue = Field(default=None, alias="json", description="Sent as JSON; not together with body.")
    timeout: Duration = Field(default="30s", description="For the whole request, connection to last byte.")

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.body is not None and self.json_body is not None:
            raise ValueError("body and json are both given; keep one of them")
        return self

    @model_validator(mode="after")
    def _headers_can_be_sent(self) -> Self:
        for name, value in self.headers.items():
            if not name or any(c in "\r\n:\0 " for c in name) or not name.isascii():
                raise ValueError(f"headers: {name!r} is not a header name")
            if any(c in "\r\n\0" for c in value):
                raise ValueError(f"headers: the value of {name} holds a line break; remove it")
        return self


async def run(action: HttpRequestAction, context: Context) -> Outcome:
    """Send the request and read the answer."""
    headers = {
        "Idempotency-Key": context.idempotency_key,
        "Workflow-Attempt": str(context.attempt),
        "Workflow-Epoch": str(context.epoch),
        **action.headers,
    }
    body: dict[str, Any] = {}
    if action.json_body is not None:
        body["json"] = action.json_body
    elif action.body is not None:
        body["data"] = action.body.encode()
    seconds = parse_duration(action.timeout).total_seconds()
    client = RetryClient(client_session=context.resources.http, retry_options=_CONNECTION_RETRIES, raise_for_status=False)
    try:
        async with client.request(
            action.method, action.url, headers=headers, timeout=aiohttp.ClientTimeout(total=seconds), **body
        ) as response:
            content = await _read(response)
    except asyncio.TimeoutError:
        return Failed("timeout", f"{action.url} did not answer within {action.timeout}")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return Failed("connection", f"{action.url}: {error or type(error).__name__}")
    text = content.decode(response.get_encoding() if content else "utf-8", "replace")
    log = f"{action.url} [STATUS {response.status}] => {text[:LOGGED_CHARACTERS]}"
    if response.status >= 400:
        return Failed("status", f"{action.url} answered {response.status}", logs=(log,), status=response.status)
    return Succeeded(logs=(log,))


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body's first BODY_LIMIT bytes."""
    chunks = []
    left = BODY_LIMIT
    async for chunk in response.content.iter_any():
        chunks.append(chunk[:left])
        left -= len(chunks[-1])
        if left <= 0:
            break
    return b"".join(chunks)
