"""What is over its retention is removed a little at a time, by one scheduler of several, and holds nothing up."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from apps.scheduler.agenda import Agenda
from apps.scheduler.metrics import Metrics
from apps.scheduler.retention import LONGEST, Retention
from store.interfaces import StoreUnavailable
from tests.scheduler.memory import ALL_SHARDS, START, Clock


class Collection:
    """Documents that are over; a step removes three of them and takes a tenth of a second."""

    def __init__(self, clock, name, over=0):
        self.clock = clock
        self.name = name
        self.over = over
        self.asked = []
        self.fails = None
        self.is_closed = False

    async def sweep(self, now):
        self.asked.append(now)
        try:
            while self.over:
                if self.fails is not None:
                    raise self.fails
                self.clock.sleep(0.1)
                removed = min(self.over, 3)
                self.over -= removed
                yield removed
        finally:
            self.is_closed = True


class World:
    """A scheduler's sweeper, and what it sweeps."""

    def __init__(self):
        self.clock = Clock()
        self.skew = 0.0
        self.few = Collection(self.clock, "few", 4)
        self.many = Collection(self.clock, "many", 10)
        self.agenda = Agenda(self.clock.wall)
        self.agenda.assign(ALL_SHARDS)
        self.registry = CollectorRegistry()
        self.pauses = []
        self.on_pause = lambda: None
        self.server_is_away = False
        self.retention = Retention(
            [self.few, self.many],
            agenda=self.agenda,
            server_time=self.server_time,
            clock=self.clock.wall,
            monotonic=self.clock.monotonic,
            sleep=self.sleep,
            metrics=Metrics(self.registry),
        )

    async def server_time(self):
        if self.server_is_away:
            raise StoreUnavailable("no answer")
        self.clock.step(-self.skew)
        now = self.clock.wall()
        self.clock.step(self.skew)
        return now

    async def sleep(self, seconds):
        self.pauses.append((round(seconds, 3), self.few.over, self.many.over))
        self.clock.sleep(seconds)
        self.on_pause()

    @property
    def left(self):
        return self.few.over, self.many.over

    def removed(self, name):
        return self.registry.get_sample_value("scheduler_removed_total", {"collection": name})


@pytest.fixture
def world():
    return World()


async def test_everything_is_removed_in_turns_and_counted(world):
    await world.retention.sweep()
    assert world.left == (0, 0)
    assert [over for _, *over in world.pauses] == [[1, 10], [1, 7], [0, 7], [0, 4], [0, 1], [0, 0]]
    assert (world.removed("few"), world.removed("many")) == (4, 10)


async def test_after_each_step_others_have_twice_its_time(world):
    await world.retention.sweep()
    assert {seconds for seconds, *_ in world.pauses} == {0.2}


async def test_a_sweep_ends_before_the_next_is_due(world):
    world.many.over = 3 * 1000
    await world.retention.sweep()
    assert LONGEST <= world.clock.elapsed - 1000 < LONGEST + 1
    assert world.few.over == 0 and world.many.over > 0
    assert world.many.is_closed
    while world.many.over:
        before = world.many.over
        await world.retention.sweep()
        assert world.many.over < before


@pytest.mark.parametrize(("shards", "left"), [({0}, (0, 0)), ({0, 5}, (0, 0)), ({1, 2, 3}, (4, 10)), (set(), (4, 10))])
async def test_one_scheduler_sweeps_for_all(world, shards, left):
    world.agenda.assign(frozenset(shards))
    await world.retention.sweep()
    assert world.left == left


async def test_whoever_loses_the_shard_leaves_off(world):
    world.on_pause = lambda: world.agenda.assign(frozenset({1}))
    await world.retention.sweep()
    assert world.left == (1, 10)
    assert world.few.is_closed


@pytest.mark.parametrize(("ahead", "off"), [(3600.0, -3600.0), (-3600.0, 0.0)], ids=["ours", "the server's"])
async def test_of_two_clocks_the_one_counts_that_removes_less(world, ahead, off):
    world.skew = ahead
    await world.retention.sweep()
    assert [(asked - START).total_seconds() for asked in world.few.asked] == [off]


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("unforeseen")], ids=["foreseen", "unforeseen"])
async def test_what_fails_is_left_to_the_next_sweep(world, error):
    world.on_pause = lambda: setattr(world.many, "fails", error)
    await world.retention.sweep()
    assert world.left == (1, 10)
    world.on_pause, world.many.fails = lambda: None, None
    await world.retention.sweep()
    assert world.left == (0, 0)


async def test_an_outage_is_left_to_the_next_sweep(world):
    world.server_is_away = True
    await world.retention.sweep()
    assert world.left == (4, 10) and world.few.asked == []
    world.server_is_away = False
    await world.retention.sweep()
    assert world.left == (0, 0)


async def test_a_scheduler_that_stops_stops_its_sweep(world):
    stuck = asyncio.Event()

    async def forever(_):
        stuck.set()
        await asyncio.Event().wait()

    world.retention._sleep = forever
    sweep = asyncio.ensure_future(world.retention.sweep())
    await stuck.wait()
    sweep.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sweep
    assert world.few.is_closed
