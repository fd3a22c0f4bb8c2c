"""Which late ticks are run, and which are missed."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from domain.misfire import Judgement, judge
from domain.occurrence import Disposition, Unfired, count_ticks
from domain.trigger import Trigger, jitter_of, next_due

ANCHOR = datetime(2026, 1, 1, tzinfo=timezone.utc)
TOLERANCE = timedelta(seconds=5)


def at(seconds):
    return ANCHOR + timedelta(seconds=seconds)


def read(interval="10s", misfire="last", **more):
    kind = {"type": "periodic", "interval": interval} if interval else {"type": "cron"}
    return TypeAdapter(Trigger).validate_python({**kind, "misfire": misfire, **more})


@pytest.mark.parametrize(
    ("misfire", "due", "now", "missed_until", "fire"),
    [
        pytest.param("last", 10, 10, None, 10, id="on time"),
        pytest.param("last", 10, 14, None, 10, id="a little late"),
        pytest.param("last", 10, 19, None, 10, id="late, nothing due since"),
        pytest.param("last", 10, 20, 10, 20, id="last: one missed"),
        pytest.param("last", 10, 3605, 3590, 3600, id="last: an hour missed"),
        pytest.param("last", 10, 5, None, 10, id="the clock stepped back since it was released"),
        pytest.param("skip", 10, 16, 10, 20, id="skip: late is missed"),
        pytest.param("skip", 10, 3603, 3590, 3600, id="skip: the last is on time"),
        pytest.param("skip", 10, 3606, 3600, 3610, id="skip: the last is late as well"),
        pytest.param("all", 10, 3605, 2600, 2610, id="all: the last hundred"),
        pytest.param({"policy": "all", "max": 3}, 10, 105, 70, 80, id="all: the last three"),
        pytest.param({"policy": "all", "max": 3}, 90, 105, None, 90, id="all: fewer than three"),
        pytest.param({"policy": "all", "window": "25s"}, 10, 105, 70, 80, id="all: within the window"),
        pytest.param({"policy": "last", "window": "7s"}, 10, 28, 20, 30, id="last: beyond its window"),
        pytest.param({"policy": "last", "window": "9s"}, 10, 28, 10, 20, id="last: within its window"),
        pytest.param({"policy": "last", "window": "1s"}, 10, 14, None, 10, id="no window is shorter than on time"),
    ],
)
def test_late_ticks_of_a_grid(misfire, due, now, missed_until, fire):
    judged = judge(read(misfire=misfire), ANCHOR, at(due), at(now), TOLERANCE, workflow_id="w")
    assert judged == Judgement(None if missed_until is None else at(missed_until), at(fire))


@pytest.mark.parametrize(
    ("misfire", "interval", "due", "now", "missed_until", "fire"),
    [
        pytest.param("last", 2, 10, 15, None, 10, id="last: what is on time is run, also where more is due since"),
        pytest.param("skip", 2, 10, 20, 14, 16, id="skip: all that are on time are run"),
        pytest.param({"policy": "all", "max": 1000}, 1, 1, 5000, 4000, 4001, id="all: the last thousand"),
    ],
)
def test_late_ticks_of_a_narrow_grid(misfire, interval, due, now, missed_until, fire):
    judged = judge(read(f"{interval}s", misfire), ANCHOR, at(due), at(now), TOLERANCE, workflow_id="w")
    assert judged == Judgement(None if missed_until is None else at(missed_until), at(fire))


def delayed_by(trigger, least, most):
    """Return a workflow whose tick at 100 s is released between so many seconds later."""
    names = (f"w{number}" for number in range(1000))
    return next(name for name in names if at(least) <= at(0) + jitter_of(trigger, ANCHOR, name, at(100)) <= at(most))


@pytest.mark.parametrize("misfire", ["skip", "last", "all", {"policy": "last", "window": "5s"}], ids=str)
@pytest.mark.parametrize("released", [(26, 29), (31, 50)], ids=["over for a moment", "not over"])
def test_a_tick_whose_jitter_is_not_over_is_not_late(misfire, released):
    trigger = read(interval="60s", misfire=misfire, startAt="2026-01-01T00:00:40Z", jitter="59s")
    soon = delayed_by(trigger, *released)
    judged = judge(trigger, ANCHOR, at(40), at(130), TOLERANCE, workflow_id=soon)
    assert (judged.missed_until, judged.fire) in [(at(40), at(100)), (None, at(40))]
    assert (judged.fire == at(40)) == (misfire == "all")


def test_a_tick_whose_jitter_is_over_is_late():
    trigger = read(interval="60s", misfire="skip", startAt="2026-01-01T00:00:40Z", jitter="59s")
    over = delayed_by(trigger, 0, 20)
    judged = judge(trigger, ANCHOR, at(40), at(130), TOLERANCE, workflow_id=over)
    assert (judged.missed_until, judged.fire) == (at(100), at(160))


@given(
    kind=st.sampled_from(
        [
            {"interval": "7s"},
            {"interval": None, "expression": "*/7 * * * *", "timezone": "Europe/Berlin"},
            {"interval": None, "expression": ["30 2 * * *", "0 12 * * mon"], "timezone": "America/New_York"},
        ]
    ),
    misfire=st.sampled_from(
        [
            "last",
            "skip",
            "all",
            {"policy": "all", "max": 2},
            {"policy": "all", "window": "1h"},
            {"policy": "last", "window": "1h"},
        ]
    ),
    start=st.integers(0, 40_000_000),
    late=st.integers(0, 300_000),
)
def test_judging_again_and_again_gives_each_tick_one_disposition_in_order(kind, misfire, start, late):
    trigger = read(misfire=misfire, **kind)
    due = next_due(trigger, ANCHOR, at(start))
    now = due + timedelta(seconds=late)
    for _ in range(5):
        judged = judge(trigger, ANCHOR, due, now, TOLERANCE, workflow_id="w")
        if judged.missed_until is None:
            assert judged.fire == due
            following = next_due(trigger, ANCHOR, due)
        else:
            assert due <= judged.missed_until < judged.fire
            assert next_due(trigger, ANCHOR, judged.missed_until) == judged.fire, "nothing lies between missed and fired"
            following = judged.fire
        if following > now:
            break
        due = following


def test_ranges_are_joined_where_they_tell_the_same():
    first = Unfired("w", Disposition.SKIPPED, at(10), at(20), 2, "x")
    assert first.joined(Unfired("w", Disposition.SKIPPED, at(30), at(30), 1, "x")) == Unfired(
        "w", Disposition.SKIPPED, at(10), at(30), 3, "x"
    )
    assert first.joined(Unfired("w", Disposition.SKIPPED, at(30), at(30), 1, "y")) is None
    assert first.joined(Unfired("w", Disposition.MISSED, at(30), at(30))) is None
    assert first.joined(first) == first


def test_ticks_of_a_range_are_counted_up_to_a_bound():
    assert count_ticks(read(), ANCHOR, at(10), at(10 * 10**6)) == 10**6
    daily = read(None, expression="@daily")
    assert count_ticks(daily, ANCHOR, at(0), at(86400 * 9)) == 10
    assert count_ticks(daily, ANCHOR, at(0), at(86400 * 2000)) is None
