from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.durations import BadDuration, parse_duration
from domain.trigger import ManualTrigger, PeriodicTrigger, next_due

ANCHOR = datetime(2026, 1, 1, tzinfo=timezone.utc)
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1)}


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("8784h", timedelta(days=366)),
    ],
)
def test_durations_are_read(text, length):
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("empty", ""),
        ("zero", "0s"),
        ("negative", "-1s"),
        ("fraction", "1.5s"),
        ("no unit", "10"),
        ("no number", "s"),
        ("unknown unit", "10d"),
        ("leading zero", "010s"),
        ("space", "10 s"),
        ("trailing newline", "10s\n"),
        ("other digits", "\u0661\u0660s"),
        ("upper case", "10S"),
        ("more than a year", "8785h"),
        ("absurd", "99999999999999999999s"),
    ],
)
def test_bad_durations_are_refused_with_the_mend(word, text):
    with pytest.raises(BadDuration, match=r"write"):
        parse_duration(text)


@given(count=st.integers(1, 999), unit=st.sampled_from("smh"), after=INSTANTS)
def test_the_next_tick_is_the_first_one_of_the_grid_that_is_later(count, unit, after):
    interval = count * UNITS[unit]
    trigger = PeriodicTrigger(type="periodic", interval=f"{count}{unit}")
    due = next_due(trigger, ANCHOR, after)
    assert due is not None
    assert due > after
    assert (due - ANCHOR) % interval == timedelta(0)
    assert due - interval <= max(after, ANCHOR)
    assert due > ANCHOR


@given(after=INSTANTS, steps=st.integers(1, 50), late=st.integers(0, 9_999))
def test_cadence_does_not_drift_with_lateness(after, steps, late):
    trigger = PeriodicTrigger(type="periodic", interval="10s")
    due = next_due(trigger, ANCHOR, after)
    for _ in range(steps):
        following = next_due(trigger, ANCHOR, due + timedelta(milliseconds=late))
        assert following - due == timedelta(seconds=10)
        due = following


def test_a_manual_workflow_is_never_due():
    assert next_due(ManualTrigger(type="manual"), ANCHOR, ANCHOR) is None
