"""Ticks: one execution per grid instant, whoever fires it and wherever it crashes."""

import asyncio
from datetime import timedelta

import pytest

from domain.execution import Cause, Status
from domain.identifiers import tick_execution_id
from domain.occurrence import Disposition, Unfired
from store.interfaces import Heartbeat, StoreUnavailable
from tests.scheduler.memory import START, Crash, settled


def at(seconds):
    return START + timedelta(seconds=seconds)


def tick(workflow_id, seconds):
    return tick_execution_id(workflow_id, at(seconds))


def finish_at_once(world):
    """Have every request run to its end the moment it is published."""
    publish = world.published.request

    async def request(execution):
        answer = await publish(execution)
        if answer:
            world.executions.finish(execution.execution_id)
        return answer

    world.published.request = request


async def test_a_tick_is_admitted_published_and_advanced(world, scheduler):
    world.workflows.put("w", tick_input={"region": "eu"})
    world.clock.sleep(10)
    await scheduler.passes.look_ahead()
    await scheduler.release()
    execution = world.executions.found[tick("w", 10)]
    assert execution.input == {"region": "eu"}
    assert (execution.status, execution.cause, execution.due_at) == (Status.PENDING, Cause.SCHEDULE, at(10))
    assert (execution.lock_key, execution.retries_left, execution.total_actions, execution.version) == ("w", 2, 1, 1)
    assert world.published.requests == [execution]
    assert world.workflows.heads["w"].next_run == at(20)


async def test_the_cadence_is_the_grid_however_late_each_release_is(world, scheduler):
    finish_at_once(world)
    world.workflows.put("slow", "10s")
    world.workflows.put("fast", "1s", next_run=at(1))
    world.clock.sleep(0.4)
    await scheduler.run(60, step=0.7)
    due = [e.due_at for e in world.published.requests if e.workflow_id == "fast"]
    assert due == [at(second) for second in range(1, 61)]
    assert [e.due_at for e in world.published.requests if e.workflow_id == "slow"] == [at(s) for s in range(10, 61, 10)]
    assert all(e.created_at >= e.due_at for e in world.published.requests)


async def test_ticks_of_one_instant_are_released_together(world, scheduler):
    for number in range(50):
        world.workflows.put(f"w{number}")
    world.clock.sleep(5)
    await scheduler.passes.look_ahead()
    world.clock.sleep(5)
    assert scheduler.agenda.release() == 50
    await asyncio.sleep(0)
    assert world.executions.calls.count("admit") == 50, "one turn of the loop admits them all"
    await settled(scheduler.agenda)


async def test_while_far_more_is_due_than_can_be_released_no_more_is_read(world, scheduler):
    for number in range(60):
        world.workflows.put(f"w{number}")
    scheduler.agenda._limit = 3
    world.clock.sleep(5)
    await scheduler.ticks.read()
    world.clock.sleep(5)
    assert scheduler.agenda.release() == 60
    world.faults.unavailable = {"due"}
    assert await scheduler.ticks.read() == 0
    await settled(scheduler.agenda)
    assert world.executions.calls.count("admit") == 60
    with pytest.raises(StoreUnavailable):
        await scheduler.ticks.read()


async def test_two_schedulers_on_one_store_fire_each_tick_once(world, scheduler, another):
    finish_at_once(world)
    for number in range(5):
        world.workflows.put(f"w{number}", "1s", next_run=at(1))
    for _ in range(40):
        await asyncio.gather(scheduler.passes.look_ahead(), another.passes.look_ahead())
        scheduler.agenda.release()
        another.agenda.release()
        await settled(scheduler.agenda, another.agenda)
        world.clock.sleep(0.25)
    assert len(world.requested) == len(set(world.requested)) == 5 * 9
    assert {w.next_run for w in world.workflows.heads.values()} == {at(10)}


@pytest.mark.parametrize(
    "fault",
    [("crash_before", "admit"), ("crash_after", "admit"), ("crash_before", "publish"), ("crash_after", "publish"),
     ("crash_before", "advance"), ("crash_after", "advance")],
    ids=" ".join,
)  # fmt: skip
async def test_a_crash_between_any_two_steps_is_repaired_by_the_next_scheduler(world, scheduler, another, fault):
    await world.runners.beat(Heartbeat("runner", 1))
    world.workflows.put("w", "1h", next_run=at(10))
    world.clock.sleep(10)
    setattr(world.faults, *fault)
    with pytest.raises(Crash):
        await scheduler.ticks.fire(await world.workflows.due_of("w"))
    setattr(world.faults, fault[0], None)
    for beat in range(2, 12):
        await another.look_round(beat)
        world.clock.sleep(2)
    assert list(world.executions.found) == [tick("w", 10)]
    assert set(world.requested) == {tick("w", 10)}
    assert world.workflows.heads["w"].next_run == START + timedelta(hours=1)
    execution = world.executions.found[tick("w", 10)]
    assert (execution.attempt, execution.lost) == (1, 0)


async def test_ticks_under_an_open_execution_are_one_range_of_skipped_ones(world, scheduler):
    world.workflows.put("w")
    world.executions.put("w", "holder", status=Status.RUNNING, owner="r")
    await scheduler.run(25)
    assert list(world.executions.found) == ["holder"]
    assert world.published.requests == world.published.ends == []
    skipped = Unfired("w", Disposition.SKIPPED, at(10), at(20), 2, "holder")
    assert world.workflows.heads["w"].unfired == skipped
    world.executions.finish("holder")
    await scheduler.run(10)
    assert world.requested == [tick("w", 30)]
    assert world.workflows.heads["w"].unfired is None
    assert await world.occurrences.list("w", before=None, limit=9) == [skipped]


async def test_another_holder_begins_another_range(world, scheduler):
    world.workflows.put("w")
    world.executions.put("w", "first", status=Status.RUNNING, owner="r")
    await scheduler.run(15)
    world.executions.finish("first")
    world.executions.put("w", "second", status=Status.RUNNING, owner="r")
    await scheduler.run(10)
    assert await world.occurrences.list("w", before=None, limit=9) == [
        Unfired("w", Disposition.SKIPPED, at(10), at(10), 1, "first")
    ]
    assert world.workflows.heads["w"].unfired == Unfired("w", Disposition.SKIPPED, at(20), at(20), 1, "second")


async def test_after_downtime_only_the_last_missed_tick_is_fired(world, scheduler):
    world.workflows.put("w", "1s", next_run=at(1))
    world.clock.sleep(3600.5)
    await scheduler.passes.look_ahead()
    await scheduler.release()
    assert world.requested == [tick("w", 3600)]
    assert world.workflows.heads["w"].next_run == at(3601)


async def test_what_is_left_of_missed_ticks_is_fired_without_waiting_its_turn_again(world, scheduler):
    """Where more is due than can be done, it would have been missed by then: nothing ever ran."""
    world.workflows.put("w", "1s", next_run=at(1))
    world.clock.sleep(3600.5)
    await scheduler.ticks.fire(await world.workflows.due_of("w"))
    assert world.requested == [tick("w", 3600)]
    assert await world.occurrences.list("w", before=None, limit=9) == [
        Unfired("w", Disposition.MISSED, at(1), at(3599), 3599)
    ]


@pytest.mark.parametrize("name", ["admit", "advance"])
async def test_a_database_outage_leaves_the_tick_to_a_later_pass(world, scheduler, name):
    world.workflows.put("w", "1h", next_run=at(10))
    world.clock.sleep(10)
    world.faults.unavailable = {name}
    await scheduler.run(2, every=1)
    assert world.workflows.heads["w"].next_run == at(10)
    world.faults.unavailable = set()
    await scheduler.run(1, every=1)
    assert list(world.executions.found) == [tick("w", 10)]
    assert world.workflows.heads["w"].next_run == at(3600)


async def test_a_broker_outage_keeps_the_cadence_and_the_requests_follow(world, scheduler):
    await world.runners.beat(Heartbeat("runner", 1))
    world.workflows.put("w", "1h", next_run=at(10))
    world.published.down = True
    await scheduler.passes.watch_runners()
    await scheduler.run(16, every=1)
    assert world.workflows.heads["w"].next_run == at(3600)
    assert world.requested == []
    world.published.down = False
    await world.runners.beat(Heartbeat("runner", 2))
    await scheduler.passes.watch_runners()
    await scheduler.run(8, every=1)
    assert world.requested == [tick("w", 10)]


async def test_a_changed_definition_replaces_what_is_armed(world, scheduler):
    world.workflows.put("w")
    world.clock.sleep(5)
    await scheduler.passes.look_ahead()
    world.workflows.put("w", "2s", version=2, anchor=at(5), next_run=at(7))
    scheduler.ticks.announce("w", world.workflows.heads["w"].shard)
    await scheduler.release()
    world.clock.sleep(2)
    await scheduler.release()
    assert [(e.due_at, e.version) for e in world.published.requests] == [(at(7), 2)]


async def test_what_is_armed_is_disarmed_where_the_schedule_has_no_tick_soon(world, scheduler):
    world.workflows.put("w")
    world.clock.sleep(5)
    await scheduler.passes.look_ahead()
    world.workflows.put("w", "1h", version=2, anchor=at(5), next_run=at(3605))
    scheduler.ticks.announce("w", world.workflows.heads["w"].shard)
    await scheduler.release()
    world.clock.sleep(5)
    await scheduler.release()
    assert world.executions.found == {}


@pytest.mark.parametrize("told", [True, False], ids=["announced", "found by the pass"])
async def test_an_archived_workflow_is_disarmed(world, scheduler, told):
    workflow = world.workflows.put("w")
    world.clock.sleep(5)
    await scheduler.passes.look_ahead()
    assert len(scheduler.agenda) == 1
    await world.workflows.archive(workflow, at(5))
    if told:
        scheduler.ticks.announce("w", workflow.shard)
        await scheduler.release()
    else:
        await scheduler.passes.look_ahead()
    assert len(scheduler.agenda) == 0


async def test_a_workflow_changed_between_release_and_advance_is_read_again(world, scheduler):
    world.workflows.put("w")
    world.clock.sleep(10)
    stale = await world.workflows.due_of("w")
    world.workflows.put("w", "3s", version=2, anchor=at(10), next_run=at(13))
    await scheduler.ticks.fire(stale)
    assert scheduler.agenda.armed(("tick", "w")).due == at(13)
    assert world.workflows.heads["w"].next_run == at(13)


async def test_a_schedule_that_was_changed_meanwhile_is_not_gone_on_with(world, scheduler):
    world.workflows.put("w")
    world.clock.sleep(10)
    stale = await world.workflows.due_of("w")
    world.workflows.put("w", "1h", version=2, anchor=at(10), next_run=at(3610))
    await scheduler.ticks.fire(stale)
    assert len(scheduler.agenda) == 0


async def test_what_became_of_every_tick_is_counted(world, scheduler):
    world.workflows.put("late", "1s", next_run=at(1), definition={
        "trigger": {"type": "periodic", "interval": "1s", "misfire": {"policy": "skip"}}, "retries": 2,
    })  # fmt: skip
    world.workflows.put("busy", "1h", next_run=at(10))
    world.executions.put("busy", "holder", status=Status.RUNNING, owner="r")
    world.workflows.put("again", "1h", next_run=at(10))
    world.executions.put("again", tick("again", 10), cause=Cause.SCHEDULE, due_at=at(10))
    world.clock.sleep(10)
    for workflow_id in ("late", "busy", "again"):
        await scheduler.ticks.fire(await world.workflows.due_of(workflow_id))
    counted = {
        each: scheduler.registry.get_sample_value("scheduler_ticks_total", {"disposition": each})
        for each in ("fired", "missed", "skipped", "repeated")
    }
    assert counted == {"fired": 1, "missed": 4, "skipped": 1, "repeated": 1}
    assert scheduler.registry.get_sample_value("scheduler_publish_lateness_seconds_count") == 1


async def test_a_definition_that_is_manual_now_has_no_next_run(world, scheduler):
    world.workflows.put("w", definition={"trigger": {"type": "manual"}, "retries": 2})
    await scheduler.run(15)
    assert world.executions.found == {}
    assert world.workflows.heads["w"].next_run is None


async def test_a_trigger_of_a_later_version_is_left_alone(world, scheduler):
    world.workflows.put("w", definition={"trigger": {"type": "tides"}, "retries": 2})
    await scheduler.run(15)
    assert world.executions.found == {}
    assert world.workflows.heads["w"].next_run == at(10)


async def test_only_the_workflows_of_our_shards_are_armed(world, scheduler):
    first, second = world.workflows.put("a"), world.workflows.put("c")
    assert first.shard != second.shard
    scheduler.agenda.assign(frozenset({first.shard}))
    world.clock.sleep(10)
    await scheduler.passes.look_ahead()
    await scheduler.release()
    assert world.requested == [tick("a", 10)]
    scheduler.agenda.assign(frozenset())
    await scheduler.passes.look_ahead()
    assert len(scheduler.agenda) == 0


async def test_the_clock_stepping_back_and_forth_fires_each_instant_once(world, scheduler):
    finish_at_once(world)
    world.workflows.put("w", "1s", next_run=at(1))
    await scheduler.run(5)
    world.clock.step(-3)
    await scheduler.run(5)
    world.clock.step(+3)
    await scheduler.run(5)
    assert len(world.requested) == len(set(world.requested))
    assert [e.due_at for e in world.published.requests] == [at(second) for second in range(1, 16)]
