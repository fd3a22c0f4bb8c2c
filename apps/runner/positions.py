"""Where the streams stood when their partitions were assigned: what tells a certainly new request from a doubtful one.

A record at or above the end of its partition at assignment cannot have been seen by an earlier owner. One below may have
been: it is claimed in MongoDB first, and only after the results of that partition that were already in Kafka are written,
so that what succeeded before is not run again. So is one above it that was requested before the assignment: a producer whose
acknowledgement was lost sends it a second time, and an earlier owner may have taken the first copy.

A process that was suspended (a stopped container, a long pause) may have lost its partitions without knowing. Until the
next heartbeat to Kafka has told, it must not believe that anything is new: :meth:`Positions.settle` waits for that.
"""

import asyncio
import time
from collections.abc import Mapping
from datetime import datetime, timedelta

import structlog
from faust.types import TP

from events.topics import ACTION_RESULT

log = structlog.get_logger(__name__)

CLOCKS_DIFFER = timedelta(seconds=1)  # at most, that of whoever requests and ours
CATCH_UP_TIMEOUT = 30.0  # seconds; a claim is safe without, it may only repeat an action


class Positions:
    """Ends of partitions at assignment, and how far results are written."""

    def __init__(self, *, session_timeout: float) -> None:
        self.session_timeout = session_timeout
        self._ends: dict[TP, int] = {}
        self._assigned_at: dict[TP, datetime] = {}
        self._written: dict[TP, int] = {}  # next offset
        self._taken: dict[TP, int] = {}  # next offset
        self._alive_at = time.monotonic()

    def assigned(self, ends: Mapping[TP, int], committed: Mapping[TP, int], at: datetime) -> None:
        """Note the ends and the committed offsets of newly assigned partitions, as they were before the instant ``at``."""
        self._ends.update(ends)
        self._assigned_at.update(dict.fromkeys(ends, at))
        for tp, offset in committed.items():
            # Their first records may have been dealt with while these offsets were being asked for.
            self._written[tp] = max(offset, self._written.get(tp, 0))

    def revoked(self, partitions: set[TP]) -> None:
        """Forget partitions."""
        for tp in partitions:
            self._ends.pop(tp, None)
            self._assigned_at.pop(tp, None)
            self._written.pop(tp, None)
            self._taken.pop(tp, None)

    def take(self, tp: TP, offset: int) -> bool:
        """Note that a record is taken; False where it, or a later one, was taken since the assignment.

        Faust seeks back to what is committed when the recovery of its tables ends, and after two rebalances in a row that
        is after the first records were consumed: they are delivered twice under one assignment.
        """
        if offset < self._taken.get(tp, 0):
            return False
        self._taken[tp] = offset + 1
        return True

    def is_new(self, tp: TP, offset: int, requested_at: datetime) -> bool:
        """Tell whether nobody can have seen this record, or a copy of it, before."""
        end = self._ends.get(tp)
        return end is not None and offset >= end and requested_at > self._assigned_at[tp] + CLOCKS_DIFFER

    def written(self, tp: TP, offset: int) -> None:
        """Note that the records up to ``offset`` are dealt with: their results are in MongoDB."""
        if offset >= self._written.get(tp, 0):
            self._written[tp] = offset + 1

    async def caught_up(self, partition: int) -> None:
        """Wait until the results that were in Kafka at assignment are written, for a while at most."""
        tp = TP(ACTION_RESULT.name, partition)
        deadline = time.monotonic() + CATCH_UP_TIMEOUT
        while self._written.get(tp, 0) < self._ends.get(tp, 0):
            if time.monotonic() > deadline:
                log.warning("results of this partition are late; claiming without them", partition=partition)
                return
            await asyncio.sleep(0.02)

    def tick(self) -> None:
        """Say that the event loop turns; called once a second."""
        self._alive_at = time.monotonic()

    async def settle(self) -> None:
        """Return at once, or after a suspension only when Kafka had time to tell that our partitions are gone."""
        asleep = time.monotonic() - self._alive_at
        if asleep < self.session_timeout / 2:
            return
        log.warning("this process was suspended; waiting for Kafka's word", seconds=round(asleep, 1))
        await asyncio.sleep(self.session_timeout / 2)
        self.tick()
