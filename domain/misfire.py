"""Misfire: which of the ticks that nothing fired in time are run late, and which are missed."""

from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta

from domain.durations import parse_duration
from domain.instants import MILLISECOND
from domain.trigger import ManualTrigger, Trigger, dues, jitter_of, latest_due, next_due


@dataclass(frozen=True)
class Judgement:
    """What becomes of the ticks from the one that is due up to now."""

    missed_until: datetime | None  # the last of those that are passed over, None where there is none
    fire: datetime | None  # the tick to run next, now or when it is due; None where there is none


def judge(
    trigger: Trigger, anchor: datetime, due: datetime, now: datetime, tolerance: timedelta, *, workflow_id: str
) -> Judgement:
    """Judge the ticks from ``due`` on; a tick that is late by no more than ``tolerance`` is on time.

    A tick is not late before its jitter is over; only the last one can be that new. Judging again before anything else has
    happened gives the same, or more missed ones.
    """
    if isinstance(trigger, ManualTrigger) or now - due <= tolerance:
        return Judgement(None, due)
    misfire = trigger.misfire
    latest = latest_due(trigger, anchor, due, now)
    earliest = due if misfire.window is None else now - max(parse_duration(misfire.window), tolerance)
    if misfire.policy == "skip":
        earliest = max(earliest, now - tolerance)
    if latest + jitter_of(trigger, anchor, workflow_id, latest) >= now - tolerance:
        earliest = min(earliest, latest)
    if latest < earliest:
        return Judgement(latest, next_due(trigger, anchor, latest))
    if misfire.policy == "last":
        fire: datetime | None = latest
    elif misfire.policy == "skip":
        fire = next_due(trigger, anchor, max(due, earliest) - MILLISECOND)
    else:
        fire = _first_of_the_last(trigger, anchor, max(due, earliest), now, misfire.max)
    if fire is None or fire <= due:
        return Judgement(None, due)
    return Judgement(latest_due(trigger, anchor, due, fire - MILLISECOND), fire)


def _first_of_the_last(trigger: Trigger, anchor: datetime, since: datetime, now: datetime, count: int) -> datetime | None:
    """Return the first of the last ``count`` ticks in [since, now]."""
    step = timedelta(minutes=1)
    while now - step > since and len(dues(trigger, anchor, now - step, now, count)) < count:
        step *= 2
    after = max(since - MILLISECOND, now - step)
    last: deque[datetime] = deque(maxlen=count)
    while found := dues(trigger, anchor, after, now, 1000):
        last.extend(found)
        after = found[-1]
    return last[0] if last else None
