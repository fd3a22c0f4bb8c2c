"""Heartbeats of runner processes in MongoDB: one document each."""

from collections.abc import Sequence
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from store.failures import translated
from store.interfaces import Heartbeat


class MongoRunners:
    """See :class:`store.interfaces.Runners`."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]]) -> None:
        self._collection = collection

    async def beat(self, heartbeat: Heartbeat) -> None:
        """Write the heartbeat."""
        async with translated():
            await self._collection.replace_one(
                {"_id": heartbeat.runner}, {"beat": heartbeat.beat, "info": dict(heartbeat.info)}, upsert=True
            )

    async def all(self) -> Sequence[Heartbeat]:
        """Return every heartbeat that was written and not removed."""
        async with translated():
            return [
                Heartbeat(document["_id"], document["beat"], document.get("info", {}))
                async for document in self._collection.find()
            ]

    async def remove(self, runner: str) -> None:
        """Remove the heartbeat."""
        async with translated():
            await self._collection.delete_one({"_id": runner})
