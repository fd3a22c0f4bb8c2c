"""Signals that nobody has acted on are seen to by the scheduler's pass."""

from datetime import timedelta

import pytest

from domain.execution import ActionOutcome, Ended, Status
from domain.signal import Signal
from store.interfaces import StoreUnavailable
from tests.scheduler.memory import START


def at(seconds):
    return START + timedelta(seconds=seconds)


def waiting(world, signal="go"):
    begun = ActionOutcome("approve", 0, 1, "waiting", at(0), at(0), output={"signal": signal})
    return world.executions.put(
        "w", "e", status=Status.WAITING, wake_at=at(3600), epoch=3, attempt=1, results={begun.key: begun}
    )


async def send(world, execution, name="go"):
    await world.signals.put(Signal("e", name, {}, world.clock.wall(), "somebody", execution.shard), 1)


async def test_what_was_signalled_and_not_woken_is_woken_once(world, scheduler, another):
    await send(world, waiting(world))
    world.clock.sleep(2)
    for each in (scheduler, another):
        await each.passes.look_ahead()
    (request,) = world.published.requests
    assert (request.epoch, request.attempt, request.resume_index, request.status) == (4, 1, 0, Status.PENDING)
    assert not world.signals.look_at, "it is heeded"


async def test_what_was_sent_a_moment_ago_is_left_to_its_sender(world, scheduler):
    await send(world, waiting(world))
    world.clock.sleep(1.9)
    await scheduler.passes.look_ahead()
    assert world.requested == []


@pytest.mark.parametrize("awaits", ["other", None])
async def test_what_does_not_wait_for_its_signal_yet_is_looked_at_again(world, scheduler, awaits):
    running = world.executions.put("w", "e", status=Status.RUNNING, epoch=3)
    await send(world, running if awaits is None else waiting(world, awaits))
    world.clock.sleep(2)
    await scheduler.passes.look_ahead()
    assert world.requested == []
    waiting(world)
    world.clock.sleep(29)
    await scheduler.passes.look_ahead()
    assert world.requested == []
    world.clock.sleep(3)
    await scheduler.passes.look_ahead()
    assert world.requested == ["e"]


async def test_what_is_kept_for_long_is_looked_at_seldomer(world, scheduler):
    """Thousands that were sent early to executions of many days were asked for twice a minute, each with three queries."""
    await send(world, waiting(world, "other"))
    world.clock.sleep(100_000)
    await scheduler.passes.look_ahead()
    assert world.signals.look_at == {("e", "go"): world.clock.wall() + timedelta(seconds=10_000)}


@pytest.mark.parametrize("word", ["ended", "removed"])
async def test_the_signal_of_what_has_ended_is_heeded(world, scheduler, word):
    execution = waiting(world)
    await send(world, execution)
    await world.executions.end(Ended("e", "w", Status.CANCELLED, "over", at(1)))
    if word == "removed":
        del world.executions.found["e"]
    world.clock.sleep(2)
    await scheduler.passes.look_ahead()
    assert world.requested == []
    assert not world.signals.look_at


async def test_a_wait_that_is_over_goes_on_without_a_signal(world, scheduler):
    waiting(world)
    world.clock.sleep(3600)
    await scheduler.passes.look_ahead()
    await scheduler.release()
    assert world.requested == ["e"]
    assert scheduler.restarts("woken") == 1


async def test_a_pass_without_the_database_leaves_it_to_the_next_one(world, scheduler, monkeypatch):
    await send(world, waiting(world))
    world.clock.sleep(2)

    async def away(*args):
        raise StoreUnavailable("no answer")

    with monkeypatch.context() as patched:
        patched.setattr(world.signals, "unheeded", away)
        await scheduler.passes.look_ahead()
    assert world.requested == []
    await scheduler.passes.look_ahead()
    assert world.requested == ["e"]
