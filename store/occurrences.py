"""The ledger of ticks that were not fired, in MongoDB: one document a range, under the id ``<workflow>@<first tick>``.

The newest range of a workflow grows in the workflow's own document, in the very update that advances its schedule, so that a
tick and its disposition can never be told apart by a crash. It is moved here when the next tick is fired, or not fired for
another reason; should that be repeated, the id is the same.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import DESCENDING, InsertOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from domain.instants import to_millis
from domain.occurrence import Disposition, Unfired
from store.failures import refused, translated
from store.group_commit import GroupCommit
from store.retention import keep

Document = dict[str, Any]


class MongoOccurrences:
    """See :class:`store.interfaces.Occurrences`."""

    def __init__(self, collection: AsyncCollection[Document], *, retention: timedelta) -> None:
        self._collection = collection
        self._retention = retention
        self._records: GroupCommit[Unfired, None] = GroupCommit(self._record_all)

    async def ensure_indexes(self, *, change: bool = True) -> None:
        """Create the index of the retention; what is asked for is found by its id."""
        await keep(self._collection, "last", self._retention, change=change)

    async def record(self, unfired: Unfired) -> None:
        """Keep a range; see the contract."""
        await self._records.submit(unfired)

    async def _record_all(self, ranges: Sequence[Unfired]) -> Sequence[None]:
        documents = [{"_id": _id(each.workflow_id, each.first), **unfired_document(each)} for each in ranges]
        async with translated():
            try:
                await self._collection.bulk_write([InsertOne(document) for document in documents], ordered=False)
            except BulkWriteError as error:
                problem = refused(error)
                if problem is not None:
                    raise problem from error
                again = [documents[each["index"]] for each in (error.details or {})["writeErrors"]]
                await self._collection.bulk_write(
                    [
                        UpdateOne(
                            {"_id": document["_id"], "last": {"$lt": document["last"]}},
                            {"$set": {key: value for key, value in document.items() if key != "_id"}},
                        )
                        for document in again
                    ],
                    ordered=False,
                )
        return [None] * len(ranges)

    async def list(self, workflow_id: str, *, before: datetime | None, limit: int) -> Sequence[Unfired]:
        """Return ranges of a workflow that begin before ``before``, newest first."""
        # The sign after @ sorts behind every id of this workflow.
        bounds = {"$gte": f"{workflow_id}@", "$lt": f"{workflow_id}A" if before is None else _id(workflow_id, before)}
        async with translated():
            cursor = self._collection.find({"_id": bounds}, limit=limit).sort([("_id", DESCENDING)])
            return [found async for document in cursor if (found := unfired(workflow_id, document)) is not None]


def _id(workflow_id: str, first: datetime) -> str:
    return f"{workflow_id}@{to_millis(first):015d}"


def unfired_document(ranged: Unfired) -> Document:
    """Return the document of a range, without its workflow."""
    document: Document = {"disposition": ranged.disposition.value, "first": ranged.first, "last": ranged.last}
    if ranged.ticks is not None:
        document["ticks"] = ranged.ticks
    if ranged.holder is not None:
        document["holder"] = ranged.holder
    return document


def unfired(workflow_id: str, document: Mapping[str, Any] | None) -> Unfired | None:
    """Return the range of a document."""
    if document is None:
        return None
    return Unfired(
        workflow_id=workflow_id,
        disposition=Disposition(document["disposition"]),
        first=document["first"],
        last=document["last"],
        ticks=document.get("ticks"),
        holder=document.get("holder"),
    )
