"""``Idempotency-Key``: a POST that is repeated with its key is carried out once, and answered the same.

Life cycle: the key is claimed in the database, the request is carried out, its answer is kept for a day. Only success is
kept: what was refused changed nothing, so its key is released and a repetition is tried anew (a trigger that met an open
execution may be repeated with the same key until it is accepted). A key belongs to its caller, method and address; the same
key with another body is refused.

A crash between carrying out and keeping leaves a claim without an answer, and so does a failure that does not say what
became of the request (the database was away: it may have carried out, or may yet carry out, what it did not acknowledge).
Such a claim is left to whoever repeats the request, and is released no more, not even by a refusal. For what starts an
execution (trigger, retry, run again) that is harmless: its id derives from the key and from the instant at which the key was
first seen, so the repetition meets the execution that is there. For other requests it may be answered with the conflict that
it meets (such as workflow-exists).
"""

import hashlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

import structlog
from aiohttp import web

from apps.access import principal_of
from apps.workflows import problems
from apps.workflows.bodies import read_bytes
from apps.workflows.errors import BadRequest, FieldError, KeyInUse, KeyReused
from domain.identifiers import KEY_RULE, is_key
from store.interfaces import Idempotency, KeptAnswer, KeyClaim, StoreError

log = structlog.get_logger(__name__)

HEADER: Final = "Idempotency-Key"
REPLAYED: Final = "Idempotency-Replayed"
ASKED: Final = web.RequestKey("asked", tuple[datetime, bytes])
_KEPT_HEADERS: Final = ("Content-Type", "Location", "ETag")


async def once(
    request: web.Request,
    carry_out: Callable[[], Awaitable[web.Response]],
    *,
    header: str = HEADER,
    keys: Idempotency,
    now: datetime,
) -> web.Response:
    """Carry out the request unless it has been, and answer as the first time; ``header`` holds its key.

    Raises:
        BadRequest: the key is empty, too long or not printable, or the body is not what its headers declare.
        BodyTooLarge: the body is longer than the limit of the application.
        UnknownEncoding: it is compressed by something that cannot be unpacked here.
        KeyReused: the key came with another body before.
        KeyInUse: the first request with it is being carried out.
    """
    given = request.headers[header]
    if not is_key(given):
        raise BadRequest("A header is not valid.", [FieldError(header, KEY_RULE)])
    # Read here so that a body that is too large is refused before anything is stored; it is kept for the handler.
    fingerprint = hashlib.sha256(await read_bytes(request)).hexdigest() if request.body_exists else ""
    return await once_for(request, carry_out, key=given, what=header, fingerprint=fingerprint, keys=keys, now=now)


async def once_for(
    request: web.Request,
    carry_out: Callable[[], Awaitable[web.Response]],
    *,
    key: str,
    what: str,
    fingerprint: str = "",
    keys: Idempotency,
    now: datetime,
) -> web.Response:
    """Do the same for a request whose key is known, and is ``what`` to whoever sends it.

    Raises:
        KeyReused: the key came with another fingerprint before.
        KeyInUse: the first request with it is being carried out.
    """
    path = request.path.removeprefix("/v1")
    caller = principal_of(request).token_id or ""
    key = hashlib.sha256("\0".join((caller, request.method, path, key)).encode()).hexdigest()
    claim = await keys.claim(key, fingerprint, now)
    if claim.fingerprint != fingerprint:
        raise KeyReused(what)
    if claim.answer is not None:
        return web.Response(
            status=claim.answer.status,
            headers={**claim.answer.headers, REPLAYED: "true"},
            body=claim.answer.body,
        )
    if not claim.is_ours:
        raise KeyInUse(what)
    request[ASKED] = (claim.first_at, hashlib.sha256(f"key\0{key}".encode()).digest())
    try:
        response = await carry_out()
    except BaseException as error:
        # Whoever came before may have started what this one was refused.
        await _let_go(keys, key, claim, is_unused=claim.first_at == now and problems.is_refusal(error))
        raise
    headers = {name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers}
    body = response.body if isinstance(response.body, bytes) else b""
    try:
        await keys.keep(key, claim, KeptAnswer(response.status, headers, body))
    except StoreError as error:
        # It is done, and the caller is told so; a repetition will find the claim without an answer.
        log.warning("answer to an idempotency key not kept", error=str(error))
    return response


async def _let_go(keys: Idempotency, key: str, claim: KeyClaim, *, is_unused: bool) -> None:
    try:
        await (keys.release(key, claim) if is_unused else keys.leave(key, claim))
    except StoreError as error:
        log.warning("idempotency key not released", error=str(error))


def asked(request: web.BaseRequest, now: datetime, entropy: bytes) -> tuple[datetime, bytes, bool]:
    """Return the instant and the bytes that an id is made of: those of the key where one was given.

    Also whether that id is unique; that of a key is made again by whoever repeats the request.
    """
    found: tuple[datetime, bytes] | None = request.get(ASKED)
    return (now, entropy, True) if found is None else (*found, False)
