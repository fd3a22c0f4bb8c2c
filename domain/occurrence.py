"""Occurrences: due ticks, and what became of each.

A fired tick is its execution. Ticks that were not fired are told by ranges: consecutive ticks with one disposition, for one
reason, are one range, however many they are.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

from domain.durations import parse_duration
from domain.instants import MILLISECOND
from domain.trigger import PeriodicTrigger, Trigger, dues, latest_due, next_due

COUNTED: Final = 1000  # ticks of a cron range that are counted one by one; more of them are "many"


class Disposition(str, Enum):
    """What became of a tick that was not fired."""

    SKIPPED = "skipped"  # another execution was open (overlap policy)
    MISSED = "missed"  # nothing could fire it in time (misfire policy)
    HELD = "held"  # the schedule was paused


@dataclass(frozen=True)
class Unfired:
    """Consecutive ticks of a workflow that were not fired, all for one reason."""

    workflow_id: str
    disposition: Disposition
    first: datetime
    last: datetime
    ticks: int | None = 1  # None: more than were counted
    holder: str | None = None  # the execution that was open, where skipped

    def joined(self, later: "Unfired") -> "Unfired | None":
        """Return the range of both, None where they do not tell the same."""
        if (self.disposition, self.holder) != (later.disposition, later.holder):
            return None
        if later.last <= self.last:
            return self
        ticks = None if self.ticks is None or later.ticks is None else self.ticks + later.ticks
        return replace(self, last=later.last, ticks=ticks)

    def is_of(self, trigger: Trigger, anchor: datetime) -> bool:
        """Tell whether these are ticks of this schedule, and all that it has between the first and the last."""
        if any(next_due(trigger, anchor, tick - MILLISECOND) != tick for tick in (self.first, self.last)):
            return False
        ticks = count_ticks(trigger, anchor, self.first, self.last)
        return ticks == self.ticks or None in (ticks, self.ticks)

    def without(self, trigger: Trigger, anchor: datetime, start: datetime, end: datetime) -> "list[Unfired]":
        """Return what is left of the range, newest first, without the ticks of its schedule in [start, end)."""
        inside = next_due(trigger, anchor, max(self.first, start) - MILLISECOND)
        if inside is None or inside > self.last or inside >= end:
            return [self]
        left = []
        after = next_due(trigger, anchor, end - MILLISECOND)
        if after is not None and after <= self.last:
            left.append(replace(self, first=after, ticks=count_ticks(trigger, anchor, after, self.last)))
        if self.first < start:
            last = latest_due(trigger, anchor, self.first, start - MILLISECOND)
            left.append(replace(self, last=last, ticks=count_ticks(trigger, anchor, self.first, last)))
        return left


def count_ticks(trigger: Trigger, anchor: datetime, first: datetime, last: datetime) -> int | None:
    """Return how many ticks lie in [first, last], both of which are ticks; None where they are too many to count."""
    if isinstance(trigger, PeriodicTrigger):
        return (last - first) // parse_duration(trigger.interval) + 1
    found = dues(trigger, anchor, first - MILLISECOND, last, COUNTED + 1)
    return len(found) if len(found) <= COUNTED else None
