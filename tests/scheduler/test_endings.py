"""What is over its time ends then, and every end is told to the runners sooner or later."""

from datetime import timedelta

import pytest

from apps.scheduler.taken import Reach
from domain.execution import Ended, Status
from tests.scheduler.memory import START, Crash


def at(seconds):
    return START + timedelta(seconds=seconds)


async def live(world, scheduler, seconds):
    """Let time pass: the requests and deadlines are watched every second, a pass is made every 5 s."""
    for number in range(seconds):
        await scheduler.passes.watch_requests()
        await scheduler.passes.watch_deadlines()
        if number % 5 == 0:
            await scheduler.passes.look_ahead()
        await scheduler.release()
        world.clock.sleep(1)


def limited(world, timeout):
    """Have a workflow whose executions may take so long."""
    definition = {"trigger": {"type": "manual"}, "retries": 2, "timeout": timeout}
    world.workflows.put("w", definition=definition, next_run=None)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="that nobody has taken"),
        pytest.param({"status": Status.RUNNING, "owner": "r"}, id="that runs"),
        pytest.param({"status": Status.RUNNING, "owner": "dead"}, id="whose runner is being replaced"),
        pytest.param({"status": Status.WAITING, "wake_at": at(60)}, id="that waits for a retry"),
    ],
)
async def test_an_execution_ends_at_its_deadline(world, scheduler, fields):
    limited(world, "7s")
    world.executions.put("w", "e", deadline=at(7), **fields)
    await live(world, scheduler, 7)
    assert world.executions.found["e"].status.is_open
    await live(world, scheduler, 2)
    (ended,) = world.published.ends
    assert (ended.status, ended.reason, ended.lock_key) == (Status.FAILED, "timed out after 7s", None)
    assert ended.finished_at == at(7)
    assert not world.executions.ends_untold
    assert scheduler.restarts("timed-out") == 1


@pytest.mark.parametrize(
    "taken", [pytest.param(0, id="that waits in the log for its admission"), pytest.param(1, id="that was taken at once")]
)
async def test_one_that_was_requested_between_two_passes_ends_at_its_deadline(world, scheduler, taken):
    limited(world, "2s")
    await live(world, scheduler, 1)
    world.requests.found[3] = Reach(1, taken)
    if not taken:
        await live(world, scheduler, 1)
    deadline = world.clock.wall() + timedelta(seconds=2)
    world.executions.put("w", "e", deadline=deadline)
    await live(world, scheduler, 3)
    assert world.executions.found["e"].finished_at == deadline


async def test_while_nothing_is_requested_deadlines_are_read_once_a_pass(world, scheduler):
    await live(world, scheduler, 1)
    world.faults.unavailable = {"expiring"}
    await live(world, scheduler, 10)
    assert scheduler.registry.get_sample_value("scheduler_failed_passes_total") == 2


async def test_the_end_tells_the_timeout_however_long_it_was_asked_for_before_it_was_accepted(world, scheduler):
    limited(world, "1m30s")
    world.executions.put("w", "e", created_at=at(-7200), deadline=at(2))
    await live(world, scheduler, 3)
    assert world.executions.found["e"].reason == "timed out after 1m30s"


async def test_one_that_finished_in_time_is_left_alone(world, scheduler):
    world.executions.put("w", "e", deadline=at(7))
    await live(world, scheduler, 5)
    world.executions.finish("e")
    await live(world, scheduler, 5)
    assert world.executions.found["e"].status is Status.OK
    assert world.published.ends == []


async def test_a_deadline_that_fell_into_an_outage_is_kept_afterwards(world, scheduler):
    limited(world, "2s")
    world.executions.put("w", "e", deadline=at(2))
    world.faults.unavailable = {"expiring"}
    await live(world, scheduler, 6)
    assert world.executions.found["e"].status.is_open
    world.faults.unavailable = set()
    await live(world, scheduler, 2)
    assert world.executions.found["e"].reason == "timed out after 2s"


async def test_a_deadline_at_which_the_database_is_away_is_kept_afterwards(world, scheduler):
    limited(world, "2s")
    world.executions.put("w", "e", deadline=at(2))
    world.faults.unavailable = {"end"}
    await live(world, scheduler, 6)
    assert world.executions.found["e"].status.is_open
    world.faults.unavailable = set()
    await live(world, scheduler, 6)
    assert world.executions.found["e"].reason == "timed out after 2s"


async def test_an_end_that_kafka_did_not_take_is_told_when_it_is_back(world, scheduler):
    world.executions.put("w", "e")
    await world.executions.end(Ended("e", "w", Status.CANCELLED, "cancelled", at(0)))
    world.published.down = True
    await live(world, scheduler, 12)
    assert world.executions.ends_untold == {"e"}
    world.published.down = False
    await live(world, scheduler, 6)
    assert [end.execution_id for end in world.published.ends] == ["e"]
    assert not world.executions.ends_untold


async def test_a_crash_between_the_end_and_the_news_is_mended_by_another_scheduler(world, scheduler, another):
    execution = world.executions.put("w", "e")
    world.faults.crash_after = "end"
    with pytest.raises(Crash):
        await scheduler.endings.end(execution, "given up", "given-up")
    world.faults.crash_after = None
    await live(world, another, 6)
    assert [end.execution_id for end in world.published.ends] == ["e"]
