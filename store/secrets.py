"""Secrets in MongoDB: what was encrypted, under its name. Values never come here in the clear."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo import ASCENDING
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from store.failures import translated
from vault.keys import Sealed

Document = dict[str, Any]


class MongoSecrets:
    """See :class:`store.interfaces.Secrets`."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection

    async def put(self, name: str, sealed: Sealed, at: datetime) -> bool:
        """Store a secret; see the contract."""
        values = {"key_id": sealed.key_id, "data": sealed.data, "updated_at": at}
        async with translated():
            try:
                await self._collection.insert_one({"_id": name, **values, "created_at": at})
            except DuplicateKeyError:
                await self._collection.update_one({"_id": name}, {"$set": values})
                return False
        return True

    async def replace(self, name: str, before: Sealed, after: Sealed) -> bool:
        """Store what was encrypted anew; see the contract."""
        async with translated():
            result = await self._collection.update_one(
                {"_id": name, "data": before.data}, {"$set": {"key_id": after.key_id, "data": after.data}}
            )
        return result.matched_count == 1

    async def all(self) -> Sequence[tuple[str, Sealed]]:
        """Return every secret as it was encrypted."""
        return [(document["_id"], Sealed(document["key_id"], bytes(document["data"]))) for document in await self._find()]

    async def list(self) -> Sequence[tuple[str, str, datetime]]:
        """Return the name, key id and time of the last change of every secret, by name."""
        return [(document["_id"], document["key_id"], document["updated_at"]) for document in await self._find()]

    async def delete(self, name: str) -> bool:
        """Delete a secret; False where there is none."""
        async with translated():
            return (await self._collection.delete_one({"_id": name})).deleted_count == 1

    async def _find(self) -> Sequence[Document]:
        async with translated():
            return [document async for document in self._collection.find({}).sort([("_id", ASCENDING)])]
