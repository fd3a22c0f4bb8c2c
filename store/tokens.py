"""API tokens in MongoDB: one document each, by the public id. The secret is not there, only its digest."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pymongo.asynchronous.collection import AsyncCollection

from domain.access import Scope, Token
from store.failures import translated


class MongoTokens:
    """See :class:`store.interfaces.Tokens`."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]]) -> None:
        self._collection = collection

    async def add(self, token: Token) -> None:
        """Store a new token."""
        async with translated():
            await self._collection.insert_one(_to_document(token))

    async def get(self, token_id: str) -> Token | None:
        """Return a token, good or not."""
        async with translated():
            document = await self._collection.find_one({"_id": token_id})
        return None if document is None else _from_document(document)

    async def all(self) -> Sequence[Token]:
        """Return every token, oldest first."""
        async with translated():
            found = [_from_document(document) async for document in self._collection.find()]
        return sorted(found, key=lambda token: token.created_at)

    async def revoke(self, token_id: str, at: datetime) -> bool:
        """Revoke; False where there is none that is not revoked already."""
        async with translated():
            result = await self._collection.update_one(
                {"_id": token_id, "revoked_at": {"$exists": False}}, {"$set": {"revoked_at": at}}
            )
        return result.matched_count > 0

    async def note_use(self, token_id: str, at: datetime) -> None:
        """Write when a token was last used."""
        async with translated():
            await self._collection.update_one({"_id": token_id}, {"$set": {"last_used_at": at}})


def _to_document(token: Token) -> dict[str, Any]:
    document = {
        "_id": token.token_id,
        "name": token.name,
        "scope": token.scope.value,
        "digest": token.digest,
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
        "last_used_at": token.last_used_at,
    }
    return {name: value for name, value in document.items() if value is not None}


def _from_document(document: dict[str, Any]) -> Token:
    return Token(
        token_id=document["_id"],
        name=document["name"],
        scope=Scope(document["scope"]),
        digest=document["digest"],
        created_at=document["created_at"],
        expires_at=document.get("expires_at"),
        revoked_at=document.get("revoked_at"),
        last_used_at=document.get("last_used_at"),
    )
