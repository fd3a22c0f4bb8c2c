"""What is to be done when: an in-memory agenda that releases every entry at its own instant.

Life cycle of an entry::

    armed ──due by the wall clock──> ready ──a place is free──> in flight ──> gone
      │
      └── disarmed (definition changed, partition assigned elsewhere) or replaced (newer revision)

The agenda is a cache of the database and may be lost at any time: what is due is read again by the next pass, and whatever
is released twice is turned away by the store's conditional writes. An entry has a key, so that reading the same tick twice
does not arm it twice, neither while it is armed nor while it is in flight. It holds entries of this worker's shards alone
(the partitions of ``workflow.schedule`` that Kafka assigned to it); those of one that is assigned elsewhere are forgotten.

Due is decided by the wall clock alone. The event loop sleeps by its monotonic clock, so a wait is never longer than
``RECHECK``: however the wall clock is stepped, an entry is released at most that much later, and never before its instant.
Entries of one instant are released in one turn of the loop, so that their writes share a group commit. Of those that wait
for a place, the one that was due first gets it, whenever it was armed. What is promised is taken up at once, whatever waits:
it is the last step of something that others wait for already.
"""

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Collection, Hashable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count

import structlog

from apps.scheduler.clock import Clock

log = structlog.get_logger(__name__)

RECHECK = 1.0
# Their writes are as large. With 500, whoever runs what is released waited so long for the database that nothing new was
# young enough to be started without asking: 1,000 ticks offered a second, 40 executions finished; 110 with 128.
IN_FLIGHT = 128
_FIRST_SHARD = 0
_SWAMPED = 16  # times as many as may be in flight

Key = tuple[Hashable, ...]


@dataclass(frozen=True)
class Entry:
    """Something to do at an instant."""

    key: Key  # (kind, id): at most one of it is armed
    workflow_id: str
    shard: int
    due: datetime
    act: Callable[[], Awaitable[None]] = field(compare=False)
    revision: int = 0  # of what it was made from; a newer one replaces, an older one is ignored
    instant: datetime | None = None  # what it is about, where that is not when it is to be done
    promised: bool = False  # done here even when the shard is given up meanwhile, for nobody else does it in time

    @property
    def rank(self) -> tuple[int, datetime]:
        """What decides between two entries of one key: a stale read must not put back the tick before."""
        return self.revision, self.instant or self.due


@dataclass
class _Armed:
    entry: Entry
    serial: int  # grows with every arming


class Agenda:
    """Releases entries when they are due, at most ``limit`` of them in flight beside what is promised."""

    def __init__(
        self, clock: Clock, *, limit: int = IN_FLIGHT, on_release: Callable[[Entry, timedelta], None] | None = None
    ) -> None:
        self._clock = clock
        self._limit = limit
        self._on_release = on_release
        self._armed: dict[Key, _Armed] = {}
        self._heap: list[tuple[datetime, int, Key]] = []
        self._ready: list[tuple[datetime, int, Entry]] = []  # a heap
        self._arrivals = count()
        self._busy: dict[Key, Entry] = {}  # ready or in flight
        self._behind: dict[Key, Entry] = {}  # due, but the one before of the same key is still busy
        self._tasks: set[asyncio.Task[None]] = set()
        self._gone = asyncio.Event()  # something that was in flight
        self._serials = count(1)
        self._serial = 0
        self._handle: asyncio.TimerHandle | None = None
        self._wakes_for: datetime | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._shards: frozenset[int] = frozenset()

    # -- what others see -----------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._armed)

    @property
    def is_swamped(self) -> bool:
        """Whether more is due than can be released until long after the next pass."""
        return len(self._ready) > _SWAMPED * self._limit

    @property
    def shards(self) -> frozenset[int]:
        """The shards that this worker looks after."""
        return self._shards

    @property
    def is_first(self) -> bool:
        """Whether this worker, of several, does what one of them has to do for all."""
        return _FIRST_SHARD in self._shards

    @property
    def in_flight(self) -> int:
        """How many entries are being worked on, or wait for a place."""
        return len(self._busy)

    @property
    def next_due(self) -> datetime | None:
        """The instant of the next entry."""
        self._drop_stale()
        return self._heap[0][0] if self._heap else None

    @property
    def serial(self) -> int:
        """A number that grows with every arming; taken before a read, it tells what was armed since."""
        return self._serial

    def armed(self, key: Key) -> Entry | None:
        """Return what is armed under ``key``."""
        found = self._armed.get(key)
        return found.entry if found else None

    def under_way(self, key: Key) -> Entry | None:
        """Return what is armed under ``key``, or is being done."""
        found = self._armed.get(key)
        return found.entry if found else self._busy.get(key)

    # -- arming and disarming ------------------------------------------------------------------------------------------

    def arm(self, entry: Entry) -> bool:
        """Arm ``entry``; False where the same or something newer is under way, or its shard is not ours."""
        if entry.shard not in self._shards and not entry.promised:
            return False
        busy = self._busy.get(entry.key)
        if busy is not None and busy.rank >= entry.rank:
            return False
        found = self._armed.get(entry.key)
        if found is not None and found.entry.rank >= entry.rank:
            return False
        self._serial = next(self._serials)
        self._armed[entry.key] = _Armed(entry, self._serial)
        heapq.heappush(self._heap, (entry.due, self._serial, entry.key))
        if len(self._heap) > 2 * len(self._armed) + 1000:
            self._heap = [(found.entry.due, found.serial, key) for key, found in self._armed.items()]
            heapq.heapify(self._heap)
        if self._loop is not None and (self._wakes_for is None or entry.due < self._wakes_for):
            self._sleep()
        return True

    def disarm(self, key: Key) -> None:
        """Forget what is armed under ``key``; what is in flight goes on."""
        self._armed.pop(key, None)
        self._behind.pop(key, None)

    def assign(self, shards: frozenset[int]) -> None:
        """Look after ``shards`` from now on, and forget everything of others that is not in flight yet."""
        self._shards = shards
        self._armed = {
            key: found for key, found in self._armed.items() if found.entry.shard in shards or found.entry.promised
        }
        self._behind = {key: entry for key, entry in self._behind.items() if entry.shard in shards}
        for _, _, entry in self._ready:
            if entry.shard not in shards:
                self._busy.pop(entry.key, None)
        self._ready = [waiting for waiting in self._ready if waiting[2].shard in shards]
        heapq.heapify(self._ready)

    def retain(self, kind: str, keys: Collection[Key], *, until: datetime, serial: int) -> None:
        """Forget the entries of ``kind`` that a read up to ``until`` did not find: they are not due any more.

        What was armed after ``serial``, when the read began, is spared: the read may not have seen it.
        """
        gone = [
            key
            for key, found in self._armed.items()
            if key[0] == kind and key not in keys and found.serial <= serial and found.entry.due <= until
        ]
        for key in gone:
            del self._armed[key]

    # -- releasing -----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to release what is due, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._turn()

    async def stop(self, grace: float = 5.0) -> None:
        """Release nothing more but what is promised; what is in flight gets ``grace`` seconds to finish."""
        self._loop = None
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
        self.assign(frozenset())
        promised = self._armed.values()
        while promised and min(found.entry.due for found in promised) < self._clock() + timedelta(seconds=grace):
            await asyncio.sleep(0.01)
            self.release()
            promised = self._armed.values()
        self._armed.clear()
        self._heap.clear()
        self._ready.clear()
        self._behind.clear()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._busy.clear()

    def release(self) -> int:
        """Release what is due by the wall clock and return how many entries that were."""
        now = self._clock()
        released = 0
        while self._heap and self._heap[0][0] <= now:
            _, serial, key = heapq.heappop(self._heap)
            found = self._armed.get(key)
            if found is None or found.serial != serial:
                continue
            del self._armed[key]
            if self._on_release is not None:
                self._on_release(found.entry, now - found.entry.due)
            if key in self._busy:
                self._behind[key] = found.entry
            else:
                self._take_up(found.entry)
            released += 1
        self._fill()
        return released

    async def finish(self, keys: Collection[Key], within: float) -> None:
        """Wait until nothing of ``keys`` is under way any more, for ``within`` seconds at most, once started."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._finish(keys), within)

    async def _finish(self, keys: Collection[Key]) -> None:
        while self._loop is not None and any(self.under_way(key) for key in keys):
            self._gone.clear()
            await self._gone.wait()

    def _turn(self) -> None:
        self._handle = None
        try:
            self.release()
        finally:
            self._sleep()

    def _sleep(self) -> None:
        """Have the loop wake us when the next entry is due, or to look at the wall clock again."""
        if self._loop is None:
            return
        if self._handle is not None:
            self._handle.cancel()
        self._wakes_for = self.next_due
        wait = RECHECK
        if self._wakes_for is not None:
            wait = min(wait, max(0.0, (self._wakes_for - self._clock()).total_seconds()))
        self._handle = self._loop.call_later(wait, self._turn)

    def _drop_stale(self) -> None:
        while self._heap:
            _, serial, key = self._heap[0]
            found = self._armed.get(key)
            if found is not None and found.serial == serial:
                return
            heapq.heappop(self._heap)

    def _take_up(self, entry: Entry) -> None:
        self._busy[entry.key] = entry
        if entry.promised:
            self._start(entry)
        else:
            heapq.heappush(self._ready, (entry.due, next(self._arrivals), entry))

    def _fill(self) -> None:
        while self._ready and len(self._tasks) < self._limit:
            self._start(heapq.heappop(self._ready)[2])

    def _start(self, entry: Entry) -> None:
        task = asyncio.ensure_future(self._run(entry))
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._gone.set()
        self._fill()

    async def _run(self, entry: Entry) -> None:
        try:
            await entry.act()
        except Exception:
            # Whatever it was, the database still says that it is due: the next pass tries again.
            log.exception("agenda entry failed", key=entry.key, workflow_id=entry.workflow_id)
        finally:
            self._busy.pop(entry.key, None)
            behind = self._behind.pop(entry.key, None)
            if behind is not None:
                self._take_up(behind)
