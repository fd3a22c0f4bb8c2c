"""The ledger of ticks that were not fired, in MongoDB: one document a range, under the id ``<workflow>@<first tick>``.

The newest range of a workflow grows in the workflow's own document, in the very update that advances its schedule, so that a
tick and its disposition can never be told apart by a crash. It is moved here when the next tick is fired, or not fired for
another reason; should that be repeated, the id is the same.

The ledger of a workflow that is skipped every other second has millions of rows. SecantusDB uses no index for a range of
ids, and sorts whatever a filter finds before it cuts to the limit; hence an index of its own, and lists in windows of time,
each reaching further back than the last.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from domain.instants import to_millis
from domain.occurrence import Disposition, Unfired
from store.failures import duplicates, translated
from store.group_commit import GroupCommit
from store.windows import backwards, within

Document = dict[str, Any]
Ranges = list[Unfired]  # inside the class, ``list`` is the method


class MongoOccurrences:
    """See :class:`store.interfaces.Occurrences`."""

    def __init__(self, collection: AsyncCollection[Document]) -> None:
        self._collection = collection
        self._records: GroupCommit[Unfired, None] = GroupCommit(self._record_all)

    def indexes(self) -> Iterator[tuple[AsyncCollection[Document], Sequence[IndexModel]]]:
        """Yield the indexes; each is used by the calls named beside it."""
        yield (
            self._collection,
            [
                IndexModel([("workflow_id", ASCENDING), ("first", DESCENDING)], name="by_workflow"),  # list
                IndexModel([("last", ASCENDING)], name="last"),  # retention
            ],
        )

    async def record(self, unfired: Unfired) -> None:
        """Keep a range; see the contract."""
        await self._records.submit(unfired)

    async def _record_all(self, ranges: Sequence[Unfired]) -> Sequence[None]:
        documents = [
            {"_id": _id(each.workflow_id, each.first), "workflow_id": each.workflow_id, **unfired_document(each)}
            for each in ranges
        ]
        async with translated():
            try:
                await self._collection.bulk_write([InsertOne(document) for document in documents], ordered=False)
            except BulkWriteError as error:
                again = [documents[index] for index in duplicates(error)]
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
        found: Ranges = []
        for window in backwards(before, datetime.now(timezone.utc)):
            query = {"workflow_id": workflow_id, **within(window, "first")}
            async with translated():
                cursor = self._collection.find(query, limit=limit - len(found))
                found += [
                    each
                    async for document in cursor.sort([("first", DESCENDING)])
                    if (each := unfired(workflow_id, document)) is not None
                ]
            if len(found) >= limit:
                break
        return found


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
