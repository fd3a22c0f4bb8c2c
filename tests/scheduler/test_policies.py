"""Overlap, misfire, bounds, jitter, and the lead: what the scheduler does beyond firing on time."""

import asyncio
from datetime import timedelta

import pytest

from apps.scheduler.settings import SchedulerSettings
from domain.execution import Cause, Ended, Status
from domain.identifiers import tick_execution_id
from domain.occurrence import Disposition, Unfired
from domain.trigger import PeriodicTrigger, jitter_of
from store.interfaces import Advance, Heartbeat
from tests.scheduler.conftest import Scheduler
from tests.scheduler.memory import START, settled


def at(seconds):
    return START + timedelta(seconds=seconds)


def tick(workflow_id, seconds):
    return tick_execution_id(workflow_id, at(seconds))


def periodic(interval="10s", *, overlap=None, **trigger):
    definition = {"trigger": {"type": "periodic", "interval": interval, **trigger}, "retries": 2}
    return {"definition": {**definition, "overlap": overlap} if overlap else definition}


def finish_at_once(world):
    publish = world.published.request

    async def request(execution):
        answer = await publish(execution)
        world.executions.finish(execution.execution_id)
        return answer

    world.published.request = request


def statuses(world):
    return {execution.execution_id: execution.status for execution in world.executions.found.values()}


# -- overlap -----------------------------------------------------------------------------------------------------------


async def test_queue_takes_as_many_as_it_may_and_releases_them_in_order(world, scheduler):
    world.workflows.put("w", **periodic(overlap={"policy": "queue", "max": 2}))
    await scheduler.run(41)
    assert statuses(world) == {tick("w", 10): Status.PENDING, tick("w", 20): Status.QUEUED, tick("w", 30): Status.QUEUED}
    assert world.workflows.heads["w"].unfired == Unfired("w", Disposition.SKIPPED, at(40), at(40), 1, tick("w", 10))
    assert world.requested == [tick("w", 10)]
    for number in (10, 20):
        world.executions.finish(tick("w", number))
        scheduler.line.announce("w", world.workflows.heads["w"].shard)
        await scheduler.release()
    assert world.requested == [tick("w", 10), tick("w", 20), tick("w", 30)]
    released = world.executions.found[tick("w", 30)]
    assert (released.status, released.lock_key, released.epoch, released.attempt) == (Status.PENDING, "w", 2, 1)
    world.executions.finish(tick("w", 30))
    assert all(execution.lock_key is None for execution in world.executions.found.values())


async def test_a_line_that_nobody_told_of_is_found_by_the_pass(world, scheduler, another):
    world.workflows.put("w", **periodic("1h", overlap={"policy": "queue"}), next_run=at(10))
    world.executions.put("w", "holder", status=Status.RUNNING, owner="r")
    await scheduler.run(12)
    assert statuses(world)[tick("w", 10)] is Status.QUEUED
    world.executions.finish("holder")
    await asyncio.gather(scheduler.passes.look_ahead(), another.passes.look_ahead())
    scheduler.agenda.release()
    another.agenda.release()
    await settled(scheduler.agenda, another.agenda)
    assert world.requested == [tick("w", 10)]


async def test_a_queued_execution_can_be_ended_and_gives_its_place_back(world, scheduler):
    world.workflows.put("w", **periodic(overlap={"policy": "queue"}))
    world.executions.put("w", "holder", status=Status.RUNNING, owner="r")
    await scheduler.run(11)
    await world.executions.end(Ended(tick("w", 10), "w", Status.CANCELLED, "asked", at(11)))
    await scheduler.run(10)
    assert statuses(world)[tick("w", 20)] is Status.QUEUED


async def test_cancel_running_makes_room(world, scheduler):
    world.workflows.put("w", **periodic(overlap={"policy": "cancel-running"}))
    world.executions.put("w", "holder", status=Status.RUNNING, owner="r")
    await scheduler.run(11)
    assert statuses(world) == {"holder": Status.CANCELLED, tick("w", 10): Status.PENDING}
    (ended,) = world.published.ends
    assert ended.execution_id == "holder"
    assert tick("w", 10) in ended.reason
    await scheduler.ticks.fire(await world.workflows.due_of("w"))
    assert statuses(world)[tick("w", 20)] is Status.PENDING


async def test_a_repeated_tick_cancels_nothing(world, scheduler):
    world.workflows.put("w", **periodic(overlap={"policy": "cancel-running"}))
    world.clock.sleep(10)
    due = await world.workflows.due_of("w")
    await scheduler.ticks.fire(due)
    await scheduler.ticks.fire(due)
    assert statuses(world) == {tick("w", 10): Status.PENDING}
    assert world.published.ends == []


async def test_allow_runs_as_many_as_it_may(world, scheduler):
    world.workflows.put("w", **periodic(overlap={"policy": "allow", "max": 3}))
    await scheduler.run(41)
    assert world.requested == [tick("w", 10), tick("w", 20), tick("w", 30)]
    assert {e.lock_key for e in world.executions.found.values()} == {"w", "w#1", "w#2"}
    world.executions.finish(tick("w", 20))
    await scheduler.run(10)
    assert world.requested[3:] == [tick("w", 50)]
    assert world.executions.found[tick("w", 50)].lock_key == "w#1"


# -- misfire -----------------------------------------------------------------------------------------------------------


async def test_what_was_missed_is_told_once_and_the_last_one_runs(world, scheduler, another):
    finish_at_once(world)
    world.workflows.put("w")
    world.clock.sleep(105)
    await asyncio.gather(scheduler.passes.look_ahead(), another.passes.look_ahead())
    for one in (scheduler, another):
        await one.release()
    assert world.requested == [tick("w", 100)]
    assert await world.occurrences.list("w", before=None, limit=9) == [Unfired("w", Disposition.MISSED, at(10), at(90), 9)]


async def test_skip_misses_everything_that_is_late(world, scheduler):
    world.workflows.put("w", **periodic(misfire={"policy": "skip"}))
    world.clock.sleep(107)
    await scheduler.run(2)
    assert world.requested == [], "the next one is not due yet"
    await scheduler.run(2)
    assert world.requested == [tick("w", 110)]
    assert await world.occurrences.list("w", before=None, limit=9) == [Unfired("w", Disposition.MISSED, at(10), at(100), 10)]


async def test_all_makes_up_for_what_it_may_in_order(world, scheduler):
    finish_at_once(world)
    world.workflows.put("w", **periodic(misfire={"policy": "all", "max": 3}))
    world.clock.sleep(107)
    await scheduler.run(4)
    assert world.requested == [tick("w", number) for number in (80, 90, 100, 110)]
    assert await world.occurrences.list("w", before=None, limit=9) == [Unfired("w", Disposition.MISSED, at(10), at(70), 7)]


async def test_a_tick_fired_just_before_a_crash_is_not_called_missed(world, scheduler, another):
    world.workflows.put("w")
    world.clock.sleep(10)
    world.faults.unavailable = {"advance"}
    await scheduler.ticks.fire(await world.workflows.due_of("w"))
    world.faults.unavailable = set()
    world.executions.finish(tick("w", 10))
    world.clock.sleep(95)
    await another.passes.look_ahead()
    await another.release()
    assert world.requested == [tick("w", 10), tick("w", 100)]
    assert await world.occurrences.list("w", before=None, limit=9) == [Unfired("w", Disposition.MISSED, at(20), at(90), 8)]


# -- bounds and jitter -------------------------------------------------------------------------------------------------


async def test_max_runs_counts_what_was_fired_and_nothing_else(world, scheduler):
    world.workflows.put("w", **periodic(max_runs=2))
    world.executions.put("w", "holder", status=Status.RUNNING, owner="r")
    await scheduler.run(15)
    world.executions.finish("holder")
    finish_at_once(world)
    await scheduler.run(60)
    assert world.requested == [tick("w", 20), tick("w", 30)]
    assert world.workflows.heads["w"].next_run is None
    assert world.workflows.heads["w"].runs == 2


async def test_a_bound_that_is_widened_while_the_last_run_is_being_fired_counts(world, scheduler):
    finish_at_once(world)
    world.workflows.put("w", **periodic(max_runs=1))
    publish = world.published.request

    async def widened_meanwhile(execution):
        if world.workflows.heads["w"].version == 1:
            world.workflows.put("w", **periodic(max_runs=2), version=2, next_run=at(10))
        return await publish(execution)

    world.published.request = widened_meanwhile
    await scheduler.run(40)
    assert world.requested == [tick("w", 10), tick("w", 20)]
    assert (world.workflows.heads["w"].runs, world.workflows.heads["w"].next_run) == (2, None)


async def test_once_runs_once(world, scheduler):
    world.workflows.put("w", definition={"trigger": {"type": "once", "at": "2026-01-31T12:00:10Z"}, "retries": 0})
    await scheduler.run(30)
    assert world.requested == [tick("w", 10)]
    assert world.workflows.heads["w"].next_run is None


async def test_jitter_delays_the_release_and_not_the_tick(world, scheduler):
    finish_at_once(world)
    world.workflows.put("w", **periodic(jitter="4s"))
    await scheduler.run(60, step=0.1)
    trigger = PeriodicTrigger(type="periodic", interval="10s", jitter="4s")
    assert [e.due_at for e in world.published.requests] == [at(number) for number in range(10, 60, 10)]
    for execution in world.published.requests:
        delay = execution.created_at - execution.due_at
        expected = jitter_of(trigger, START, "w", execution.due_at)
        assert expected <= delay <= expected + timedelta(seconds=0.1)


async def test_a_jitter_longer_than_the_time_between_two_ticks_of_a_cron_loses_none(world, scheduler):
    finish_at_once(world)
    cron = {"type": "cron", "expression": ["* * * * *"], "timezone": "UTC", "jitter": "10m"}
    world.workflows.put("w", definition={"trigger": cron, "retries": 0}, next_run=at(60))
    await scheduler.run(30 * 60, step=1)
    due = [e.due_at for e in world.published.requests]
    assert due == [at(60 * number) for number in range(1, len(due) + 1)]
    assert len(due) >= 29
    assert all(timedelta(0) <= e.created_at - e.due_at < timedelta(seconds=61) for e in world.published.requests)
    assert len({e.created_at - e.due_at for e in world.published.requests}) > 10
    assert await world.occurrences.list("w", before=None, limit=9) == []


async def test_a_tick_that_is_released_in_time_is_run_though_the_next_one_is_due_by_then(world, scheduler):
    """It is late by its jitter, and by less than is called late."""
    trigger = PeriodicTrigger(type="periodic", interval="10s", jitter="9s")
    name = next(name for name in map(str, range(1000)) if jitter_of(trigger, START, name, at(10)) >= timedelta(seconds=8))
    world.workflows.put(name, **periodic(jitter="9s"))
    world.clock.sleep(22)
    await scheduler.ticks.fire(await world.workflows.due_of(name))
    assert world.requested == [tick(name, 10)]
    assert world.workflows.heads[name].unfired is None


# -- the lead ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def early(world):
    return Scheduler(world, lead=0.25)


async def test_a_tick_is_inserted_before_its_instant_and_published_at_it(world, early):
    world.workflows.put("w")
    world.clock.sleep(5)
    await early.passes.look_ahead()
    world.clock.sleep(4.8)
    await early.release()
    execution = world.executions.found[tick("w", 10)]
    assert (execution.created_at, execution.requested_at) == (at(10), at(10))
    assert world.requested == []
    world.clock.sleep(0.19)
    await early.release()
    assert world.requested == []
    world.clock.sleep(0.01)
    await early.release()
    assert world.requested == [tick("w", 10)]
    assert world.workflows.heads["w"].next_run == at(20)


async def test_a_workflow_is_not_busy_with_what_is_due_in_more_than_a_fifth_of_a_second(world):
    world.workflows.put("w")
    scheduler = Scheduler(world, lead=SchedulerSettings().scheduler_lead)
    world.clock.sleep(9.79)
    await scheduler.passes.look_ahead()
    await scheduler.release()
    assert not world.executions.found
    world.clock.sleep(0.21)
    await scheduler.release()
    assert world.requested == [tick("w", 10)]


async def test_whether_it_overlaps_is_decided_at_the_instant(world, early):
    world.workflows.put("w")
    world.executions.put("w", "holder", status=Status.RUNNING, owner="r")
    world.clock.sleep(5)
    await early.passes.look_ahead()
    world.clock.sleep(4.8)
    await early.release()
    world.executions.finish("holder")
    world.clock.sleep(0.2)
    await early.release()
    assert world.requested == [tick("w", 10)]


async def test_whoever_is_queued_comes_before_a_tick_that_is_about_to_be_due(world, early):
    world.workflows.put("w", **periodic(overlap={"policy": "queue", "max": 2}))
    world.clock.sleep(5)
    await early.passes.look_ahead()
    world.clock.sleep(4.8)
    # Behind one that has ended just now: nobody has told that the place is free.
    world.executions.put("w", tick("w", 0), status=Status.QUEUED, lock_key="w#wait-0")
    await early.release()
    assert tick("w", 10) not in world.executions.found
    world.clock.sleep(0.2)
    await early.release()
    assert world.requested == [tick("w", 0)]
    assert statuses(world)[tick("w", 10)] is Status.QUEUED


async def test_ticks_of_about_the_same_time_are_begun_together(world, early):
    for number in range(4):
        world.workflows.put(f"w{number}", next_run=at(10 + number / 10))
    world.clock.sleep(5)
    await early.passes.look_ahead()
    begun = [early.agenda.armed(("tick", f"w{number}")).due for number in range(4)]
    assert begun == [at(9.75), at(9.75), at(9.75), at(10)], "each between one and two leads before its instant"


async def test_a_promised_publication_survives_the_loss_of_the_shard(world, early):
    world.workflows.put("w")
    world.clock.sleep(5)
    await early.passes.look_ahead()
    world.clock.sleep(4.8)
    await early.release()
    early.agenda.assign(frozenset())
    world.clock.sleep(0.2)
    await early.release()
    assert world.requested == [tick("w", 10)]


async def test_a_scheduler_that_dies_between_insert_and_publication_loses_nothing(world, early):
    await world.runners.beat(Heartbeat("runner", 1))
    world.workflows.put("w", "1h", next_run=at(10))
    world.clock.sleep(9.8)
    await early.passes.look_ahead()
    await early.release()
    assert list(world.executions.found) == [tick("w", 10)]
    other = Scheduler(world, lead=0.25)
    for beat in range(2, 12):
        await other.look_round(beat)
        world.clock.sleep(2)
    assert world.requested == [tick("w", 10)]


def somebody_else_advances(world, how):
    """Have another scheduler decide on the tick between the insert and the advance of this one."""
    advance = world.workflows.advance

    async def lose(workflow_id, version, due, _):
        world.workflows.advance = advance
        assert await advance(workflow_id, version, due, how)
        return await advance(workflow_id, version, due, _)

    world.workflows.advance = lose


async def test_a_tick_whose_schedule_another_has_advanced_is_published_at_its_instant_and_never_before(world, early):
    world.workflows.put("w")
    world.clock.sleep(5)
    await early.passes.look_ahead()
    somebody_else_advances(world, Advance(at(20)))
    world.clock.sleep(4.8)
    await early.release()
    assert tick("w", 10) in world.executions.found
    world.clock.sleep(0.19)
    await early.release()
    assert world.requested == []
    world.clock.sleep(0.01)
    await early.release()
    assert world.requested == [tick("w", 10)]


@pytest.mark.parametrize("late", [False, True], ids=["early", "late"])
async def test_a_tick_that_another_has_skipped_meanwhile_is_withdrawn(world, early, late):
    """Its insert took its time, and the place was free again: it is not fired as well."""
    world.workflows.put("w")
    world.clock.sleep(5)
    await early.passes.look_ahead()
    somebody_else_advances(world, Advance(at(20), unfired=Unfired("w", Disposition.SKIPPED, at(10), at(10))))
    world.clock.sleep(8 if late else 4.8)
    await early.release()
    world.clock.sleep(1)
    await early.release()
    assert world.executions.found == {}
    assert world.requested == []


@pytest.mark.parametrize("how", ["skipped", "skipped, and others since", "held"])
async def test_an_insert_that_nobody_knows_of_is_withdrawn_where_its_tick_was_passed_over(world, early, how):
    """The database did it when its client had given up waiting for that. What somebody has asked for since is run."""
    await world.runners.beat(Heartbeat("runner", 1))
    skipped = Unfired("w", Disposition.SKIPPED, at(-10), at(-10))
    if how == "skipped":
        world.workflows.put("w", "1h", next_run=at(3600), unfired=skipped)
    elif how == "held":
        world.workflows.put("w", "1h", next_run=None, paused_at=at(-15), held_from=at(-10))
    else:
        world.workflows.put("w", "1h", next_run=at(3600))
        await world.occurrences.record(skipped)
    late = {"cause": Cause.SCHEDULE, "requested_at": at(-10)}
    world.executions.put("w", "late", due_at=at(-10), **late)
    world.executions.put("w", "before", due_at=at(-11), lock_key="w#1", **late)
    world.executions.put("w", "made up for", due_at=at(-10), lock_key="w#2", **late | {"cause": Cause.BACKFILL})
    world.executions.put("w2", "other", due_at=at(-10), **late)
    for beat in range(2, 12):
        await early.look_round(beat)
        world.clock.sleep(2)
    assert set(world.executions.found) == set(world.requested) == {"before", "made up for", "other"}


async def test_a_tick_that_is_being_decided_on_is_not_begun_a_second_time(world, early):
    world.workflows.put("w")
    world.executions.put("w", "holder", status=Status.RUNNING, owner="r")
    world.clock.sleep(9.8)
    await early.passes.look_ahead()
    await early.release()
    armed = len(early.agenda)
    await early.passes.look_ahead()
    assert len(early.agenda) == armed == 1


# -- clocks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("skew", [-4.0, -0.3, 0.3, 4.0])
@pytest.mark.parametrize("lead", [0, 0.25])
async def test_two_schedulers_whose_clocks_are_apart_fire_each_tick_once(world, skew, lead):
    finish_at_once(world)
    one = Scheduler(world, lead=lead)
    other = Scheduler(world, lead=lead, clock=lambda: world.clock.wall() + timedelta(seconds=skew))
    for number in range(4):
        world.workflows.put(f"w{number}", "1s", next_run=at(1))
    for turn in range(240):
        if turn % 20 == 0:
            await asyncio.gather(one.passes.look_ahead(), other.passes.look_ahead())
        for _ in range(3):
            one.agenda.release()
            other.agenda.release()
            await settled(one.agenda, other.agenda)
        world.clock.sleep(0.1)
    due = sorted(e.due_at for e in world.published.requests if e.workflow_id == "w0")
    assert due == [at(1 + number) for number in range(len(due))]
    assert len(world.requested) == len(set(world.requested))
    assert len(due) >= 22


@pytest.mark.parametrize("step", [-3600, -2.5, 2.5, 30])
async def test_a_step_of_the_wall_clock_neither_doubles_nor_loses_a_tick(world, early, step):
    finish_at_once(world)
    world.workflows.put("w", "1s", next_run=at(1))
    await early.run(10.05, step=0.05)
    world.clock.step(step)
    await early.run(20 - min(0, step), step=0.5 if step < -60 else 0.05)
    assert len(world.requested) == len(set(world.requested))
    fired = {e.due_at for e in world.published.requests}
    missed = await world.occurrences.list("w", before=None, limit=99)
    told = fired | {each.first + timedelta(seconds=n) for each in missed for n in range(each.ticks)}
    assert told == {at(1 + number) for number in range(len(told))}
    assert len(fired) + sum(each.ticks for each in missed) == len(told)


async def test_a_suspended_scheduler_wakes_up_to_what_the_other_has_done(world, early):
    finish_at_once(world)
    world.workflows.put("w", "1s", next_run=at(1))
    await early.run(5, step=0.05)
    other = Scheduler(world, lead=0.25)
    await other.run(20, step=0.05)
    await early.release()
    await early.run(3, step=0.05)
    due = [e.due_at for e in world.published.requests]
    assert sorted(due) == [at(1 + number) for number in range(len(due))]
    assert len(due) >= 27
