"""Retries are released at their instant, once."""

from datetime import timedelta

from domain.execution import ActionOutcome, Status
from tests.scheduler.memory import START


def at(seconds):
    return START + timedelta(seconds=seconds)


def waiting(world, wake_at, **fields):
    return world.executions.put("w", "e", status=Status.WAITING, wake_at=wake_at, epoch=3, attempt=1, **fields)


async def test_a_retry_is_released_at_its_instant_under_a_new_epoch(world, scheduler):
    waiting(world, at(3))
    await scheduler.passes.look_ahead()
    world.clock.sleep(2.999)
    await scheduler.release()
    assert world.requested == []
    world.clock.sleep(0.001)
    await scheduler.release()
    (request,) = world.published.requests
    assert (request.epoch, request.attempt, request.lost, request.retries_left) == (4, 2, 0, 2)
    assert (request.status, request.requested_at) == (Status.PENDING, at(3))
    assert scheduler.restarts("retry") == 1


async def test_a_delay_is_over_at_its_instant_and_the_attempt_goes_on(world, scheduler):
    begun = ActionOutcome("a", 0, 1, "ok", at(0), at(0))
    waiting(world, at(3), results={begun.key: begun})
    await scheduler.passes.look_ahead()
    world.clock.sleep(3)
    await scheduler.release()
    (request,) = world.published.requests
    assert (request.epoch, request.attempt, request.resume_index) == (4, 1, 1)
    assert scheduler.restarts("woken") == 1


async def test_an_announced_retry_needs_no_pass(world, scheduler):
    execution = waiting(world, at(1))
    scheduler.retries.announce("e", "w", execution.shard, 3, at(1))
    world.clock.sleep(1)
    await scheduler.release()
    assert world.requested == ["e"]


async def test_announced_and_read_it_is_released_once(world, scheduler, another):
    execution = waiting(world, at(1))
    for each in (scheduler, another):
        each.retries.announce("e", "w", execution.shard, 3, at(1))
        await each.passes.look_ahead()
    world.clock.sleep(1)
    await scheduler.release()
    await another.release()
    assert world.requested == ["e"]


async def test_announcements_of_the_past_and_of_the_far_future_are_left_to_the_passes(world, scheduler):
    execution = waiting(world, at(3600))
    scheduler.retries.announce("e", "w", execution.shard, 3, at(3600))
    scheduler.retries.announce("old", "w", execution.shard, 3, at(-3600))
    assert len(scheduler.agenda) == 0


async def test_an_execution_that_moved_on_is_left_alone(world, scheduler):
    waiting(world, at(1))
    await scheduler.passes.look_ahead()
    world.executions.finish("e")
    world.clock.sleep(1)
    await scheduler.release()
    assert world.requested == []
    assert world.executions.found["e"].status is Status.OK


async def test_a_database_outage_leaves_it_to_the_next_pass(world, scheduler):
    waiting(world, at(1))
    await scheduler.passes.look_ahead()
    world.faults.unavailable = {"reissue", "waking"}
    await scheduler.run(3, every=1)
    assert world.requested == []
    world.faults.unavailable = set()
    await scheduler.run(1, every=1)
    assert world.requested == ["e"]
