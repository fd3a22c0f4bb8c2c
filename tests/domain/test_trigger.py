from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from domain import cron
from domain.durations import BadDuration, parse_duration
from domain.trigger import (
    CronTrigger,
    ManualTrigger,
    Misfire,
    OnceTrigger,
    PeriodicTrigger,
    Trigger,
    dues,
    jitter_of,
    latest_due,
    next_due,
)

ANCHOR = datetime(2026, 1, 1, tzinfo=timezone.utc)
INSTANTS = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001
UNITS = {"s": timedelta(seconds=1), "m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("10s", timedelta(seconds=10)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("1d", timedelta(hours=24)),
        ("8784h", timedelta(days=366)),
        ("366d", timedelta(days=366)),
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
        ("unknown unit", "10w"),
        ("leading zero", "010s"),
        ("space", "10 s"),
        ("trailing newline", "10s\n"),
        ("other digits", "\u0661\u0660s"),
        ("upper case", "10S"),
        ("more than a year", "8785h"),
        ("more than a year of days", "367d"),
        ("most days", "999999999d"),
        ("absurd", "99999999999999999999s"),
    ],
)
def test_bad_durations_are_refused_with_the_mend(word, text):
    with pytest.raises(BadDuration, match=r"write"):
        parse_duration(text)


@given(count=st.integers(1, 366), unit=st.sampled_from("smhd"), after=INSTANTS)
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


TRIGGER = TypeAdapter(Trigger)


def read(**trigger):
    return TRIGGER.validate_python(trigger)


def day(number, hour=0):
    return datetime(2026, 1, number, hour, tzinfo=timezone.utc)


def test_a_start_is_the_first_tick_and_carries_the_grid():
    trigger = read(type="periodic", interval="24h", startAt="2026-01-03T06:00:00Z", endAt="2026-01-05T06:00:00Z")
    assert dues(trigger, ANCHOR, ANCHOR, day(20), 9) == [day(3, 6), day(4, 6), day(5, 6)]
    assert next_due(trigger, ANCHOR, day(5, 6)) is None


def test_cron_ticks_lie_between_start_and_end():
    trigger = read(type="cron", expression="@daily", startAt="2026-01-03T00:00:00Z", endAt="2026-01-04T00:00:00Z")
    assert dues(trigger, ANCHOR, ANCHOR, day(20), 9) == [day(3), day(4)]


def test_several_expressions_are_one_schedule_without_doubles():
    trigger = read(type="cron", expression=["0 0,12 * * *", "@daily", "0 6 2 * *"])
    assert dues(trigger, ANCHOR, ANCHOR, day(3), 9) == [day(1, 12), day(2), day(2, 6), day(2, 12), day(3)]


@given(after=INSTANTS, kind=st.integers(0, 2))
def test_the_ticks_in_a_row_are_those_asked_for_one_by_one(after, kind):
    trigger = [
        read(type="cron", expression=["*/20 * * * *", "0 * * * *", "30 2 * * *", "@daily"], timezone="Europe/Berlin"),
        read(
            type="cron", expression=["30 2 * * *", "40 2 * * sun"], timezone="America/New_York", daylight={"overlap": "both"}
        ),
        read(type="periodic", interval="7m"),
    ][kind]
    one_by_one = []
    due = after
    for _ in range(60):
        due = next_due(trigger, ANCHOR, due)
        one_by_one.append(due)
    assert dues(trigger, ANCHOR, after, one_by_one[-1], 100) == one_by_one


def test_what_is_due_in_years_is_not_searched_anew_at_each_tick_of_another_expression(monkeypatch):
    searched = []
    search = cron._search
    monkeypatch.setattr(cron, "_search", lambda text, *rest: searched.append(text) or search(text, *rest))
    rare = "23 0 * 2 1#5"
    trigger = read(type="cron", expression=["* * * * *", rare], jitter="30s", timezone="America/New_York")
    due = ANCHOR
    for _ in range(100):
        jitter_of(trigger, ANCHOR, "w", due)
        due = next_due(trigger, ANCHOR, due)
    assert due == ANCHOR + timedelta(minutes=100)
    assert searched.count(rare) == 1


def test_once_is_due_once():
    trigger = read(type="once", at="2026-01-02T01:00:00+01:00")
    assert next_due(trigger, ANCHOR, ANCHOR) == day(2)
    assert next_due(trigger, ANCHOR, day(2)) is None


@given(after=INSTANTS, seconds=st.integers(1, 40_000_000), kind=st.integers(0, 4))
def test_the_latest_tick_is_the_one_before_the_next(after, seconds, kind):
    trigger = [
        read(type="periodic", interval="7m"),
        read(type="cron", expression="*/10 8-17 * * mon-fri", timezone="America/New_York"),
        read(type="cron", expression="@monthly", timezone="Pacific/Apia"),
        read(type="cron", expression=["30 2 * * *", "1 1 1 1 *"], timezone="Europe/Berlin"),
        read(type="periodic", interval="7m", endAt="2030-01-01T00:00:00Z"),
    ][kind]
    due = next_due(trigger, ANCHOR, after)
    if due is None:
        return
    now = due + timedelta(seconds=seconds)
    latest = latest_due(trigger, ANCHOR, due, now)
    assert due <= latest <= now
    following = next_due(trigger, ANCHOR, latest)
    assert following is None or following > now
    assert latest == due or next_due(trigger, ANCHOR, latest - timedelta(milliseconds=1)) == latest


def test_jitter_is_bounded_and_always_the_same_for_a_tick():
    trigger = read(type="periodic", interval="1m", jitter="10s")
    drawn = {jitter_of(trigger, ANCHOR, "w", ANCHOR + timedelta(minutes=number)) for number in range(500)}
    assert len(drawn) > 400
    assert all(timedelta(0) <= delay <= timedelta(seconds=10) for delay in drawn)
    first, again, other = (jitter_of(trigger, ANCHOR, name, ANCHOR) for name in "wwv")
    assert first == again != other
    assert jitter_of(read(type="periodic", interval="1m"), ANCHOR, "w", ANCHOR) == timedelta(0)


def test_jitter_ends_before_the_next_tick():
    trigger = read(type="cron", expression=["0,5 * * * *"], jitter="24h", endAt="2026-01-01T03:05:00Z")
    due = next_due(trigger, ANCHOR, ANCHOR - timedelta(milliseconds=1))
    while following := next_due(trigger, ANCHOR, due):
        delays = {jitter_of(trigger, ANCHOR, f"w{number}", due) for number in range(300)}
        assert timedelta(0) <= min(delays) < max(delays) < following - due
        assert max(delays) > (following - due) * 0.9
        due = following
    assert max(jitter_of(trigger, ANCHOR, f"w{number}", due) for number in range(300)) > timedelta(hours=12)


@pytest.mark.parametrize(
    ("trigger", "field", "said"),
    [
        ({"type": "cron", "expression": "61 * * * *"}, "expression", "bad minute"),
        ({"type": "cron", "expression": ["@daily", "0 0 30 2 *"]}, "expression", "never matches"),
        ({"type": "cron", "expression": []}, "expression", "at least 1"),
        ({"type": "cron", "expression": "@daily", "timezone": "europe/berlin"}, "timezone", "did you mean Europe/Berlin"),
        ({"type": "cron", "expression": "@daily", "timezone": "../etc/passwd"}, "timezone", "IANA"),
        ({"type": "cron", "expression": "@daily", "daylight": {"gap": "x"}}, "gap", "next"),
        ({"type": "once", "at": "2026-01-01T00:00:00"}, "at", "timezone"),
        ({"type": "once", "at": 1767225600}, "at", "must be an instant"),
        ({"type": "once", "at": "9999-12-31T00:00:00Z"}, "at", "1970 and 2200"),
        ({"type": "periodic", "interval": "1m", "jitter": "1m"}, "interval", "longer than the jitter"),
        ({"type": "cron", "expression": "@daily", "jitter": "25h"}, "jitter", "24h or less"),
        ({"type": "periodic", "interval": "1m", "maxRuns": 0}, "maxRuns", "greater than or equal to 1"),
        (
            {"type": "cron", "expression": "@daily", "startAt": "2026-02-01T00:00:00Z", "endAt": "2026-01-01T00:00:00Z"},
            "endAt",
            "must not be earlier than startAt",
        ),
        ({"type": "periodic", "interval": "1m", "misfire": "never"}, "policy", "last"),
    ],
)
def test_a_wrong_field_is_named_with_the_mend(trigger, field, said):
    with pytest.raises(ValidationError) as caught:
        TRIGGER.validate_python(trigger)
    (error,) = caught.value.errors()
    assert error["loc"][-1] == field
    assert said in error["msg"]


@pytest.mark.parametrize(
    "written",
    [
        {"type": "cron", "expression": "@daily", "timezone": "Asia/Tokyo", "misfire": "skip", "allowManual": False},
        {"type": "cron", "expression": ["@daily", "@hourly"], "timezone": "UTC", "daylight": {"gap": "skip"},
         "misfire": {"policy": "all", "max": 5, "window": "1h"}, "maxRuns": 3, "allowManual": True},
        {"type": "once", "at": "2026-01-31T12:00:00Z", "allowManual": False},
    ],
)  # fmt: skip
def test_a_trigger_is_shown_and_stored_as_it_was_written(written):
    trigger = TRIGGER.validate_python(written)
    assert trigger.to_wire() == written
    assert type(trigger).from_document(trigger.to_document()) == trigger
    assert isinstance(trigger, (CronTrigger, OnceTrigger))
    assert trigger.misfire.max in (5, Misfire().max)
