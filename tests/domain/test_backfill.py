"""A backfill moves over the ticks of its range, and what it has run is out of the ranges of unfired ones."""

import itertools
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from domain.backfill import Backfill, BackfillStatus
from domain.execution import Status
from domain.instants import MILLISECOND
from domain.occurrence import Disposition, Unfired, count_ticks
from domain.overlap import Overlap
from domain.trigger import Trigger, dues, next_due

ANCHOR = datetime(2026, 1, 1, tzinfo=timezone.utc)


def at(seconds):
    return ANCHOR + timedelta(seconds=seconds)


def read(**trigger):
    return TypeAdapter(Trigger).validate_python(trigger)


TENS = read(type="periodic", interval="10s")


def backfill(first, until, trigger=TENS, anchor=ANCHOR, **fields):
    made = Backfill(
        backfill_id="b", workflow_id="w", shard=0, trigger=trigger, anchor=anchor, first=first, until=until, rate="1/s",
        at_once=1, ticks=len(dues(trigger, anchor, first - MILLISECOND, until - MILLISECOND, 99_999)), created_at=at(0),
        position=first, wake_at=at(0), **fields,
    )  # fmt: skip
    return replace(made, position=next(iter(made.coming(1)), None))


def test_the_range_is_half_open():
    made = backfill(at(10), at(40))
    assert (made.ticks, made.coming(9)) == (3, [at(10), at(20), at(30)])
    assert backfill(at(11), at(41)).coming(9) == [at(20), at(30), at(40)]
    assert backfill(at(11), at(20)).position is None


def test_it_moves_from_tick_to_tick_and_counts_what_became_of_each():
    made = backfill(at(10), at(60)).passing([at(10), at(20)])
    assert (made.position, made.already_run, made.left) == (at(30), 2, 3)
    made = made.starting(at(30), at(100)).starting(at(40), at(101)).starting(at(50), at(102))
    assert (made.position, made.started, made.left, made.wake_at) == (None, 3, 0, at(103))
    assert made.coming(9) == []
    made = made.settling({at(30): Status.OK, at(40): Status.CANCELLED}).settling({at(50): None})
    assert (made.open, made.ok, made.failed) == ((), 1, 1)
    assert made.revision == 7
    done = made.done(at(110))
    assert (done.status, done.finished_at, done.wake_at, done.is_open) == (BackfillStatus.DONE, at(110), None, False)


def test_a_tick_that_was_started_when_it_was_cancelled_is_counted_and_wakes_nobody():
    cancelled = backfill(at(10), at(60)).cancelled("asked", at(100))
    assert (cancelled.status, cancelled.finished_at, cancelled.reason) == (BackfillStatus.CANCELLED, at(100), "asked")
    started = cancelled.starting(at(10), at(101))
    assert (started.status, started.finished_at, started.wake_at, started.started, started.position) == (
        BackfillStatus.CANCELLED,
        at(100),
        None,
        1,
        at(20),
    )


HELD = Unfired("w", Disposition.HELD, at(10), at(100), 10)


@pytest.mark.parametrize(
    ("first", "seen_to", "left"),
    [
        pytest.param(0, 200, [], id="all of it"),
        pytest.param(10, 101, [], id="exactly it"),
        pytest.param(0, 50, [(50, 100, 6)], id="its beginning"),
        pytest.param(50, 200, [(10, 40, 4)], id="its end"),
        pytest.param(40, 60, [(60, 100, 5), (10, 30, 3)], id="its middle"),
        pytest.param(41, 49, [(10, 100, 10)], id="between two ticks"),
        pytest.param(110, 200, [(10, 100, 10)], id="what comes after it"),
        pytest.param(0, 10, [(10, 100, 10)], id="what comes before it"),
        pytest.param(20, 20, [(10, 100, 10)], id="nothing yet"),
    ],
)
def test_what_was_run_is_out_of_a_range(first, seen_to, left):
    pieces = replace(backfill(at(first), at(300)), position=at(seen_to)).carved(HELD)
    assert [(each.first, each.last, each.ticks) for each in pieces] == [(at(a), at(b), n) for a, b, n in left]
    assert {(each.workflow_id, each.disposition) for each in pieces} <= {("w", Disposition.HELD)}


def test_a_range_of_another_schedule_is_left_as_it_is():
    other_grid = backfill(at(0), at(300), anchor=at(3))
    other_interval = backfill(at(0), at(300), read(type="periodic", interval="5s"))
    for made in (other_grid, other_interval):
        assert replace(made, position=None).carved(HELD) == [HELD]


KINDS = [
    read(type="periodic", interval="7m"),
    read(type="cron", expression="*/7 * * * *", timezone="Europe/Berlin"),
    read(type="cron", expression=["30 2 * * *", "*/20 8-9 * * mon"], timezone="America/New_York"),
]


@given(
    kind=st.sampled_from(KINDS),
    start=st.integers(0, 40_000_000),
    length=st.integers(0, 300),
    spans=st.lists(st.tuples(st.integers(-200_000, 400_000), st.integers(0, 400_000)), max_size=4),
)
def test_what_is_left_of_a_range_are_the_ticks_that_no_backfill_has_run(kind, start, length, spans):
    ticks = dues(kind, ANCHOR, at(start), at(10**9), length + 1)
    whole = Unfired("w", Disposition.MISSED, ticks[0], ticks[-1], len(ticks))
    left, run = [whole], set()
    for begin, seconds in spans:
        first = ticks[0] + timedelta(seconds=begin)
        made = backfill(first, first + timedelta(seconds=seconds), kind)
        left = [piece for each in left for piece in replace(made, position=None).carved(each)]
        run |= {tick for tick in ticks if made.first <= tick < made.until}
    told = []
    for piece in left:
        assert piece.ticks == count_ticks(kind, ANCHOR, piece.first, piece.last)
        tick = piece.first
        while tick is not None and tick <= piece.last:
            told.append(tick)
            tick = next_due(kind, ANCHOR, tick)
    assert sorted(told) == [tick for tick in ticks if tick not in run]
    assert all(later.first > earlier.last for later, earlier in itertools.pairwise(left))


def test_it_leaves_the_first_of_several_places_to_everything_else():
    assert Overlap(policy="allow", max=3).places_of_backfill("w") == ["w#2", "w#1"]
    assert Overlap(policy="allow", max=1).places_of_backfill("w") == ["w"]
    assert Overlap(policy="queue", max=3).places_of_backfill("w") == ["w"]


@pytest.mark.parametrize(("policy", "most"), [("skip", 1), ("cancel-running", 1), ("allow", 1), ("queue", 3)])
def test_one_waits_behind_it_unless_there_is_a_queue(policy, most):
    assert Overlap(policy=policy, max=3).line("w") == [f"w#wait-{number}" for number in range(most)]
