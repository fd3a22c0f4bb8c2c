"""How many executions are open, and for how long, is told to Prometheus."""

from prometheus_client import generate_latest

from tests.scheduler.conftest import Scheduler


def shown(scheduler):
    lines = generate_latest(scheduler.registry).decode().splitlines()
    found = (line.rpartition(" ") for line in lines if line.startswith(("scheduler_open_", "scheduler_oldest_")))
    return {name: float(value) for name, _, value in found}


async def test_open_executions_and_the_age_of_the_oldest_are_shown(world, scheduler):
    assert set(shown(scheduler).values()) == {0}
    world.executions.put("w1", "e1")
    world.clock.sleep(3)
    world.executions.put("w2", "e2", created_at=world.clock.wall())
    await scheduler.passes.look_ahead()
    world.clock.sleep(4)  # the age goes on from pass to pass
    found = shown(scheduler)
    assert found['scheduler_open_executions{status="pending"}'] == 2
    assert found['scheduler_open_executions{status="waiting"}'] == 0
    assert found['scheduler_oldest_open_seconds{status="pending"}'] == 7


async def test_a_scheduler_that_has_lost_its_shards_shows_none(world, scheduler):
    world.executions.put("w1", "e1")
    await scheduler.passes.look_ahead()
    scheduler.agenda.assign(frozenset())
    await scheduler.passes.look_ahead()
    assert set(shown(scheduler).values()) == {0}


async def test_while_the_database_is_away_the_last_count_stands(world, scheduler):
    world.executions.put("w1", "e1")
    await scheduler.passes.look_ahead()
    world.faults.unavailable = {"census"}
    await scheduler.passes.look_ahead()
    assert shown(scheduler)['scheduler_open_executions{status="pending"}'] == 1
    assert scheduler.metrics.failed_passes._value.get() == 1


async def test_two_schedulers_count_their_own(world):
    execution = world.executions.put("w1", "e1")
    with_it = Scheduler(world, frozenset({execution.shard}))
    without = Scheduler(world, frozenset(range(8)) - {execution.shard})
    for each in (with_it, without):
        await each.passes.look_ahead()
    assert [shown(each)['scheduler_open_executions{status="pending"}'] for each in (with_it, without)] == [1, 0]
