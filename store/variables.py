"""Variables in MongoDB: values as JSON text, because their keys may hold dots and dollars, under their names."""

import json
from collections.abc import Sequence
from typing import Any

from store.failures import translated
from store.interfaces import Variable
from store.named import Document, NamedDocuments


class MongoVariables(NamedDocuments):
    """See :class:`store.interfaces.Variables`."""

    async def put(self, variable: Variable) -> bool:
        """Store a variable; see the contract."""
        return await self._put(variable.name, {"value": json.dumps(variable.value)}, variable.updated_at)

    async def get(self, name: str) -> Variable | None:
        """Return a variable; None where there is none of that name."""
        async with translated():
            document = await self._collection.find_one({"_id": name})
        return None if document is None else _from_document(document)

    async def all(self) -> Sequence[Variable]:
        """Return every variable, by name."""
        return [_from_document(document) for document in await self._find()]

    async def values(self) -> dict[str, Any]:
        """Return the value of every variable."""
        return {variable.name: variable.value for variable in await self.all()}


def _from_document(document: Document) -> Variable:
    return Variable(document["_id"], json.loads(document["value"]), document["updated_at"])
