"""Signals in MongoDB: one document each, whose id is that of the execution and the name.

While it is unheeded it carries ``look_at`` (when somebody looks whether its execution waits for it), and ``heeded_at`` from
then on: one of the two, each under a sparse index.

Where a step has waited in vain, a document of that id says so instead, for whoever sends the signal only then: ``closed`` is
the last attempt that nothing is kept for any more. Which of the two comes first, the unique index of the ids decides.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from domain.signal import Signal
from store.failures import translated
from store.interfaces import StoreUnavailable

Document = dict[str, Any]


class MongoSignals:
    """See :class:`store.interfaces.Signals`."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection

    def indexes(self) -> Iterator[tuple[AsyncCollection[Document], Sequence[IndexModel]]]:
        """Yield the indexes; each is used by the calls named beside it."""
        yield (
            self._collection,
            [
                IndexModel([("look_at", ASCENDING)], name="look_at", sparse=True),  # unheeded
                IndexModel([("heeded_at", ASCENDING)], name="heeded_at", sparse=True),  # retention
            ],
        )

    async def put(self, signal: Signal, attempt: int) -> Signal | None:
        """Keep a signal; see the contract."""
        document = {
            "_id": _id(signal.execution_id, signal.name),
            "execution_id": signal.execution_id,
            "name": signal.name,
            "payload": json.dumps(signal.payload),
            "at": signal.at,
            "sender": signal.sender,
            "shard": signal.shard,
            "look_at": signal.at,
        }
        return await self._put(document, attempt, signal)

    async def close(self, execution_id: str, name: str, attempt: int, at: datetime) -> Signal | None:
        """Return a signal, or see to it that none is kept any more; see the contract."""
        document = {"_id": _id(execution_id, name), "closed": attempt, "heeded_at": at}
        return await self._put(document, attempt, None)

    async def _put(self, document: Document, attempt: int, put: Signal | None) -> Signal | None:
        """Insert a document, also in the place of one that is closed for earlier attempts; return what is there then."""
        try:
            async with translated():
                await self._collection.insert_one(document)
            return put
        except DuplicateKeyError:
            async with translated():
                result = await self._collection.replace_one({"_id": document["_id"], "closed": {"$lt": attempt}}, document)
                kept = None if result.matched_count else await self._collection.find_one({"_id": document["_id"]})
        if result.matched_count:
            return put
        if kept is None:
            raise StoreUnavailable("a signal of that name was there, and is not there any more")
        return _from_document(kept)

    async def get(self, execution_id: str, name: str) -> Signal | None:
        """Return a signal."""
        async with translated():
            document = await self._collection.find_one({"_id": _id(execution_id, name)})
        return None if document is None else _from_document(document)

    async def unheeded(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Signal]:
        """Return unheeded signals; see the contract."""
        query = {"look_at": {"$lte": until}, "shard": {"$in": sorted(shards)}}
        async with translated():
            cursor = self._collection.find(query, limit=limit).sort([("look_at", ASCENDING)])
            found = [_from_document(document) async for document in cursor]
        return [signal for signal in found if signal is not None]

    async def look_again(self, execution_id: str, name: str, at: datetime) -> None:
        """Say when an unheeded signal is to be looked at again."""
        async with translated():
            await self._collection.update_one({"_id": _id(execution_id, name), "heeded_at": None}, {"$set": {"look_at": at}})

    async def heed(self, execution_id: str, name: str, at: datetime) -> None:
        """Note that a signal is heeded."""
        async with translated():
            await self._collection.update_one(
                {"_id": _id(execution_id, name), "heeded_at": None}, {"$set": {"heeded_at": at}, "$unset": {"look_at": ""}}
            )


def _id(execution_id: str, name: str) -> str:
    return f"{execution_id}:{name}"


def _from_document(document: Mapping[str, Any]) -> Signal | None:
    if "closed" in document:
        return None
    return Signal(
        execution_id=document["execution_id"],
        name=document["name"],
        payload=json.loads(document["payload"]),
        at=document["at"],
        sender=document["sender"],
        shard=document["shard"],
    )
