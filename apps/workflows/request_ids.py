"""``X-Request-Id``: one name for a request, in its answer, in problems, in the audit log and in every log line about it."""

import os
import re
from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

HEADER: Final = "X-Request-Id"
NAME: Final = web.RequestKey("request_id", str)
_SANE: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,100}")  # nothing that could break a log line or a terminal


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name the request as its sender does, or else by a random name."""
    given = request.headers.get(HEADER)
    request_id = given if given is not None and _SANE.fullmatch(given) else os.urandom(8).hex()
    request[NAME] = request_id
    structlog.contextvars.bind_contextvars(request_id=request_id)
    return await handler(request)


async def name_answer(request: web.Request, response: web.StreamResponse) -> None:
    """Put the name on an answer, also on one that is streamed."""
    response.headers[HEADER] = request.get(NAME, "")


def current() -> str:
    """Return the name of the request that is being answered."""
    found: str = structlog.contextvars.get_contextvars().get("request_id", "")
    return found
