"""How long documents are kept, and the removal of those that are older.

What is over is told by the instant that a document carries anyway, so that a retention that is changed counts for what was
stored before. The scheduler has it removed, rather than the server by a TTL index: SecantusDB's own sweep reads every
document of a collection that has such an index, once a minute and under the lock that every other operation needs. Measured:
nothing else was answered for 0.1 s each time with a thousand executions, and for 60 to 110 s with a million.

It also reads everything that a filter finds before it cuts to a limit, 0.05 ms a document under the same lock. So what is
over is not asked for at once, which would be days of executions when the scheduler was away or a retention was shortened,
but window by window; each is as wide as the last ones let expect few documents. How far that has come is kept in the
database, for whoever goes on. The first window is open to the past: what was stored belatedly lies in there, and what was
spared before.
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.cursor import AsyncCursor
from pymongo.errors import DuplicateKeyError

from store.chunks import ABSENT_AT_ONCE, chunks
from store.failures import translated

_FEW: Final = 250  # documents in a window
_NARROWEST: Final = timedelta(seconds=1)
_WIDEST: Final = timedelta(hours=1)  # that the first one after a long time in which nothing happened holds little, too
_FIRST: Final = timedelta(seconds=10)

Document = dict[str, Any]


class MongoRetention:
    """The retention of one collection."""

    def __init__(
        self,
        collection: AsyncCollection[Document],
        instant: str,
        kept: timedelta,
        marks: AsyncCollection[Document],
    ) -> None:
        """Keep each document for ``kept`` after its ``instant``, a field that has an index."""
        self._collection = collection
        self._instant = instant
        self._kept = kept
        self._marks = marks
        self._width = _FIRST

    @property
    def name(self) -> str:
        """What it is the retention of."""
        return self._collection.name

    async def sweep(self, now: datetime) -> AsyncGenerator[int, None]:
        """Remove what is over at ``now``; yield after each short step, with how many documents it has removed.

        Nothing is lost by leaving off in between, and nothing is wrong when several sweep at once.

        Raises:
            StoreError: the rest is left to the next sweep.
        """
        end = now - self._kept
        reached = await self._reached()
        low: datetime | None = None
        high = end if reached is None else min(reached + self._width, end)
        while True:
            ids = await self._find(low, high)
            yield 0
            for chunk in chunks(ids):
                yield await self._remove(chunk, high)
            if reached is None:
                await self._mark_first(high)
            elif reached < high:
                await self._mark(high)
                self._width = _next_width(self._width, high - reached, len(ids))
            if high == end:
                return
            low = reached = high
            high = min(high + self._width, end)

    async def _reached(self) -> datetime | None:
        async with translated():
            found = await self._marks.find_one({"_id": self.name})
        return None if found is None else found["until"]

    async def _mark_first(self, until: datetime) -> None:
        async with translated():
            with suppress(DuplicateKeyError):  # another sweep has been as far
                await self._marks.insert_one({"_id": self.name, "until": until})

    async def _mark(self, until: datetime) -> None:
        async with translated():
            await self._marks.update_one({"_id": self.name}, {"$max": {"until": until}})

    async def _find(self, low: datetime | None, high: datetime) -> Sequence[Any]:
        async with translated():
            return [each["_id"] async for each in self._over(low, high, "_id")]

    def _over(self, low: datetime | None, high: datetime, field: str) -> AsyncCursor[Document]:
        bounds = {"$lt": high} if low is None else {"$gte": low, "$lt": high}
        return self._collection.find({self._instant: bounds}, {field: 1})

    async def _remove(self, ids: Sequence[Any], high: datetime) -> int:
        # Only where it is still over: another end may have taken the place of the one that was found.
        async with translated():
            result = await self._collection.delete_many({"_id": {"$in": ids}, self._instant: {"$lt": high}})
        return result.deleted_count


class ExecutionRetention(MongoRetention):
    """The retention of the finished executions; spared is what an open one has triggered, for it may wait for it still."""

    async def _find(self, low: datetime | None, high: datetime) -> Sequence[Any]:
        async with translated():
            found = self._over(low, high, "triggered_by")
            parents = {each["_id"]: each.get("triggered_by", {}).get("execution_id") async for each in found}
            waiting: set[Any] = set()
            for chunk in chunks(sorted({*parents.values()} - {None}), ABSENT_AT_ONCE):
                still_open = self._collection.database["open_executions"].find({"_id": {"$in": chunk}}, {"_id": 1})
                waiting |= {each["_id"] async for each in still_open}
        return [each for each, parent in parents.items() if parent not in waiting]


def _next_width(width: timedelta, swept: timedelta, found: int) -> timedelta:
    """Return how wide the next windows are to be, after so many documents were found in one that ``swept`` so much."""
    wanted = swept * _FEW / found if found > _FEW else width * 2
    return max(_NARROWEST, min(wanted, _WIDEST))
