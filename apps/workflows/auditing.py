"""Writes the audit log: who changed what, when, and the difference.

A change is written down after it was made and before it is answered. Should the database fail in between, the entry goes to
the service's log instead: the change stands, and its caller is told so.
"""

import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import structlog
from aiohttp import web

from apps.access import ANYBODY, principal_of
from apps.operations import Operation
from apps.workflows import request_ids
from domain.identifiers import execution_id
from store.interfaces import Audit, AuditEntry, StoreError

log = structlog.get_logger(__name__)

DIFFERENCE: Final = web.RequestKey("difference", tuple[Any, Any])
UNCHANGED: Final = web.RequestKey("unchanged", bool)
_LONGEST: Final = 2_000  # characters of one value
_MOST: Final = 200  # places in one entry


def is_recorded(request: web.Request, response: web.StreamResponse, operation: Operation | None) -> bool:
    """Tell whether what a request did belongs in the audit log."""
    if operation is not None and (not operation.changes or (operation.is_routine and principal_of(request) is ANYBODY)):
        return False
    return response.status < 400 and not request.get(UNCHANGED, False)


async def record(
    request: web.Request, response: web.StreamResponse, operation: Operation | None, *, audit: Audit, now: datetime
) -> None:
    """Write down what a request changed."""
    principal = principal_of(request)
    before, after = request.get(DIFFERENCE, (None, None))
    entry = AuditEntry(
        entry_id=execution_id(now, secrets.token_bytes(10)),
        at=now,
        who=principal.name,
        token_id=principal.token_id,
        operation=operation.id if operation is not None else request.method.lower(),
        # What was created is found by its own address, as its later changes are.
        path=(response.headers.get("Location", request.path) if response.status == 201 else request.path).removeprefix(
            "/v1"
        ),
        status=response.status,
        request_id=request_ids.current(),
        address=request.remote,
        changes=changes(before, after),
    )
    try:
        await audit.write(entry)
    except StoreError as error:
        log.error("audit entry not stored", error=str(error), entry=entry)


def note(request: web.BaseRequest, before: Any, after: Any) -> None:
    """Say what a request made of what, as JSON values; None where there was or is nothing."""
    request[DIFFERENCE] = (before, after)


def spare(request: web.BaseRequest) -> None:
    """Say that a request, of a kind that makes changes, made none."""
    request[UNCHANGED] = True


def changes(before: Any, after: Any) -> list[dict[str, Any]]:
    """Return the places where two JSON values differ."""
    found: list[dict[str, Any]] = []
    for path, old, new in _walk("", before, after):
        if len(found) == _MOST:
            found.append({"path": "…", "before": None, "after": "and more"})
            break
        found.append({"path": path, "before": _short(old), "after": _short(new)})
    return found


def _walk(path: str, before: Any, after: Any) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in [*before, *(name for name in after if name not in before)]:
            yield from _walk(f"{path}.{name}" if path else name, before.get(name), after.get(name))
    elif isinstance(before, list) and isinstance(after, list):
        for index in range(max(len(before), len(after))):
            yield from _walk(
                f"{path}[{index}]",
                before[index] if index < len(before) else None,
                after[index] if index < len(after) else None,
            )
    elif before != after or type(before) is not type(after):
        yield path, before, after


def _short(value: Any) -> Any:
    text = value if isinstance(value, str) else None
    return value if text is None or len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
