"""Secrets in MongoDB: what was encrypted, under its name. Values never come here in the clear."""

from collections.abc import Sequence
from datetime import datetime

from store.failures import translated
from store.named import NamedDocuments
from vault.keys import Sealed


class MongoSecrets(NamedDocuments):
    """See :class:`store.interfaces.Secrets`."""

    async def put(self, name: str, sealed: Sealed, at: datetime) -> bool:
        """Store a secret; see the contract."""
        return await self._put(name, {"key_id": sealed.key_id, "data": sealed.data}, at)

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
