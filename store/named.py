"""Documents by name, each put as a whole: what secrets and variables are in MongoDB."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from store.failures import translated

Document = dict[str, Any]


class NamedDocuments:
    """A collection of them."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection

    async def delete(self, name: str) -> bool:
        """Delete what has that name; False where there is nothing."""
        async with translated():
            return (await self._collection.delete_one({"_id": name})).deleted_count == 1

    async def _put(self, name: str, values: Mapping[str, Any], at: datetime) -> bool:
        """Store values under a name; True where there were none."""
        async with translated():
            try:
                await self._collection.insert_one({"_id": name, **values, "updated_at": at, "created_at": at})
            except DuplicateKeyError:
                await self._collection.update_one({"_id": name}, {"$set": {**values, "updated_at": at}})
                return False
        return True

    async def _find(self) -> Sequence[Document]:
        async with translated():
            return [document async for document in self._collection.find({}).sort([("_id", ASCENDING)])]
