"""Reads the JSON body of a request, strictly.

What one reader of JSON takes and the next refuses must not get past this door: a key given twice, NaN, a half of a
surrogate pair, a number beyond 64 bits, nesting beyond what orjson writes.
"""

import json
import zlib
from collections.abc import Collection, Iterable
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from aiohttp import hdrs, web
from pydantic import ValidationError

from actions.wording import LONGEST_FIELD
from apps.workflows.errors import BadRequest, BodyTooLarge, FieldError, NeitherJsonNorText, NotJson, UnknownEncoding
from apps.workflows.field_errors import field_errors
from domain.excerpts import excerpt
from domain.json_values import TOO_DEEP, odd_values, read_json
from domain.model import Model
from domain.reference import REFERENCE_RULE, is_reference

ENCODINGS: Final = ("gzip", "deflate")
_ANY_HEADER: Final = 32 + zlib.MAX_WBITS  # of gzip or zlib

M = TypeVar("M", bound=Model)


class EmptyBody(Model):
    """Nothing, as an object."""


async def read_object(request: web.Request, *, optional: bool = False) -> dict[str, Any]:
    """Return the JSON object in the body; an empty body is ``{}`` where it is optional.

    Raises:
        BadRequest: the body is no JSON object.
        BodyTooLarge: it is longer than the limit of the application.
        NotJson: it is not declared to be JSON in UTF-8.
        UnknownEncoding: it is compressed by something else than ENCODINGS.
    """
    raw = await _read(request)
    if not raw:
        if optional:
            return {}
        raise BadRequest("The body is empty; send a JSON object.")
    value = parse(raw)
    if not isinstance(value, dict):
        raise BadRequest("The body must be a JSON object.")
    return value


async def read_members(request: web.Request, *names: str, mend: str, reference: bool = False) -> dict[str, Any]:
    """Return the objects of these names in the body; none must be there. ``mend`` says what to do about any other.

    With ``reference`` there may also be one.

    Raises:
        BadRequest: names what is unknown, no object or no reference; see also :func:`read_object`.
    """
    body = await read_object(request, optional=True)
    known = (*names, "reference") if reference else names
    found = [FieldError(name[:100], f"is not known here; {mend}") for name in body if name not in known]
    # What is null is not given: clients made from the document write what they have nothing for like that.
    body = {name: value for name, value in body.items() if value is not None}
    found += [FieldError(name, "must be an object") for name in names if name in body and not isinstance(body[name], dict)]
    if reference and "reference" in body and not is_reference(body["reference"]):
        found.append(FieldError("reference", REFERENCE_RULE))
    if found:
        raise BadRequest("The body is not valid.", found)
    return body


async def read_nothing(request: web.Request) -> None:
    """Refuse a body that says anything: see :class:`EmptyBody`.

    Raises:
        BadRequest: names what is unknown; see also :func:`read_object`.
    """
    await read_members(request, mend="remove it")


async def read_model(model: type[M], request: web.Request, *, what: str = "body", optional: bool = False) -> M:
    """Return the body as a ``model``, which the caller calls ``what``; see :func:`read_object`.

    Raises:
        BadRequest: names each field that is unknown, missing or wrong.
    """
    body = await read_object(request, optional=optional)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise BadRequest(f"The {what} is not valid.", field_errors(error, body, model)) from None


async def read_text(request: web.Request, *, also: Collection[str] = ()) -> str:
    """Return the body as it was sent: JSON, or one of the media types ``also``.

    Raises:
        BadRequest: the body is not what its headers declare, or not UTF-8.
        BodyTooLarge: it is longer than the limit of the application.
        NotJson: it is declared to be something else.
        UnknownEncoding: it is compressed by something else than ENCODINGS.
    """
    try:
        return (await _read(request, also)).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 at byte {error.start}.") from None


async def read_payload(request: web.Request) -> Any:
    """Return what a sender of its own mind has sent: a JSON value, the fields of a form, or text; None where it is nothing.

    Raises:
        BadRequest: the body is not what its headers declare, or cannot be kept.
        BodyTooLarge: it is longer than the limit of the application.
        NeitherJsonNorText: it is something else.
        UnknownEncoding: it is compressed by something else than ENCODINGS.
    """
    raw = await read_bytes(request)
    kind = request.content_type
    if not raw:
        return None
    if kind == "application/json" or kind.endswith("+json"):
        return parse(raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise NeitherJsonNorText(kind) from None
    return listed(parse_qsl(text, keep_blank_values=True)) if kind == "application/x-www-form-urlencoded" else text


def listed(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return fields by name; those that are given several times are lists."""
    found: dict[str, str | list[str]] = {}
    for name, value in pairs:
        if name not in found:
            found[name] = value
        else:
            before = found[name]
            found[name] = [*(before if isinstance(before, list) else [before]), value]
    return found


async def _read(request: web.Request, also: Collection[str] = ()) -> bytes:
    # Without a body its type says nothing: clients send what they like, aiohttp for one application/octet-stream.
    if not request.body_exists:
        return b""
    charset = (request.charset or "utf-8").lower()
    if request.content_type not in ("application/json", *also) or charset not in ("utf-8", "utf8"):
        raise NotJson(request.headers.get(hdrs.CONTENT_TYPE))
    return await read_bytes(request)


async def read_bytes(request: web.Request) -> bytes:
    """Return the body, unpacked, whatever it is.

    Raises:
        BadRequest: the body is not what its headers declare.
        BodyTooLarge: it is longer than the limit of the application.
        UnknownEncoding: it is compressed by something else than ENCODINGS.
    """
    limit = request.client_max_size
    if (request.content_length or 0) > limit:
        raise BodyTooLarge(limit)
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "").strip().lower()
    if encoding not in ("", "identity", *ENCODINGS):
        raise UnknownEncoding(encoding, ENCODINGS)
    try:
        raw = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise BodyTooLarge(limit) from None
    except (web.RequestPayloadError, ConnectionError):  # nobody may be there to be told, but it is no failure of the service
        raise BadRequest("The body is not as long as its Content-Length or its chunks declare; send all of it.") from None
    return _unpacked(raw, encoding, limit) if encoding in ENCODINGS else raw


def _unpacked(raw: bytes, encoding: str, limit: int) -> bytes:
    # Not by aiohttp: it takes what was cut off for all of it, and answers an encoding that it lacks in plain text.
    decompressor = zlib.decompressobj(_ANY_HEADER)
    try:
        value = decompressor.decompress(raw, limit + 1)
    except zlib.error:
        value = b""
    if len(value) > limit:
        raise BodyTooLarge(limit)
    if not decompressor.eof or decompressor.unused_data:
        raise BadRequest(
            f"The body is not one whole {encoding}, as its Content-Encoding declares; compress it so, or leave that out."
        )
    return value


def parse(raw: bytes) -> Any:
    """Return the value in ``raw``.

    Raises:
        BadRequest: ``raw`` is not JSON, or holds what cannot be kept.
    """
    try:
        value = read_json(raw.decode(), _twice)
    except UnicodeDecodeError as error:
        raise BadRequest(f"The body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise BadRequest(f"The body is not JSON at line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except RecursionError:
        raise BadRequest(f"The body {TOO_DEEP}.") from None
    for field, message in odd_values(value):
        raise BadRequest("The body is not valid.", [FieldError(excerpt(field, LONGEST_FIELD) or "body", message)])
    return value


def _twice(key: str) -> BadRequest:
    error = FieldError(excerpt(key, LONGEST_FIELD) or "body", "is given twice in one object; keep one of them")
    return BadRequest("The body is not valid.", [error])
