"""The audit log in MongoDB: one document per change, found by time, removed when its retention is over.

Ids sort by time, as those of executions do.
"""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from domain.identifiers import asked_at, is_execution_id
from domain.instants import MILLISECOND
from store.failures import duplicates, translated
from store.group_commit import GroupCommit
from store.interfaces import AuditEntry, AuditFilter
from store.windows import backwards, within

Entries = list[AuditEntry]  # inside the class, ``list`` is the method


class MongoAudit:
    """See :class:`store.interfaces.Audit`."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]]) -> None:
        self._collection = collection
        self._writes: GroupCommit[AuditEntry, None] = GroupCommit(self._write_all)

    def indexes(self) -> Iterator[tuple[AsyncCollection[dict[str, Any]], Sequence[IndexModel]]]:
        """Yield the index of the list and of the retention."""
        yield self._collection, [IndexModel([("at", ASCENDING)], name="at")]

    async def write(self, entry: AuditEntry) -> None:
        """Add an entry; concurrent calls share one round trip."""
        await self._writes.submit(entry)

    async def _write_all(self, entries: Sequence[AuditEntry]) -> Sequence[BaseException | None]:
        documents = [_to_document(entry) for entry in entries]
        async with translated():
            try:
                await self._collection.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                duplicates(error)  # an entry that is there already is written
        return [None] * len(entries)

    async def list(self, where: AuditFilter, *, before: str | None, limit: int) -> Sequence[AuditEntry]:
        """Return entries, newest first, with ids smaller than ``before``."""
        query: dict[str, Any] = {}
        if before is not None:
            query["_id"] = {"$lt": before}
        if where.path is not None:
            query["path"] = {"$regex": f"^{re.escape(where.path)}(/|$)"}
        for name in ("who", "operation"):
            if getattr(where, name) is not None:
                query[name] = getattr(where, name)
        found: Entries = []
        # To the millisecond in which ``before`` was made, and with it.
        until = None if before is None or not is_execution_id(before) else asked_at(before) + MILLISECOND
        for window in backwards(until, datetime.now(timezone.utc)):
            async with translated():
                cursor = self._collection.find({**within(window, "at"), **query}, limit=limit - len(found))
                found += [_from_document(document) async for document in cursor.sort([("_id", DESCENDING)])]
            if len(found) >= limit:
                break
        return found


def _to_document(entry: AuditEntry) -> dict[str, Any]:
    document = {
        "_id": entry.entry_id,
        "at": entry.at,
        "who": entry.who,
        "token_id": entry.token_id,
        "operation": entry.operation,
        "path": entry.path,
        "status": entry.status,
        "request_id": entry.request_id,
        "address": entry.address,
        # As text: the keys in it may hold dots and dollars.
        "changes": json.dumps(entry.changes) if entry.changes else None,
    }
    return {name: value for name, value in document.items() if value is not None}


def _from_document(document: dict[str, Any]) -> AuditEntry:
    return AuditEntry(
        entry_id=document["_id"],
        at=document["at"],
        who=document["who"],
        token_id=document.get("token_id"),
        operation=document["operation"],
        path=document["path"],
        status=document["status"],
        request_id=document["request_id"],
        address=document.get("address"),
        changes=json.loads(document["changes"]) if "changes" in document else [],
    )
