"""How many executions are open, and for how long the oldest has waited for a runner, is told to Prometheus."""

import pytest
from prometheus_client import generate_latest

from apps.scheduler.census import EVERY
from domain.execution import Status
from tests.scheduler.conftest import Scheduler


@pytest.fixture(autouse=True)
def backlog(world):
    world.executions.put("w1", "e1")
    world.executions.put("w2", "e2", status=Status.RUNNING, owner="r1")


def shown(scheduler):
    lines = generate_latest(scheduler.registry).decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def told(scheduler):
    found = shown(scheduler)
    return found["scheduler_open_executions"], found["scheduler_oldest_pending_seconds"]


async def test_what_is_open_and_the_age_of_the_oldest_pending_one_are_shown(world, scheduler):
    assert told(scheduler) == (0, 0)
    world.clock.sleep(3)
    await scheduler.passes.look_ahead()
    world.clock.sleep(4)  # the age goes on from pass to pass
    assert told(scheduler) == (2, 7)


async def test_it_is_counted_now_and_then(world, scheduler):
    await scheduler.run(2 * EVERY - 5)
    assert world.executions.calls.count("backlog") == 2


async def test_a_scheduler_that_has_lost_its_shards_shows_none(world, scheduler):
    await scheduler.passes.look_ahead()
    scheduler.agenda.assign(frozenset())
    await scheduler.passes.look_ahead()
    assert told(scheduler) == (0, 0)


async def test_while_the_database_is_away_the_last_count_stands(world, scheduler):
    await scheduler.passes.look_ahead()
    world.clock.sleep(EVERY)
    world.faults.unavailable = {"backlog"}
    await scheduler.passes.look_ahead()
    assert told(scheduler) == (2, EVERY)
    assert scheduler.metrics.failed_passes._value.get() == 1


async def test_one_scheduler_counts_for_all(world):
    schedulers = [Scheduler(world, frozenset({0, 1})), Scheduler(world, frozenset({2, 3}))]
    for each in schedulers:
        await each.passes.look_ahead()
    assert [told(each)[0] for each in schedulers] == [2, 0]
