"""What may be committed, and what is certainly new."""

from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

from faust.types import TP

from apps.runner.acknowledgement import OrderedAcks
from apps.runner.positions import Positions

PARTITION = TP("workflow.execution", 3)
ASSIGNED = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


class Event:
    def __init__(self, offset, acked):
        self.message = SimpleNamespace(tp=PARTITION, offset=offset)
        self.ack = lambda: acked.append(offset)


def test_events_are_acknowledged_in_their_order():
    acked = []
    acks = OrderedAcks()
    first, second, third = (acks.take(Event(offset, acked)) for offset in (10, 11, 12))
    second.finish()
    assert acked == []
    first.finish()
    assert acked == [10, 11]
    third.finish()
    assert acked == [10, 11, 12]


def test_what_is_finished_after_its_partition_was_taken_away_is_not_acknowledged():
    """Faust commits the first run of consecutive offsets: 12 alone would pass 10 and 11, which are to come again."""
    acked = []
    acks = OrderedAcks()
    tickets = [acks.take(Event(offset, acked)) for offset in (10, 11, 12)]
    acks.forget({PARTITION})
    again = acks.take(Event(10, acked))
    for ticket in reversed(tickets):
        ticket.finish()
    assert acked == []
    again.finish()
    assert acked == [10]


def test_a_record_is_certainly_new_only_the_first_time_under_an_assignment():
    positions = Positions(session_timeout=10)
    positions.assigned({PARTITION: 5}, {PARTITION: 3}, ASSIGNED)
    later = ASSIGNED + timedelta(seconds=2)
    assert [positions.is_new(PARTITION, offset, later) for offset in (4, 5)] == [False, True]
    assert [positions.take(PARTITION, offset) for offset in (3, 4, 5, 6)] == [True] * 4
    assert [positions.take(PARTITION, offset) for offset in (5, 6)] == [False] * 2
    assert positions.take(PARTITION, 7)
    positions.revoked({PARTITION})
    assert not positions.is_new(PARTITION, 7, later)


def test_the_copy_of_an_earlier_request_is_not_certainly_new():
    """Its producer lost an acknowledgement: the first copy lies below, and went to whoever had the partition before."""
    positions = Positions(session_timeout=10)
    positions.assigned({PARTITION: 5}, {PARTITION: 3}, ASSIGNED)
    assert not positions.is_new(PARTITION, 5, ASSIGNED - timedelta(seconds=1))
    assert not positions.is_new(PARTITION, 5, ASSIGNED + timedelta(seconds=0.5)), "the clocks may differ a little"
