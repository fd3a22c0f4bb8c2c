import uuid
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.identifiers import (
    arrival_execution_id,
    asked_at,
    earliest_execution_id,
    execution_id,
    is_execution_id,
    is_workflow_id,
    record_execution_id,
    tick_execution_id,
    triggered_execution_id,
)

NOW = datetime(2026, 11, 24, 1, 2, 3, 456000, tzinfo=timezone.utc)
INSTANTS = st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1), timezones=st.just(timezone.utc))  # noqa: DTZ001


@given(at=INSTANTS, entropy=st.binary(min_size=10, max_size=10))
def test_ids_are_uuids_of_version_7_that_carry_their_instant(at, entropy):
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    made = execution_id(at, entropy)
    assert is_execution_id(made)
    assert uuid.UUID(made).version == 7
    assert uuid.UUID(made).variant == uuid.RFC_4122
    assert asked_at(made) == at
    assert earliest_execution_id(at) <= made < earliest_execution_id(at + timedelta(milliseconds=1))


def test_a_tick_has_one_id():
    assert tick_execution_id("w", NOW) == tick_execution_id("w", NOW)
    assert tick_execution_id("w", NOW) != tick_execution_id("w", NOW + timedelta(milliseconds=1))
    assert tick_execution_id("w", NOW) != tick_execution_id("v", NOW)


def test_a_record_has_one_id():
    assert record_execution_id("t", 0, 1, NOW) == record_execution_id("t", 0, 1, NOW)
    assert len({record_execution_id(*where, NOW) for where in (("t", 0, 1), ("t", 1, 0), ("u", 0, 1), ("t", 0, 11))}) == 4


@given(at=INSTANTS, offsets=st.lists(st.integers(0, 2**26 - 1), min_size=2, max_size=2, unique=True), turn=st.integers(0, 9))
def test_what_records_of_one_millisecond_start_has_ids_in_their_order(at, offsets, turn):
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    smaller, larger = (arrival_execution_id("w", "t", 0, (turn << 26) + offset, at) for offset in sorted(offsets))
    assert smaller < larger
    for made in (smaller, larger):
        assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (7, uuid.RFC_4122)
        assert asked_at(made) == at


def test_a_record_has_one_id_for_each_workflow_that_it_starts():
    others = (("x", "t", 0, 1), ("w", "u", 0, 1), ("w", "t", 1, 1), ("w", "t", 0, 2), ("w", "t", 0, 2**26 + 1))
    places = (("w", "t", 0, 1), *others)
    assert len({arrival_execution_id(*place, NOW) for place in places}) == len(places)
    assert arrival_execution_id("w", "t", 0, 1, NOW) == arrival_execution_id("w", "t", 0, 1, NOW)


@given(at=INSTANTS, numbers=st.lists(st.integers(0, 4_095), min_size=2, max_size=2, unique=True))
def test_what_an_action_triggers_has_ids_in_its_order(at, numbers):
    at = at.replace(microsecond=at.microsecond // 1000 * 1000)
    smaller, larger = (triggered_execution_id("e:a", number, at) for number in sorted(numbers))
    assert execution_id(at, b"\xff" * 10) < smaller < larger, "after what triggers it, too"
    for made in (smaller, larger):
        assert (uuid.UUID(made).version, uuid.UUID(made).variant) == (7, uuid.RFC_4122)
        assert asked_at(made) == at + timedelta(milliseconds=1)


def test_what_an_action_triggers_has_one_id():
    assert triggered_execution_id("e:a", 1, NOW) == triggered_execution_id("e:a", 1, NOW)
    assert len({triggered_execution_id(*each, NOW) for each in (("e:a", 0), ("e:a", 1), ("e:b", 0), ("f:a", 0))}) == 4


@pytest.mark.parametrize("text", ["a", "A-b_c.9", "x" * 128])
def test_workflow_ids(text):
    assert is_workflow_id(text)


@pytest.mark.parametrize("text", ["", "-a", "a b", "a/b", "ä", "x" * 129, "a\n", None, 3])
def test_bad_workflow_ids(text):
    assert not is_workflow_id(text)
