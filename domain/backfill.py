"""Backfill: the ticks of a range of the past that have no execution get one, oldest first, because somebody asked for it.

Life cycle::

    running ─┬─> done         every tick of the range has, or had, an execution, and those of this backfill have ended
             └─> cancelled    by hand, or because it cannot go on; the executions it has started go on

A backfilled tick has the id that the tick always had (:func:`domain.identifiers.tick_execution_id`). So what the schedule
has fired is not run again, a second backfill of a range adds nothing, and a step that is repeated after a crash finds what
it has done. ``position`` is the next tick that was not seen to: everything in the range before it has its execution, and
that is what the ledger is told by. The schedule is kept as it was when the backfill was asked for, so that the ticks are
those that were counted then, however the workflow is changed meanwhile; what is run is the definition of the moment.

Every change counts ``revision`` up, and is stored where the revision before is still there: two schedulers at one backfill
cannot both move it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

from domain.execution import Status
from domain.instants import MILLISECOND
from domain.occurrence import Unfired
from domain.rates import parse_rate
from domain.trigger import Trigger, dues

MOST_TICKS: Final = 10_000


class BackfillStatus(str, Enum):
    """Where a backfill stands."""

    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Backfill:
    """A range of ticks that are made up for."""

    backfill_id: str
    workflow_id: str
    shard: int
    trigger: Trigger  # the schedule as it was accepted
    anchor: datetime  # of its grid
    first: datetime  # the range: from here on
    until: datetime  # and before here
    rate: str
    at_once: int  # how many of its executions may be open
    ticks: int  # in the range
    created_at: datetime
    position: datetime | None = None  # the next tick to see to; None: none is left
    wake_at: datetime | None = None  # not before; None: it has ended
    beyond_retention: bool = False  # also ticks so old that nobody knows any more whether they ran
    status: BackfillStatus = BackfillStatus.RUNNING
    already_run: int = 0  # ticks that had an execution
    started: int = 0  # executions, by this backfill
    open: tuple[datetime, ...] = ()  # the ticks of those that were not seen to end
    ok: int = 0
    failed: int = 0  # ended otherwise than ok
    finished_at: datetime | None = None
    reason: str | None = None  # why it was cancelled
    revision: int = 1

    @property
    def is_open(self) -> bool:
        """Whether there is something left to do."""
        return self.status is BackfillStatus.RUNNING

    @property
    def left(self) -> int:
        """How many ticks were not seen to."""
        return self.ticks - self.already_run - self.started

    def coming(self, limit: int) -> list[datetime]:
        """Return the next ticks to see to."""
        if self.position is None:
            return []
        return dues(self.trigger, self.anchor, self.position - MILLISECOND, self.until - MILLISECOND, limit)

    def passing(self, ticks: Sequence[datetime]) -> "Backfill":
        """Return what is left to do when the next ticks, which are these, have run already."""
        return self._changed(position=self._after(ticks[-1]), already_run=self.already_run + len(ticks))

    def starting(self, tick: datetime, now: datetime) -> "Backfill":
        """Return what is left to do when the next tick, which is this, was given an execution."""
        return self._changed(
            position=self._after(tick),
            wake_at=None if self.wake_at is None else now + parse_rate(self.rate),
            started=self.started + 1,
            open=(*self.open, tick),
        )

    def settling(self, ended: Mapping[datetime, Status | None]) -> "Backfill":
        """Return it with executions that have ended; None: it is gone, for its retention is over."""
        return self._changed(
            open=tuple(tick for tick in self.open if tick not in ended),
            ok=self.ok + sum(status is Status.OK for status in ended.values()),
            failed=self.failed + sum(status not in (Status.OK, None) for status in ended.values()),
        )

    def done(self, now: datetime) -> "Backfill":
        """Return it at its end."""
        return self._changed(status=BackfillStatus.DONE, finished_at=now, wake_at=None)

    def cancelled(self, reason: str, now: datetime) -> "Backfill":
        """Return it given up; what it has started goes on."""
        return self._changed(status=BackfillStatus.CANCELLED, finished_at=now, wake_at=None, reason=reason)

    def carved(self, unfired: Unfired) -> list[Unfired]:
        """Return what is left of a range of unfired ticks, those that the backfill has seen to having run.

        A range that was told of another schedule, which the workflow had before or has now, is left as it is.
        """
        seen_to = self.position or self.until
        if unfired.last < self.first or unfired.first >= seen_to or not unfired.is_of(self.trigger, self.anchor):
            return [unfired]
        return unfired.without(self.trigger, self.anchor, self.first, seen_to)

    def _after(self, tick: datetime) -> datetime | None:
        following = dues(self.trigger, self.anchor, tick, self.until - MILLISECOND, 1)
        return following[0] if following else None

    def _changed(self, **fields: object) -> "Backfill":
        return replace(self, **fields, revision=self.revision + 1)  # type: ignore[arg-type]
