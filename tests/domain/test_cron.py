"""Cron instants, above all around changes of the clocks, against a walk over every minute."""

from datetime import datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from domain.cron import BadExpression, check_expression, next_instant, overlong_step, zone_names

UTC = timezone.utc
MINUTE = timedelta(minutes=1)
FIRST, LAST = datetime(2016, 1, 1, tzinfo=UTC), datetime(2037, 1, 1, tzinfo=UTC)


def offset(zone, at):
    return at.astimezone(ZoneInfo(zone)).utcoffset()


def transitions():
    """Every change of offset of the ten years behind and ahead, one zone for each that is different."""
    found = {}
    for zone in sorted(zone_names()):
        at, before = FIRST, offset(zone, FIRST)
        while at < LAST:
            after = offset(zone, at + timedelta(days=7))
            if after != before:
                found.setdefault((at, before, after), zone)
                before = after
            at += timedelta(days=7)
    return [(zone, exactly(zone, at)) for (at, _, _), zone in sorted(found.items())]


def exactly(zone, at):
    """The first minute of the new offset."""
    before = offset(zone, at)
    for step in (timedelta(hours=1), MINUTE):
        while offset(zone, at + step) == before:
            at += step
    return at + MINUTE


def minutes_that_match(expression, start, end):
    """The local times of [start, end) that match, one look at each minute."""
    simulation = CronSim(expression, start - MINUTE)
    fields = (simulation.minutes, simulation.hours)
    local = start
    while local < end:
        if local.minute in fields[0] and local.hour in fields[1] and simulation.match_day(local.date()):
            yield local
        local += MINUTE


def walk(expression, zone, start, end, gap, overlap):
    """The instants of [start, end) by a walk over every minute of the zone: what is due, by the rule as it is told."""
    place = ZoneInfo(zone)
    seen = {}  # local time -> its instants
    at = start - timedelta(hours=4)
    order = []
    while at < end + timedelta(hours=4):
        local = at.astimezone(place).replace(tzinfo=None)
        seen.setdefault(local, []).append(at)
        order.append((at, local))
        at += MINUTE
    due = set()
    for local in minutes_that_match(expression, min(seen), max(seen)):
        instants = seen.get(local)
        if instants:
            due |= set(instants if overlap == "both" else instants[:1] if overlap == "first" else instants[-1:])
        elif gap == "next":
            due.add(next(at for at, there in order if there > local))
    return sorted(each for each in due if start <= each < end)


def by_the_library(expression, zone, start, end, **rule):
    found = []
    at = next_instant(expression, zone, start - MINUTE, **rule)
    while at < end:
        found.append(at)
        at = next_instant(expression, zone, at, **rule)
    return found


RULES = [("next", "first"), ("skip", "last"), ("next", "both")]
EXPRESSIONS = ["*/20 * * * *", "30 2 * * *", "*/15 0-3 * * *", "5,59 */2 * * *", "0 0 * * *", "30 23 * * *"]


def test_every_change_of_the_clocks_agrees_with_a_walk_over_every_minute():
    changes = transitions()
    assert len(changes) > 500
    for number, (zone, at) in enumerate(changes):
        # Each change meets one of the expressions and one of the rules; every pair meets many changes.
        gap, overlap = RULES[number % len(RULES)]
        expression = EXPRESSIONS[(number // len(RULES)) % len(EXPRESSIONS)]
        start, end = at - timedelta(hours=4), at + timedelta(hours=4)
        assert by_the_library(expression, zone, start, end, gap=gap, overlap=overlap) == walk(
            expression, zone, start, end, gap, overlap
        ), (expression, zone, at, gap, overlap)


def berlin(text):
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Berlin"))


@pytest.mark.parametrize(
    ("expression", "day", "utc"),
    [
        pytest.param("30 2 * * *", "2026-03-29", ["01:00"], id="a skipped time runs at the next that exists"),
        pytest.param("0,15,30 2 * * *", "2026-03-29", ["01:00"], id="several skipped times run once"),
        pytest.param("0 3 * * *", "2026-03-29", ["01:00"], id="the first time after a gap"),
        pytest.param("0 */12 * * *", "2026-10-25", ["22:00", "11:00"], id="twice a day, clocks go back"),
        pytest.param("30 2 * * *", "2026-10-25", ["00:30"], id="a repeated time runs once, the first time"),
        pytest.param("30 * * * *", "2026-03-29", ["23:30", "00:30", "01:30"], id="hourly: nothing is made up"),
        pytest.param("30 * * * *", "2026-10-25", ["22:30", "23:30", "00:30", "01:30"], id="hourly: twice"),
    ],
)
def test_the_rule_in_berlin(expression, day, utc):
    start = berlin(f"{day}T00:00:00").astimezone(UTC) - MINUTE
    end = start + timedelta(hours=len(utc)) if "* * * *" in expression else start + timedelta(hours=24)
    found = by_the_library(expression, "Europe/Berlin", start, end)
    assert [f"{each:%H:%M}" for each in found][: len(utc)] == utc


FIELDS = (
    st.sampled_from(["*", "0", "59", "*/20", "7-9,30"]),
    st.sampled_from(["*", "0", "23", "*/12", "8-18/2"]),
    st.sampled_from(["*", "1", "29", "31", "L", "LW", "*/9", "1-7", "15,L"]),
    st.sampled_from(["*", "2", "2,4", "DEC", "*/5"]),
    st.sampled_from(["*", "1#5", "5L", "MON-FRI", "7", "1#1,3#5"]),
)
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


@given(expression=st.tuples(*FIELDS).map(" ".join), after=INSTANTS, later=st.floats(0, 1))
def test_without_changes_of_the_clocks_the_libraries_search_finds_the_same(expression, after, later):
    try:
        check_expression(expression)
    except BadExpression:
        return
    due = next_instant(expression, "UTC", after)
    assert due == next(CronSim(expression, after))
    between = after + (due - after) * later
    if between < due:
        assert next_instant(expression, "UTC", between) == due
    assert next_instant(expression, "UTC", after) == due


def test_a_day_that_comes_every_28_years_is_found_without_a_look_at_each_day(monkeypatch):
    looked_at = []
    match_day = CronSim.match_day
    monkeypatch.setattr(CronSim, "match_day", lambda self, day: looked_at.append(day) or match_day(self, day))
    check_expression("17 0 * 2 1#5")
    del looked_at[:]
    due = FIRST
    for _ in range(6):
        due = next_instant("17 0 * 2 1#5", "America/New_York", due)
    assert (due.year, due.month, due.day) == (2168, 2, 29)
    assert len(looked_at) < 31 * 28, "of each kind of month, every day once"


@pytest.mark.parametrize(
    "expression", ["@daily", "0 0 * JAN-MAR MON-FRI", "*/5 8-18/2 1,15 * *", "0 0 L * *", "0 0 29 2 *", "@HOURLY"]
)
def test_what_is_understood(expression):
    check_expression(expression)
    assert next_instant(expression, "UTC", FIRST) > FIRST


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("", "0 fields instead of 5"),
        ("* * * *", "4 fields instead of 5"),
        ("* * * * * *", "6 fields instead of 5"),
        ("60 * * * *", "bad minute"),
        ("* 24 * * *", "bad hour"),
        ("* * 32 * *", "bad day-of-month"),
        ("* * * 13 *", "bad month"),
        ("* * * * mun", "bad day-of-week"),
        ("*/0 * * * *", "bad minute"),
        ("1#2/3 * * * *", "bad minute"),
        ("* * * * 1#2/3", "bad"),
        ("@noon", "is not one of @yearly"),
        ("0 0 30 2 *", "never matches"),
        ("0 0 31 4,6 *", "never matches"),
    ],
)
def test_what_is_refused(expression, said):
    with pytest.raises(BadExpression, match=said):
        check_expression(expression)


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("*/61 * * * *", "a step of 61 in the minute, which has 60 values; write a step of 60 or less"),
        ("0,30/90 * * * *", "a step of 90 in the minute"),
        ("0 */25 * * *", "a step of 25 in the hour"),
        ("0 0 */32 * *", "a step of 32 in the day-of-month"),
        ("0 0 1 1-6/13 *", "a step of 13 in the month"),
        ("0 0 * * mon-fri/8", "a step of 8 in the day-of-week"),
    ],
)
def test_a_step_that_leads_out_of_its_field_is_told(expression, said):
    check_expression(expression)
    assert said in overlong_step(expression)


@pytest.mark.parametrize(
    "expression", ["*/45 * * * *", "*/60 * * * *", "10-20/30 * * * *", "0 */24 */31 */12 */7", "0 0 * * 1#5", " @daily "]
)
def test_a_step_that_is_merely_unusual_is_not_told(expression):
    check_expression(expression)
    assert overlong_step(expression) is None
