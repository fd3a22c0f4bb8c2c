"""What tells the scheduler that a runner is alive."""

import asyncio

import pytest

from apps.runner.heartbeat import Heartbeats
from store.interfaces import StoreUnavailable
from tests.fakes.stores import FakeRunners


class Recording(FakeRunners):
    """Notes the beats that arrive; ``troubles`` are what the next attempts meet instead."""

    def __init__(self):
        super().__init__()
        self.arrived = asyncio.Queue()
        self.troubles = []

    async def beat(self, heartbeat):
        if self.troubles:
            await self.troubles.pop(0)()
        await super().beat(heartbeat)
        self.arrived.put_nowait(heartbeat.beat)


@pytest.fixture
def runners():
    return Recording()


@pytest.fixture
def heartbeats(runners):
    return Heartbeats(runners, runner="r1", interval=0.001)


async def unavailable(*_):
    raise StoreUnavailable("away")


async def test_a_runner_is_known_before_it_takes_anything_and_gone_when_it_has_stopped(runners):
    async with Heartbeats(runners, runner="r1", interval=3600):
        (heartbeat,) = runners.beats.values()
        assert (heartbeat.runner, heartbeat.beat) == ("r1", 1)
        assert set(heartbeat.info) == {"host", "pid", "started_at"}
    assert runners.beats == {}


async def test_every_beat_is_another_one(runners, heartbeats):
    """The scheduler takes a runner whose beat stays the same for dead: it compares no clocks."""
    async with heartbeats:
        assert [await runners.arrived.get() for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize("trouble", [unavailable, asyncio.Event().wait], ids=["refuses", "never answers"])
async def test_beats_go_on_after_one_that_the_database_did_not_take(runners, heartbeats, trouble):
    runners.troubles = [trouble]
    async with heartbeats:
        assert await runners.arrived.get() > 1


async def test_a_runner_stops_though_the_database_is_away(runners, heartbeats):
    runners.remove = unavailable
    async with heartbeats:
        pass
    assert set(runners.beats) == {"r1"}
