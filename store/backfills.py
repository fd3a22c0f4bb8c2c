"""Backfills in MongoDB: one document each.

While one is running it carries ``running`` (its workflow id, under a unique sparse index, so that a workflow has at most
one) and ``wake_at`` (when the scheduler looks at it next). Both are gone when it has ended, and ``finished_at`` is there.
The ledger asks which ticks were made up for, so a backfill is kept for as long as the ledger tells of ticks.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from domain.backfill import Backfill, BackfillStatus
from domain.trigger import Trigger
from store.failures import translated

Document = dict[str, Any]
Found = list[Backfill]  # inside the class, ``list`` is the method

_TRIGGER: TypeAdapter[Any] = TypeAdapter(Trigger)


class MongoBackfills:
    """See :class:`store.interfaces.Backfills`."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection

    def indexes(self) -> Iterator[tuple[AsyncCollection[Document], Sequence[IndexModel]]]:
        """Yield the indexes; each is used by the calls named beside it."""
        yield (
            self._collection,
            [
                IndexModel([("workflow_id", ASCENDING), ("_id", DESCENDING)], name="by_workflow"),  # list, covering
                IndexModel([("running", ASCENDING)], name="running", unique=True, sparse=True),  # add, running
                IndexModel([("wake_at", ASCENDING)], name="waking", sparse=True),  # waking
                IndexModel([("finished_at", ASCENDING)], name="finished_at", sparse=True),  # retention
            ],
        )

    async def add(self, backfill: Backfill) -> bool:
        """Store a new one; see the contract."""
        try:
            async with translated():
                await self._collection.insert_one(self._document(backfill))
        except DuplicateKeyError:
            return await self.get(backfill.backfill_id) is not None
        return True

    async def save(self, backfill: Backfill) -> bool:
        """Store a change; see the contract."""
        async with translated():
            result = await self._collection.replace_one(
                {"_id": backfill.backfill_id, "revision": backfill.revision - 1}, self._document(backfill)
            )
        return bool(result.matched_count)

    async def get(self, backfill_id: str) -> Backfill | None:
        """Return one."""
        return next(iter(await self._find({"_id": backfill_id})), None)

    async def running(self, workflow_id: str) -> Backfill | None:
        """Return the one that is running."""
        return next(iter(await self._find({"running": workflow_id})), None)

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Backfill]:
        """Return running ones that are to be looked at; see the contract."""
        query = {"wake_at": {"$lte": until}, "shard": {"$in": sorted(shards)}}
        return await self._find(query, sort=("wake_at", ASCENDING), limit=limit)

    async def list(self, workflow_id: str, *, before: str | None, limit: int) -> Sequence[Backfill]:
        """Return those of a workflow, newest first."""
        query: Document = {"workflow_id": workflow_id}
        if before is not None:
            query["_id"] = {"$lt": before}
        return await self._find(query, sort=("_id", DESCENDING), limit=limit)

    async def covering(self, workflow_id: str, first: datetime, last: datetime) -> Sequence[Backfill]:
        """Return those whose range has instants in [first, last]."""
        return await self._find({"workflow_id": workflow_id, "until": {"$gt": first}, "first": {"$lte": last}})

    async def _find(self, query: Document, *, sort: tuple[str, int] | None = None, limit: int = 0) -> Found:
        async with translated():
            cursor = self._collection.find(query, limit=limit)
            if sort is not None:
                cursor = cursor.sort([sort])
            return [_from_document(document) async for document in cursor]

    def _document(self, backfill: Backfill) -> Document:
        document: Document = {
            "_id": backfill.backfill_id,
            "status": backfill.status.value,
            "trigger": json.dumps(backfill.trigger.to_document()),
            "open": list(backfill.open),
        }
        for name in _FIELDS:
            value = getattr(backfill, name)
            if value is not None:
                document[name] = value
        if backfill.is_open:
            document["running"] = backfill.workflow_id
        return document


_FIELDS = (
    "already_run", "anchor", "at_once", "beyond_retention", "created_at", "failed", "finished_at", "first", "ok", "position",
    "rate", "reason", "revision", "shard", "started", "ticks", "until", "wake_at", "workflow_id",
)  # fmt: skip


def _from_document(document: Mapping[str, Any]) -> Backfill:
    return Backfill(
        backfill_id=document["_id"],
        status=BackfillStatus(document["status"]),
        trigger=_TRIGGER.validate_python(json.loads(document["trigger"]), by_alias=False, by_name=True),
        open=tuple(document["open"]),
        **{name: document[name] for name in _FIELDS if name in document},
    )
