"""What is over its time ends then, and every end is told to the runners sooner or later."""

from datetime import timedelta

import pytest

from apps.scheduler.taken import Reach
from domain.execution import ActionFinished, ActionOutcome, Ended, Restart, Restarted, Status
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


def handled(world, timeout, **handlers):
    """Have one whose executions are followed by handlers."""
    steps = {name: [{"type": "log"}] * count for name, count in handlers.items()}
    definition = {"trigger": {"type": "manual"}, "retries": 2, "timeout": timeout, **steps}
    world.workflows.put("w", definition=definition, next_run=None)


def result(index, status, *, epoch, next_index=None, at=0, error=None, deadline=None):
    done = ActionOutcome(
        f"a{index}", index, 1, "failed" if error else "ok", START, START + timedelta(seconds=at), error=error,
        next_index=next_index,
    )  # fmt: skip
    return ActionFinished("e", "w", epoch, 1, done, status, 2, "r", deadline=deadline)


OPEN = [
    pytest.param({}, None, id="that nobody has taken"),
    pytest.param({"status": Status.RUNNING, "owner": "r", "started_at": at(1)}, at(1), id="that runs"),
    pytest.param({"status": Status.WAITING, "wake_at": at(60)}, None, id="that waits for a retry"),
]


@pytest.mark.parametrize(("fields", "since"), OPEN)
@pytest.mark.parametrize("name", ["on_failure", "finally_"])
async def test_one_that_has_handlers_goes_on_with_them_at_its_deadline(world, scheduler, name, fields, since):
    handled(world, "7s", **{name: 1})
    world.executions.put("w", "e", deadline=at(7), **fields)
    await live(world, scheduler, 9)
    found = world.executions.found["e"]
    assert (found.status, found.epoch, found.deadline, found.requested_at) == (Status.PENDING, 2, None, at(7))
    how = Restarted(at(7), Restart.TIMED_OUT, 1, 0, runner=fields.get("owner"), since=since, reason="timed out after 7s")
    assert found.cut_short == how
    assert [(each.execution_id, each.epoch) for each in world.published.requests] == [("e", 2)]
    assert (world.published.ends, scheduler.restarts("timed-out")) == ([], 1)


@pytest.mark.parametrize(("next_index", "name"), [(1, "onFailure"), (2, "finally")])
async def test_it_ends_when_the_time_of_its_handlers_is_over_as_well(world, scheduler, next_index, name):
    """Which begins when they do: nobody may have been there to run them."""
    handled(world, "7s", on_failure=1, finally_=1)
    world.executions.put("w", "e", deadline=at(7))
    await live(world, scheduler, 60)
    taken = await world.executions.claim("e", world.executions.found["e"].epoch, "r", at(60))
    error = {"class": "timed-out"}
    failed = result(0, Status.RUNNING, epoch=taken.epoch, next_index=next_index, at=60, error=error, deadline=at(67))
    await world.executions.project([failed])
    await live(world, scheduler, 7)
    assert world.executions.found["e"].status.is_open
    await live(world, scheduler, 6)
    (ended,) = world.published.ends
    assert (ended.status, ended.reason) == (Status.FAILED, f"timed out after 7s, and so did {name}")
    assert ended.finished_at == at(67)
    assert scheduler.restarts("handlers-timed-out") == 1


async def test_where_it_was_given_up_before_it_tells_that_first(world, scheduler):
    handled(world, "7s", finally_=1)
    cut = Restarted(START, Restart.GIVEN_UP, 1, 0, reason="given up: so often")
    world.executions.put("w", "e", deadline=at(7), restarts=(cut,))
    taken = await world.executions.claim("e", 1, "r", at(1))
    error = {"class": "given-up"}
    await world.executions.project([result(0, Status.RUNNING, epoch=taken.epoch, next_index=1, error=error, deadline=at(8))])
    await live(world, scheduler, 9)
    (ended,) = world.published.ends
    assert ended.reason == "given up: so often; finally timed out after 7s"


async def test_what_has_come_to_its_handlers_by_itself_is_not_disturbed_and_has_a_time_of_its_own(world, scheduler):
    """Also where the deadline of the actions was armed before that."""
    handled(world, "7s", finally_=1)
    world.executions.put("w", "e", deadline=at(7), status=Status.RUNNING, owner="r")
    await live(world, scheduler, 6)
    done = result(0, Status.RUNNING, epoch=1, at=6, deadline=at(13))
    await world.executions.project([done])
    await live(world, scheduler, 7)
    found = world.executions.found["e"]
    assert (found.status, found.epoch, world.published.requests) == (Status.RUNNING, 1, [])
    await live(world, scheduler, 6)
    (ended,) = world.published.ends
    assert (ended.reason, ended.finished_at) == ("finally timed out after 7s", at(13))


async def test_what_is_queued_has_begun_nothing_and_ends_at_its_deadline(world, scheduler):
    handled(world, "7s", on_failure=1)
    world.executions.put("w", "e", deadline=at(7), status=Status.QUEUED)
    await live(world, scheduler, 9)
    (ended,) = world.published.ends
    assert (ended.reason, world.published.requests) == ("timed out after 7s", [])


async def test_what_cannot_be_taken_to_its_handlers_while_the_database_is_away_is_when_it_is_back(world, scheduler):
    handled(world, "2s", on_failure=1)
    world.executions.put("w", "e", deadline=at(2))
    world.faults.unavailable = {"reissue"}
    await live(world, scheduler, 6)
    assert world.executions.found["e"].epoch == 1
    world.faults.unavailable = set()
    await live(world, scheduler, 6)
    assert [each.cut_short.index for each in world.published.requests] == [0]


async def test_what_kafka_did_not_take_is_pending_and_is_not_ended(world, scheduler):
    """The pass over what no runner has taken publishes it (tests/scheduler/test_orphans.py)."""
    handled(world, "2s", on_failure=1)
    world.executions.put("w", "e", deadline=at(2))
    world.published.down = True
    await live(world, scheduler, 60)
    found = world.executions.found["e"]
    assert (found.status, found.cut_short.at, found.requested_at) == (Status.PENDING, at(2), at(2))


async def test_a_runner_that_writes_meanwhile_does_not_keep_it_from_its_handlers(world, scheduler):
    handled(world, "7s", on_failure=1)
    world.executions.put("w", "e", deadline=at(7), total_actions=3)
    get_version = world.workflows.get_version

    async def slowly(*asked):
        if not world.executions.found["e"].results:
            taken = await world.executions.claim("e", 1, "r", at(6))
            await world.executions.project([result(0, Status.RUNNING, epoch=taken.epoch)])
        return await get_version(*asked)

    world.workflows.get_version = slowly
    await live(world, scheduler, 9)
    assert world.executions.found["e"].cut_short.index == 1


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
        await scheduler.endings.give_up(execution, "given up")
    world.faults.crash_after = None
    await live(world, another, 6)
    assert [end.execution_id for end in world.published.ends] == ["e"]
