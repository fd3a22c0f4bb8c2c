"""Nobody is left behind: what no runner took, and what dead runners have left."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest

from apps.scheduler.taken import Reach
from domain.execution import ActionOutcome, Cause, Parent, Restart, Restarted, Status
from events.topics import partition_of
from store.interfaces import Heartbeat
from tests.scheduler.memory import ALL_SHARDS, START


def at(seconds):
    return START + timedelta(seconds=seconds)


class Runner:
    """A runner that beats while it lives."""

    def __init__(self, world, name):
        self.world, self.name, self.beats, self.alive = world, name, 0, True

    async def beat(self):
        if self.alive:
            self.beats += 1
            await self.world.runners.beat(Heartbeat(self.name, self.beats))


async def live(world, scheduler, runners, seconds):
    """Let time pass with the runners beating and the scheduler watching every 2 s, passing every 4 s."""
    for number in range(int(seconds / 2)):
        for runner in runners:
            await runner.beat()
        await scheduler.passes.watch_runners()
        await scheduler.passes.watch_requests()
        if number % 2 == 0:
            await scheduler.passes.look_ahead()
        await scheduler.release()
        world.clock.sleep(2)


def slowly(operation):
    """Have a database take its time, in which it could do much else."""

    async def answer(*arguments):
        for _ in range(50):
            await asyncio.sleep(0)
        return await operation(*arguments)

    return answer


async def test_what_nobody_took_is_published_again_as_the_same_attempt(world, scheduler):
    world.executions.put("w", "e", attempt=2, lost=1, epoch=5)
    await live(world, scheduler, [Runner(world, "r")], 16)
    (request,) = world.published.requests
    assert (request.epoch, request.attempt, request.lost) == (6, 2, 1)
    assert scheduler.restarts("unclaimed") == 1


async def test_what_an_action_has_triggered_and_nobody_published_is_published_with_its_parent(world, scheduler):
    parent = Parent("p", "v", "each")
    world.executions.put("w", "e", cause=Cause.WORKFLOW, triggered_by=parent, input={"item": 1})
    await live(world, scheduler, [Runner(world, "r")], 16)
    (request,) = world.published.requests
    assert (request.cause, request.triggered_by, request.input) == (Cause.WORKFLOW, parent, {"item": 1})


@pytest.mark.parametrize("releasing", [True, False], ids=["while entries are released", "in a backlog"])
async def test_it_goes_before_what_became_due_since(world, scheduler, monkeypatch, releasing):
    """As after a take-over: the dead scheduler had admitted it already, and there are many ticks that nobody has seen."""
    world.executions.put("w", "e")
    await live(world, scheduler, [Runner(world, "r")], 12)
    for number in range(300):
        world.workflows.put(f"w{number}", next_run=at(11))
    if releasing:
        monkeypatch.setattr(world.executions, "reissue", slowly(world.executions.reissue))
        scheduler.agenda.start()
    await scheduler.look_round(beat=99)
    await scheduler.agenda.stop()
    assert len(world.requested) == 301
    assert world.requested[0] == "e"


async def test_it_is_found_behind_the_backlog_of_another_shard(world, scheduler):
    """More wait their turn there than are looked at in one pass, and all of them were asked for before."""
    await live(world, scheduler, [Runner(world, "r")], 4)
    world.requests.found[partition_of("busy")] = Reach(200, 0)
    for number in range(200):
        world.executions.put("busy", f"b{number}", lock_key=f"busy#{number}", requested_at=at(4))
    quiet = next(name for name in map(str, itertools.count()) if partition_of(name) != partition_of("busy"))
    world.executions.put(quiet, "e", requested_at=at(5))
    await live(world, scheduler, [Runner(world, "r")], 20)
    assert world.requested == ["e"]


async def test_it_is_found_behind_those_that_are_left_alone_for_now(world, scheduler):
    runner = Runner(world, "r")
    for number in range(100):
        world.executions.put("w", f"e{number}", lock_key=f"w#{number}")
    await live(world, scheduler, [runner], 40)
    assert len(world.requested) == 200
    world.executions.put("late", "late", requested_at=world.clock.wall())
    await live(world, scheduler, [runner], 16)
    assert world.requested[200:] == ["late"]


async def test_it_is_published_at_once_by_whoever_takes_over(world, scheduler):
    """Also before its first look at the runners has become a second one: the one that died may have been about to."""
    scheduler.agenda.assign(frozenset())
    world.executions.put("w", "e")
    await live(world, scheduler, [Runner(world, "r")], 30)
    assert world.requested == []
    scheduler.agenda.assign(ALL_SHARDS)
    await scheduler.look_round(beat=99)
    assert world.requested == ["e"]


async def test_while_the_database_fails_it_waits_and_is_published_afterwards(world, scheduler):
    world.executions.put("w", "e")
    world.faults.unavailable = {"reissue"}
    await live(world, scheduler, [Runner(world, "r")], 20)
    assert world.requested == []
    world.faults.unavailable = set()
    await live(world, scheduler, [Runner(world, "r")], 6)
    assert world.requested == ["e"]


async def test_it_is_left_alone_for_longer_each_time(world, scheduler):
    world.executions.put("w", "e")
    await live(world, scheduler, [Runner(world, "r")], 400)
    at_seconds = [(request.requested_at - START).total_seconds() for request in world.published.requests]
    gaps = [later - earlier for earlier, later in itertools.pairwise(at_seconds)]
    assert len(at_seconds) == 5
    assert at_seconds[0] >= 10
    assert all(later >= 1.8 * earlier for earlier, later in itertools.pairwise(gaps)), gaps


async def test_taken_in_the_end_and_lost_once_more_it_is_looked_for_as_soon_as_any_other(world, scheduler):
    runner = Runner(world, "r")
    world.executions.put("w", "e")
    await live(world, scheduler, [runner], 400)
    world.executions.put("w", "e", status=Status.RUNNING, owner="r", epoch=9)
    await live(world, scheduler, [runner], 2000)
    world.published.requests.clear()
    world.executions.put("w", "e", epoch=10, requested_at=world.clock.wall())
    await live(world, scheduler, [runner], 40)
    assert len(world.published.requests) == 2


async def test_while_no_runner_lives_nothing_is_published_again(world, scheduler):
    world.executions.put("w", "e")
    runner = Runner(world, "r")
    runner.alive = False
    await live(world, scheduler, [runner], 60)
    assert world.published.requests == []
    runner.alive = True
    await live(world, scheduler, [runner], 6)
    assert world.requested == ["e"]


async def test_a_start_mark_written_in_between_wins(world, scheduler):
    execution = world.executions.put("w", "e")
    world.executions.put("w", "e", status=Status.RUNNING, owner="r")
    await scheduler.orphans.republish(execution)
    assert world.published.requests == []
    assert world.executions.found["e"].status is Status.RUNNING


async def test_what_a_broker_outage_kept_back_is_not_made_to_wait_longer(world, scheduler):
    world.executions.put("w", "e")
    world.published.down = True
    runner = Runner(world, "r")
    await live(world, scheduler, [runner], 60)
    world.published.down = False
    await live(world, scheduler, [runner], 16)
    assert world.requested == ["e"]


async def test_what_a_dead_runner_left_starts_anew_and_its_heartbeat_goes(world, scheduler):
    dead, alive = Runner(world, "dead"), Runner(world, "alive")
    world.executions.put("w1", "e1", status=Status.RUNNING, owner="dead", epoch=2)
    world.executions.put("w2", "e2", status=Status.RUNNING, owner="alive", epoch=2)
    await live(world, scheduler, [dead, alive], 6)
    assert world.published.requests == []
    dead.alive = False
    await live(world, scheduler, [dead, alive], 8)
    assert world.published.requests == []
    await live(world, scheduler, [dead, alive], 4)
    (request,) = world.published.requests
    assert (request.execution_id, request.epoch, request.attempt, request.lost) == ("e1", 3, 1, 1)
    assert scheduler.restarts("lost") == 1
    await live(world, scheduler, [dead, alive], 6)
    assert list(world.runners.beats) == ["alive"]
    world.executions.calls.clear()
    await live(world, scheduler, [dead, alive], 20)
    assert world.executions.calls.count("owned") <= 4, "a runner that is gone for good is looked for no more"


async def test_an_owner_without_any_heartbeat_is_dead_once_missed_for_long_enough(world, scheduler):
    world.executions.put("w", "e", status=Status.RUNNING, owner="ghost")
    await live(world, scheduler, [Runner(world, "r")], 10)
    assert world.published.requests == []
    await live(world, scheduler, [Runner(world, "r")], 8)
    assert world.requested == ["e"]


async def test_an_owner_without_any_heartbeat_is_missed_while_all_others_are_well(world, scheduler):
    runner = Runner(world, "r")
    await live(world, scheduler, [runner], 20)
    world.executions.put("w", "e", status=Status.RUNNING, owner="ghost")
    await live(world, scheduler, [runner], 24)
    assert world.requested == ["e"]


async def test_an_execution_that_keeps_losing_its_runner_is_given_up(world, scheduler):
    world.executions.put("w", "e", status=Status.RUNNING, owner="ghost", lost=3)
    await live(world, scheduler, [], 16)
    (ended,) = world.published.ends
    assert (ended.status, ended.lock_key) == (Status.FAILED, None)
    assert ended.reason == REASON
    assert scheduler.restarts("given-up") == 1
    assert world.published.requests == []


REASON = "given up: 4 attempts were lost with their runner, the last with ghost"


def handled(world, **more):
    steps = [{"type": "log"}]
    definition = {"trigger": {"type": "manual"}, "retries": 2, "on_failure": steps, "finally_": steps, **more}
    world.workflows.put("w", definition=definition, next_run=None)


@pytest.mark.parametrize("more", [{}, {"timeout": "1m"}], ids=["without a timeout", "with one"])
async def test_one_that_is_given_up_and_has_handlers_goes_on_with_them(world, scheduler, more):
    """However long that takes: their time begins when they do."""
    handled(world, **more)
    deadline = at(60) if more else None
    world.executions.put("w", "e", status=Status.RUNNING, owner="ghost", lost=3, deadline=deadline, total_actions=2)
    await live(world, scheduler, [], 90)
    found = world.executions.found["e"]
    assert (found.status, found.epoch, found.lost, found.deadline) == (Status.PENDING, 2, 0, None)
    cut = found.cut_short
    assert (cut.why, cut.index, cut.runner, cut.reason) == (Restart.GIVEN_UP, 0, "ghost", REASON)
    assert (world.requested, world.published.ends, scheduler.restarts("given-up")) == (["e"], [], 1)


@pytest.mark.parametrize("why", [Restart.GIVEN_UP, Restart.TIMED_OUT])
async def test_it_ends_where_its_handlers_lose_as_many_runners(world, scheduler, why):
    handled(world)
    cut = Restarted(START, why, 1, 0, reason="given up: before")
    world.executions.put("w", "e", status=Status.RUNNING, owner="ghost", lost=3, epoch=9, restarts=(cut,))
    await live(world, scheduler, [], 16)
    (ended,) = world.published.ends
    assert (ended.status, ended.reason, world.published.requests) == (Status.FAILED, REASON, [])
    assert (scheduler.restarts("given-up"), scheduler.restarts("handlers-given-up")) == (0, 1)


async def test_what_was_done_of_it_counts_when_it_is_given_up(world, scheduler):
    """Those that run are read without that."""
    handled(world)
    done = ActionOutcome("a1", 0, 1, "ok", START, START)
    lost = world.executions.put("w", "e", status=Status.RUNNING, owner="ghost", lost=3, total_actions=2)
    world.executions.found["e"] = replace(lost, results={done.key: done})
    await scheduler.orphans.rescue(lost)
    assert world.executions.found["e"].cut_short.index == 1


async def test_one_of_which_a_result_has_come_in_the_meantime_is_not_given_up(world, scheduler):
    handled(world)
    execution = world.executions.put("w", "e", status=Status.RUNNING, owner="slow", lost=3)
    world.executions.found["e"] = replace(execution, lost=0)
    await scheduler.orphans.rescue(execution)
    assert world.executions.found["e"] == replace(execution, lost=0)


async def test_a_runner_that_finished_in_the_meantime_wins(world, scheduler):
    execution = world.executions.put("w", "e", status=Status.RUNNING, owner="slow", epoch=2)
    world.executions.finish("e")
    await scheduler.orphans.rescue(execution)
    assert world.published.requests == []
    assert world.executions.found["e"].status is Status.OK


async def test_heartbeats_alone_do_not_make_it_read_what_is_running_at_every_look(world, scheduler):
    runner = Runner(world, "r")
    await live(world, scheduler, [runner], 20)
    assert world.executions.calls.count("owned") <= 4


async def test_an_outage_of_the_database_is_no_death_of_the_runners(world, scheduler):
    runner = Runner(world, "r")
    world.executions.put("w", "e", status=Status.RUNNING, owner="r")
    await live(world, scheduler, [runner], 4)
    world.faults.unavailable = {"runners"}
    runner.alive = False  # it cannot write its heartbeat either
    await live(world, scheduler, [runner], 30)
    world.faults.unavailable = set()
    await live(world, scheduler, [runner], 4)
    runner.alive = True
    await live(world, scheduler, [runner], 20)
    assert world.published.requests == []


async def test_after_an_outage_of_the_database_runners_get_time_to_say_what_they_run(world, scheduler):
    runner = Runner(world, "r")
    await live(world, scheduler, [runner], 4)
    world.executions.put("w", "e")
    world.faults.unavailable = {"runners"}
    await live(world, scheduler, [runner], 30)
    world.faults.unavailable = set()
    published = len(world.published.requests)
    await live(world, scheduler, [runner], 8)
    assert len(world.published.requests) == published
    await live(world, scheduler, [runner], 60)
    assert len(world.published.requests) > published


async def test_what_is_found_before_the_runners_could_say_what_they_run_is_left_alone(world, scheduler):
    """The pass may be the first to see that the database is back."""
    runner = Runner(world, "r")
    world.executions.put("w", "e", requested_at=at(-5))
    await live(world, scheduler, [runner], 4)
    world.faults.unavailable = {"runners"}
    await live(world, scheduler, [runner], 6)
    assert scheduler.orphans.watch.anyone_alive(world.clock.monotonic())
    world.faults.unavailable = set()
    await scheduler.passes.look_ahead()
    await scheduler.release()
    assert world.published.requests == []
