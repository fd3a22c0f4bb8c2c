"""The ids of many workflows, as this process has last read them: where to look, never the answer.

SecantusDB uses no index for a range of ids alone, sorts whatever it finds before it cuts to the limit, and reads every
document for a regular expression: a page of 25 among 10,000 workflows took as long as reading all of them, on each key that
somebody typed into the search. So the ids are read once and kept, a few hundred bytes for each. A list asks for the range
that holds about as many as it needs, and is right however old the ids are; a search asks for those that match. What was
created elsewhere is found by a search as soon as the ids have been read again, which takes at most a fiftieth of the time.
Archived workflows are searched likewise, among ids of their own.
"""

import asyncio
import time
from bisect import bisect_left, bisect_right
from collections.abc import Awaitable, Callable, Iterator, Sequence

from store.interfaces import StoreError

Range = tuple[str | None, str | None]  # the id after which it begins, and the last one in it; None: there is no such bound

_FRESH_FOR = 2.0  # seconds
_SHARE = 50  # of the time that reading takes, between two readings
_GROWTH = 4


class Names:
    """The ids, read by ``read``."""

    def __init__(self, read: Callable[[], Awaitable[list[str]]], clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        self._ids: list[str] | None = None
        self._added: set[str] = set()  # since the reading began that is under way
        self._good_until = 0.0
        self._reading: asyncio.Task[None] | None = None

    def add(self, workflow_id: str) -> None:
        """Note an id that has just come to be one of them."""
        if self._is_reading:
            self._added.add(workflow_id)
        if self._ids is not None:
            place = bisect_left(self._ids, workflow_id)
            if self._ids[place : place + 1] != [workflow_id]:
                self._ids.insert(place, workflow_id)

    async def current(self) -> Sequence[str]:
        """Return the ids in order; where they are old, they are read again meanwhile.

        Raises:
            StoreUnavailable: they have never been read, and cannot be.
        """
        if self._clock() >= self._good_until and not self._is_reading:
            self._reading = asyncio.get_running_loop().create_task(self._refresh(is_first=self._ids is None))
        if self._ids is None and self._reading is not None:
            await asyncio.shield(self._reading)
        return self._ids or []

    @property
    def _is_reading(self) -> bool:
        return self._reading is not None and not self._reading.done()

    async def _refresh(self, *, is_first: bool) -> None:
        begun = self._clock()
        self._added.clear()
        try:
            found = await self._read()
        except StoreError:
            if is_first:
                raise
        else:
            self._ids = sorted({*found, *self._added})
        over = self._clock()
        self._good_until = over + max(_FRESH_FOR, _SHARE * (over - begun))


def ranges(ids: Sequence[str], after: str | None, count: int) -> Iterator[Range]:
    """Yield ranges that cover all ids after ``after``, the first of about ``count`` ids, each larger than the last."""
    place = 0 if after is None else bisect_right(ids, after)
    low = after
    while (place := place + count) < len(ids):
        yield low, ids[place]
        low = ids[place]
        count *= _GROWTH
    yield low, None


def containing(ids: Sequence[str], text: str, prefix: str | None, after: str | None) -> Iterator[str]:
    """Yield the ids after ``after`` that contain ``text``, whatever the case."""
    wanted = text.lower()
    for workflow_id in ids[0 if after is None else bisect_right(ids, after) :]:
        if wanted in workflow_id.lower() and (prefix is None or workflow_id.startswith(prefix)):
            yield workflow_id
