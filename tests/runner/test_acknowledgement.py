"""What may be committed, and what is certainly new."""

import asyncio
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from faust.types import TP

from apps.runner.acknowledgement import OrderedAcks, see_to
from apps.runner.app import Pulse
from apps.runner.patience import stubbornly
from apps.runner.positions import Positions
from events.topics import ACTION_RESULT
from store.interfaces import StoreUnavailable

PARTITION = TP("workflow.execution", 3)
RESULTS = TP(ACTION_RESULT.name, 3)
ASSIGNED = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)


class Event:
    def __init__(self, offset, acked):
        self.message = SimpleNamespace(topic=PARTITION.topic, tp=PARTITION, offset=offset)
        self.ack = lambda: acked.append(offset)


def test_events_are_acknowledged_in_their_order():
    acked, heard = [], []
    acks = OrderedAcks(lambda partition, offset: heard.append((partition, offset)))
    first, second, third = (acks.take(Event(offset, acked)) for offset in (10, 11, 12))
    second.finish()
    assert acked == heard == []
    first.finish()
    assert acked == [10, 11]
    third.finish()
    assert acked == [10, 11, 12]
    assert heard == [(PARTITION, offset) for offset in acked]


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
    assert positions.take(PARTITION, 7), "it is delivered again"


def test_the_copy_of_an_earlier_request_is_not_certainly_new():
    """Its producer lost an acknowledgement: the first copy lies below, and went to whoever had the partition before."""
    positions = Positions(session_timeout=10)
    positions.assigned({PARTITION: 5}, {PARTITION: 3}, ASSIGNED)
    assert not positions.is_new(PARTITION, 5, ASSIGNED - timedelta(seconds=1))
    assert not positions.is_new(PARTITION, 5, ASSIGNED + timedelta(seconds=0.5)), "the clocks may differ a little"


@pytest.mark.parametrize("fails", [False, True])
async def test_what_fails_in_an_agent_is_refused_rather_than_lost_or_stuck(fails):
    acked, refused = [], []
    ticket = OrderedAcks().take(Event(10, acked))

    async def work():
        if fails:
            raise ValueError("oops")
        ticket.finish()

    async def refuse(ticket, reason):
        refused.append(reason)
        ticket.finish()

    await see_to(ticket, work(), refuse)
    assert (acked, refused) == ([10], ["ValueError: oops"] if fails else [])


async def test_what_is_taken_is_dealt_with_however_long_the_database_is_away(monkeypatch):
    monkeypatch.setattr("apps.runner.patience.RETRY_DELAY", 0)
    troubles = [StoreUnavailable("away")] * 3

    async def call():
        if troubles:
            raise troubles.pop()
        return "done"

    assert await stubbornly(call) == "done"


async def returns_at_once(work):
    task = asyncio.ensure_future(work)
    await asyncio.sleep(0)
    is_done = task.done()
    task.cancel()
    return is_done


@pytest.mark.parametrize(
    ("before", "committed", "is_written"),
    [(None, 5, True), (None, 4, False), (4, 3, True), (3, 3, False), (3, 5, True)],
    ids=[
        "all was committed", "one is left", "the rest was written while the offsets were asked for",
        "only a part of the rest was", "what is committed is further",
    ],
)  # fmt: skip
async def test_a_claim_waits_for_the_results_that_were_there_before(before, committed, is_written):
    """Without them it would run again what has succeeded; and it must not wait where nothing is to come."""
    positions = Positions(session_timeout=10)
    if before is not None:
        positions.written(RESULTS, before)
    positions.assigned({RESULTS: 5}, {RESULTS: committed}, ASSIGNED)
    assert await returns_at_once(positions.caught_up(3)) is is_written
    positions.written(RESULTS, 4)
    assert await returns_at_once(positions.caught_up(3))
    positions.written(RESULTS, 1)
    assert await returns_at_once(positions.caught_up(3)), "an older record does not undo it"


async def test_what_was_written_of_a_partition_says_nothing_of_it_when_it_comes_back():
    """The topic may have been made anew meanwhile: what is at those offsets are others."""
    positions = Positions(session_timeout=10)
    positions.assigned({RESULTS: 5}, {RESULTS: 3}, ASSIGNED)
    positions.written(RESULTS, 9)
    positions.revoked({RESULTS})
    positions.assigned({RESULTS: 5}, {RESULTS: 3}, ASSIGNED)
    assert not await returns_at_once(positions.caught_up(3))


async def test_a_claim_does_not_wait_for_ever_for_results_that_do_not_come(monkeypatch):
    monkeypatch.setattr("apps.runner.positions.CATCH_UP_TIMEOUT", 0)
    positions = Positions(session_timeout=10)
    positions.assigned({RESULTS: 5}, {RESULTS: 3}, ASSIGNED)
    await asyncio.wait_for(positions.caught_up(3), 60)


async def test_after_a_suspension_nothing_is_taken_before_kafka_had_time_to_tell(monkeypatch):
    clock = 0.0
    monkeypatch.setattr("apps.runner.positions.time", SimpleNamespace(monotonic=lambda: clock))
    positions = Positions(session_timeout=0.02)
    clock = 0.009
    assert await returns_at_once(positions.settle())
    clock = 0.01
    assert not await returns_at_once(positions.settle())
    await positions.settle()
    assert await returns_at_once(positions.settle()), "it has waited"


async def test_a_process_that_had_to_wait_for_its_database_was_not_suspended(monkeypatch, logs):
    clock = 0.0
    monkeypatch.setattr("apps.runner.positions.time", SimpleNamespace(monotonic=lambda: clock))
    positions = Positions(session_timeout=10)
    clock = 60.0
    async with Pulse(positions):
        assert await returns_at_once(positions.settle())
    assert logs == []
