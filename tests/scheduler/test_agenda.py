"""The agenda releases each entry once, at its own instant by the wall clock."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from apps.scheduler import agenda as agenda_module
from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.clock import wall_clock
from tests.scheduler.memory import START, Clock, settled

ALL = frozenset(range(8))


async def no_time():
    pass


async def turns():
    """Have the loop turn as often as anything here takes that waits for nothing else."""
    for _ in range(20):
        await asyncio.sleep(0)


class Done:
    """Notes what was released."""

    def __init__(self, clock):
        self.clock = clock
        self.log = []
        self.gate = None
        self.has_begun = asyncio.Event()

    def entry(self, name, after, *, kind="tick", revision=0, shard=0):
        async def act():
            self.log.append((name, (self.clock() - START).total_seconds()))
            self.has_begun.set()
            if self.gate is not None:
                await self.gate.wait()

        return Entry((kind, name), name, shard, START + timedelta(seconds=after), act, revision)

    @property
    def names(self):
        return [name for name, _ in self.log]


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def done(clock):
    return Done(clock.wall)


@pytest.fixture
def agenda(clock):
    agenda = Agenda(clock.wall, limit=3)
    agenda.assign(ALL)
    return agenda


async def test_entries_are_released_in_the_order_of_their_instants_and_never_early(agenda, clock, done):
    for name, after in (("c", 3), ("a", 1), ("b", 2)):
        assert agenda.arm(done.entry(name, after))
    assert agenda.next_due == START + timedelta(seconds=1)
    clock.sleep(0.999)
    assert agenda.release() == 0
    clock.sleep(0.001)
    assert agenda.release() == 1
    clock.sleep(5)
    assert agenda.release() == 2
    await settled(agenda)
    assert done.names == ["a", "b", "c"]
    assert len(agenda) == 0
    assert agenda.next_due is None


@pytest.mark.parametrize(
    "first, second, armed",
    [
        pytest.param((0, 5), (0, 5), (0, 5), id="the same again"),
        pytest.param((0, 5), (0, 9), (0, 9), id="a later tick of the same definition"),
        pytest.param((0, 9), (0, 5), (0, 9), id="a stale read of the tick before"),
        pytest.param((0, 9), (1, 5), (1, 5), id="a newer definition that is due earlier"),
        pytest.param((1, 5), (0, 9), (1, 5), id="a stale read of the definition before"),
    ],
)
async def test_of_two_entries_of_one_key_the_newer_stays(agenda, done, first, second, armed):
    assert agenda.arm(done.entry("w", first[1], revision=first[0]))
    assert agenda.arm(done.entry("w", second[1], revision=second[0])) is (armed != first)
    left = agenda.armed(("tick", "w"))
    assert (left.revision, (left.due - START).total_seconds()) == armed
    assert len(agenda) == 1


async def test_a_replaced_entry_is_not_released(agenda, clock, done):
    agenda.arm(done.entry("w", 1, revision=1))
    agenda.arm(done.entry("w", 2, revision=2))
    clock.sleep(1)
    assert agenda.release() == 0, "nor what has replaced it, at the instant of the other"
    clock.sleep(1)
    assert agenda.release() == 1
    await settled(agenda)
    assert done.names == ["w"]


async def test_what_is_in_flight_is_not_armed_again_but_its_successor_is(agenda, clock, done):
    done.gate = asyncio.Event()
    agenda.arm(done.entry("w", 0))
    agenda.release()
    await asyncio.sleep(0)
    assert agenda.in_flight == 1
    assert not agenda.arm(done.entry("w", 0))
    assert agenda.arm(done.entry("w", 1))
    clock.sleep(1)
    agenda.release()
    await asyncio.sleep(0)
    assert done.names == ["w"], "the next one waits for the one before"
    done.gate.set()
    await settled(agenda)
    assert done.names == ["w", "w"]
    assert agenda.in_flight == 0


async def test_no_more_than_the_limit_are_in_flight(agenda, done):
    done.gate = asyncio.Event()
    for number in range(8):
        agenda.arm(done.entry(f"w{number}", 0))
    assert agenda.release() == 8
    await asyncio.sleep(0)
    assert len(done.log) == 3
    done.gate.set()
    await settled(agenda)
    assert len(done.log) == 8


async def test_of_those_that_wait_for_a_place_the_one_that_was_due_first_gets_it(agenda, clock, done):
    done.gate = asyncio.Event()
    for number in range(3, 9):
        agenda.arm(done.entry(f"due at {number}", number))
    clock.sleep(10)
    agenda.release()
    agenda.arm(done.entry("due at 1", 1))
    agenda.arm(done.entry("due at 10", 10))
    agenda.release()
    done.gate.set()
    await settled(agenda)
    assert done.names == [f"due at {number}" for number in (3, 4, 5, 1, 6, 7, 8, 10)]


async def test_what_is_promised_waits_for_no_place(agenda, done):
    """It is a tick that is admitted already: behind a backlog it would be published when that is over."""
    done.gate = asyncio.Event()
    for number in range(10):
        agenda.arm(done.entry(f"tick {number}", 0))
    agenda.release()
    agenda.arm(replace(done.entry("publish", 0, kind="publish"), promised=True))
    agenda.release()
    await asyncio.sleep(0)
    assert done.names == ["tick 0", "tick 1", "tick 2", "publish"]
    done.gate.set()
    await settled(agenda)


async def test_the_end_of_entries_can_be_waited_for_but_not_longer_than_that(agenda, done):
    done.gate = asyncio.Event()
    agenda.arm(done.entry("a", 0))
    await agenda.finish([("tick", "a")], 10)  # nothing is released yet: nothing to wait for
    agenda.start()
    await agenda.finish([("tick", "a")], 0.01)
    assert done.names == ["a"]
    agenda.arm(replace(done.entry("b", 0), act=no_time))
    waiting = asyncio.ensure_future(agenda.finish([("tick", "a"), ("tick", "b"), ("tick", "unknown")], 600))
    await turns()
    assert agenda.in_flight == 1
    assert not waiting.done()
    done.gate.set()
    await turns()
    assert waiting.done()
    await waiting
    assert agenda.in_flight == 0
    await agenda.stop()


async def test_disarmed_entries_are_forgotten(agenda, clock, done):
    agenda.arm(done.entry("a", 1))
    agenda.arm(done.entry("b", 1))
    agenda.disarm(("tick", "a"))
    agenda.disarm(("tick", "unknown"))
    clock.sleep(1)
    agenda.release()
    await settled(agenda)
    assert done.names == ["b"]


async def test_what_is_armed_next_is_told_whatever_was_forgotten_or_replaced_before_it(agenda, done):
    for number in range(3):
        agenda.arm(done.entry(f"gone {number}", 1))
    agenda.arm(done.entry("w", 1, revision=1))
    agenda.arm(done.entry("w", 2, revision=2))
    for number in range(3):
        agenda.disarm(("tick", f"gone {number}"))
    assert agenda.next_due == START + timedelta(seconds=2)


async def test_what_is_disarmed_while_the_one_before_of_its_key_is_in_flight_is_forgotten_too(agenda, done):
    done.gate = asyncio.Event()
    agenda.arm(done.entry("w", -1))
    agenda.release()
    agenda.arm(done.entry("w", 0))
    agenda.release()
    agenda.disarm(("tick", "w"))
    done.gate.set()
    await settled(agenda)
    assert done.names == ["w"]


async def test_what_is_promised_is_done_here_though_its_shard_is_somebody_elses_by_now(agenda, done):
    publish = replace(done.entry("before", 0, kind="publish", shard=1), promised=True)
    assert agenda.arm(publish)
    agenda.assign(frozenset({2}))
    assert agenda.arm(replace(done.entry("after", 0, kind="publish", shard=1), promised=True))
    agenda.release()
    await settled(agenda)
    assert done.names == ["before", "after"]


async def test_a_revoked_shard_takes_its_entries_with_it_even_those_that_wait_for_a_place(agenda, clock, done):
    done.gate = asyncio.Event()
    for number in range(5):
        agenda.arm(done.entry(f"due{number}", 0, shard=1))
    agenda.arm(done.entry("later", 1, shard=1))
    agenda.arm(done.entry("other", 1, shard=2))
    agenda.release()
    await asyncio.sleep(0)
    agenda.assign(frozenset({2}))
    assert not agenda.arm(done.entry("new", 0, shard=1))
    clock.sleep(1)
    agenda.release()
    done.gate.set()
    await settled(agenda)
    assert done.names == ["due0", "due1", "due2", "other"]


async def test_a_read_disarms_what_it_did_not_find_but_spares_what_came_later(agenda, done):
    agenda.arm(done.entry("found", 1))
    agenda.arm(done.entry("gone", 1))
    agenda.arm(done.entry("beyond", 60))
    agenda.arm(done.entry("retry", 1, kind="retry"))
    serial = agenda.serial
    agenda.arm(done.entry("since", 1))
    agenda.retain("tick", {("tick", "found")}, until=START + timedelta(seconds=8), serial=serial)
    names = ("found", "gone", "beyond", "since")
    assert [name for name in names if agenda.armed(("tick", name))] == ["found", "beyond", "since"]
    assert agenda.armed(("retry", "retry"))


async def test_an_entry_that_fails_stops_nothing_and_is_logged(agenda, done, logs):
    async def explode():
        raise RuntimeError("boom")

    agenda.arm(Entry(("tick", "bad"), "bad", 0, START, explode))
    agenda.arm(done.entry("good", 0))
    agenda.release()
    await settled(agenda)
    assert done.names == ["good"]
    assert agenda.in_flight == 0
    assert [entry["workflow_id"] for entry in logs if entry["event"] == "agenda entry failed"] == ["bad"]


async def test_the_wall_clock_stepping_back_releases_nothing_twice_and_nothing_early(agenda, clock, done):
    agenda.arm(done.entry("a", 1))
    agenda.arm(done.entry("b", 2))
    clock.sleep(1)
    agenda.release()
    clock.step(-3600)
    assert agenda.release() == 0
    clock.sleep(3600)
    assert agenda.release() == 0
    clock.sleep(1)
    assert agenda.release() == 1
    await settled(agenda)
    assert done.names == ["a", "b"]


async def test_the_wall_clock_stepping_forth_is_noticed_by_the_running_agenda(monkeypatch, clock, done):
    monkeypatch.setattr(agenda_module, "RECHECK", 0.005)
    agenda = Agenda(clock.wall)
    agenda.assign(ALL)
    agenda.start()
    agenda.arm(done.entry("a", 3600))
    clock.step(7200)
    await done.has_begun.wait()
    assert done.names == ["a"]
    await agenda.stop()


async def test_the_running_agenda_wakes_for_an_entry_armed_ahead_of_the_others_and_for_the_one_after(monkeypatch):
    monkeypatch.setattr(agenda_module, "RECHECK", 3600)
    late = []
    agenda = Agenda(wall_clock, on_release=lambda entry, lateness: late.append(lateness))
    agenda.assign(ALL)
    agenda.start()
    reached = {name: asyncio.Event() for name in ("soon", "next")}
    now = wall_clock()
    agenda.arm(Entry(("tick", "later"), "later", 0, now + timedelta(hours=1), no_time))
    for name, after in (("soon", 30), ("next", 60)):

        async def act(name=name):
            reached[name].set()

        agenda.arm(Entry(("tick", name), name, 0, now + timedelta(milliseconds=after), act))
    for event in reached.values():
        await asyncio.wait_for(event.wait(), 60)
    assert min(late) >= timedelta(0)
    assert len(agenda) == 1
    await agenda.stop()
    assert len(agenda) == 0


async def test_stopping_lets_what_is_in_flight_finish_and_cancels_what_hangs(agenda, done):
    agenda.arm(done.entry("quick", 0))
    agenda.start()
    await agenda.stop()
    assert done.names == ["quick"]
    hanging = Done(wall_clock)
    hanging.gate = asyncio.Event()
    agenda.arm(hanging.entry("hangs", 0))
    agenda.start()
    await asyncio.sleep(0)
    await agenda.stop(grace=0.01)
    assert agenda.in_flight == 0


async def test_many_replacements_do_not_pile_up(agenda, done):
    agenda.arm(done.entry("late", 7200))
    agenda.arm(done.entry("soon", 10))
    for number in range(5000):
        agenda.arm(done.entry("w", 3600, revision=number))
    assert len(agenda) == 3
    assert len(agenda._heap) < 1100
    assert agenda.next_due == START + timedelta(seconds=10)
