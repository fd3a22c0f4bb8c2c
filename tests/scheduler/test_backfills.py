"""Backfills: each tick of a range runs once, whoever works at it and wherever it crashes, and the schedule goes first."""

import asyncio
import itertools
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.workflows import backfills as asking
from domain.backfill import BackfillStatus
from domain.execution import Cause, Ended, Status
from domain.identifiers import execution_id, tick_execution_id
from domain.trigger import dues, next_due
from store.interfaces import Heartbeat, Locked, StoreUnavailable
from tests.scheduler.conftest import Scheduler, World
from tests.scheduler.memory import START, Crash, settled

RETENTION = timedelta(days=30)


def at(seconds):
    return START + timedelta(seconds=seconds)


def tick(seconds, workflow_id="w"):
    return tick_execution_id(workflow_id, at(seconds))


def stored(world, workflow_id="w", interval="10s", *, at_second=1000, **fields):
    """Have a workflow whose schedule has come to ``at_second``, where the clock is; nothing was fired before."""
    world.clock.now = at(at_second - 1)
    fields = {"next_run": START + timedelta(days=300), **fields}
    return world.workflows.put(workflow_id, interval, **fields)


def definition(overlap=None, **trigger):
    written = {"trigger": {"type": "periodic", "interval": "10s", **trigger}, "retries": 2}
    return {**written, "overlap": overlap} if overlap else written


async def nobody_hears(*_):
    return True


async def plan(world, first, until, workflow_id="w", **fields):
    body = {"from": at(first), "to": at(until), "dryRun": False, "rate": "20/s", **fields}
    return await asking.plan(
        world.workflows.heads[workflow_id],
        asking.Asked.model_validate(body),
        executions=world.executions,
        now=world.clock.now,
        retention=RETENTION,
    )


async def ask(world, first, until, workflow_id="w", **fields):
    """Ask for a backfill; return its id."""
    accepted = await asking.accept(
        await plan(world, first, until, workflow_id, **fields),
        execution_id(world.clock.now, len(world.backfills.kept).to_bytes(10, "big")),
        backfills=world.backfills,
        announce=nobody_hears,
        now=world.clock.now,
    )
    return accepted.backfill_id


def finish_at_once(world):
    """Have every request run to its end the moment it is published."""
    publish = world.published.request

    async def request(execution):
        answer = await publish(execution)
        if answer:
            world.executions.finish(execution.execution_id)
        return answer

    world.published.request = request


async def between_passes(world, scheduler, seconds, step=0.25):
    """Let time pass in which what is armed is released, and nothing is read."""
    for _ in range(round(seconds / step)):
        await scheduler.release()
        world.clock.sleep(step)


async def test_each_tick_of_the_range_runs_once_oldest_first(world, scheduler):
    finish_at_once(world)
    stored(world, version=3, tick_input={"region": "eu"})
    made = await ask(world, 100, 150)
    await scheduler.run(5)
    assert world.requested == [tick(second) for second in (100, 110, 120, 130, 140)]
    assert [e.due_at for e in world.published.requests] == [at(second) for second in (100, 110, 120, 130, 140)]
    assert [e.input for e in world.published.requests] == [{"region": "eu"}] * 5
    assert {(e.cause, e.version, e.lock_key, e.retries_left) for e in world.published.requests} == {
        (Cause.BACKFILL, 3, "w", 2)
    }
    done = world.backfills.kept[made]
    assert (done.status, done.started, done.ok, done.open, done.left) == (BackfillStatus.DONE, 5, 5, (), 0)


async def test_what_the_schedule_has_fired_is_not_run_again_and_a_second_backfill_adds_nothing(world, scheduler):
    finish_at_once(world)
    world.workflows.put("w")
    await scheduler.run(35)
    fired = world.requested.copy()
    assert fired == [tick(10), tick(20), tick(30)]
    world.workflows.heads["w"] = replace(world.workflows.heads["w"], next_run=None)
    world.clock.now = at(100)
    made = await ask(world, 0, 70)
    await scheduler.run(5)
    assert world.requested == [*fired, tick(40), tick(50), tick(60)]
    assert world.backfills.kept[made].already_run == 3
    assert (await plan(world, 0, 70)).to_run == []
    again = await ask(world, 0, 70)  # as if nobody had looked before it was accepted
    await scheduler.run(5)
    assert len(world.requested) == 6
    assert (world.backfills.kept[again].status, world.backfills.kept[again].started) == (BackfillStatus.DONE, 0)
    again = await ask(world, 40, 70)
    await scheduler.run(5)
    counted = world.backfills.kept[again]
    assert (counted.started, counted.already_run, counted.ok) == (0, 3, 0), "nor what another backfill has run"


async def test_it_keeps_to_its_rate(world, scheduler):
    finish_at_once(world)
    stored(world)
    await ask(world, 100, 140, rate="20/m")
    await scheduler.run(20, step=0.25)
    begun = [e.created_at for e in world.published.requests]
    assert [later - earlier for earlier, later in itertools.pairwise(begun)] == [timedelta(seconds=3)] * 3


async def test_the_next_one_begins_when_the_one_before_has_ended(world, scheduler):
    stored(world)
    made = await ask(world, 100, 120)
    await scheduler.run(20)
    assert world.requested == [tick(100)]
    assert world.backfills.kept[made].open == (at(100),)
    world.executions.found[tick(100)] = replace(world.executions.found[tick(100)], status=Status.FAILED, lock_key=None)
    await scheduler.run(3)
    assert world.requested == [tick(100), tick(110)]
    world.executions.finish(tick(110))
    await scheduler.run(3)
    done = world.backfills.kept[made]
    assert (done.status, done.ok, done.failed) == (BackfillStatus.DONE, 1, 1)


async def test_it_waits_for_no_pass(world, scheduler):
    finish_at_once(world)
    stored(world)
    made = await ask(world, 100, 200)
    await scheduler.passes.look_ahead()
    await between_passes(world, scheduler, 2, step=0.05)
    assert (world.backfills.kept[made].status, world.backfills.kept[made].ok) == (BackfillStatus.DONE, 10)


async def test_it_sees_an_execution_end_long_before_the_next_one_is_due_by_its_rate(world, scheduler):
    stored(world)
    made = await ask(world, 100, 120, rate="1/h")
    await scheduler.passes.look_ahead()
    await between_passes(world, scheduler, 3)
    world.executions.finish(tick(100))
    await between_passes(world, scheduler, 3)
    assert (world.backfills.kept[made].ok, world.requested) == (1, [tick(100)])


async def test_it_waits_for_whatever_is_open(world, scheduler):
    finish_at_once(world)
    stored(world)
    world.executions.put("w", "by-hand", status=Status.RUNNING, owner="r")
    await ask(world, 100, 110)
    await scheduler.run(10)
    assert world.requested == []
    world.executions.finish("by-hand")
    await between_passes(world, scheduler, 3)
    assert world.requested == [tick(100)]


async def test_a_place_that_is_taken_before_it_could_be_is_asked_for_again(world, scheduler, monkeypatch):
    stored(world)
    await ask(world, 100, 110)
    admit = world.executions.admit

    async def faster(admission):
        monkeypatch.setattr(world.executions, "admit", admit)
        return Locked("faster", Status.RUNNING)

    monkeypatch.setattr(world.executions, "admit", faster)
    await scheduler.passes.look_ahead()
    await between_passes(world, scheduler, 3)
    assert world.requested == [tick(100)]


async def test_ticks_that_have_run_already_are_passed_over_many_at_a_time(world, scheduler, monkeypatch):
    finish_at_once(world)
    stored(world, at_second=4000)
    for second in range(100, 3000, 10):
        world.executions.put("w", tick(second), cause=Cause.SCHEDULE, lock_key=None, status=Status.OK)
    made = await ask(world, 100, 3010)
    save, saves = world.backfills.save, []

    async def counted(changed):
        saves.append(changed)
        return await save(changed)

    monkeypatch.setattr(world.backfills, "save", counted)
    await scheduler.run(3)
    done = world.backfills.kept[made]
    assert (done.status, done.already_run, world.requested) == (BackfillStatus.DONE, 290, [tick(3000)])
    assert len(saves) < 15


# -- beside the live schedule ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["skip", "cancel-running", "queue", "allow"])
async def test_a_live_tick_waits_for_the_execution_of_a_backfill_and_goes_before_the_next(world, scheduler, policy):
    overlap = {"policy": policy, "max": 1} if policy in ("queue", "allow") else {"policy": policy}
    stored(world, at_second=1000, next_run=at(1010), definition=definition(overlap))
    await ask(world, 100, 120)
    await scheduler.run(15, step=0.25)
    assert world.requested == [tick(100)]
    assert world.executions.found[tick(1010)].status is Status.QUEUED
    assert world.executions.found[tick(100)].status is Status.PENDING, "nothing cancels it"
    assert world.workflows.heads["w"].unfired is None
    world.executions.finish(tick(100))
    await between_passes(world, scheduler, 2)
    assert world.requested == [tick(100), tick(1010)]
    world.executions.finish(tick(1010))
    await between_passes(world, scheduler, 2)
    assert world.requested == [tick(100), tick(1010), tick(110)]


async def test_a_live_tick_that_cannot_be_released_yet_is_not_overtaken(world, scheduler):
    stored(world, next_run=at(1010))
    await ask(world, 100, 120)
    await scheduler.run(15)
    assert world.executions.found[tick(1010)].status is Status.QUEUED
    world.executions.finish(tick(100))
    world.faults.unavailable = {"reissue"}
    await between_passes(world, scheduler, 3)
    assert world.requested == [tick(100)]
    world.faults.unavailable = set()
    await between_passes(world, scheduler, 3)
    assert world.requested == [tick(100), tick(1010)]


async def test_what_finds_another_one_queued_behind_a_backfill_is_skipped(world, scheduler):
    stored(world, next_run=at(1010))
    await ask(world, 100, 120)
    await scheduler.run(25)
    assert world.executions.found[tick(1010)].status is Status.QUEUED
    assert tick(1020) not in world.executions.found
    skipped = world.workflows.heads["w"].unfired
    assert (skipped.first, skipped.last, skipped.holder) == (at(1020), at(1020), tick(100))


async def test_where_several_may_run_the_first_place_is_left_to_the_schedule(world, scheduler):
    stored(world, next_run=at(1010), definition=definition({"policy": "allow", "max": 3}))
    await ask(world, 100, 150, atOnce=2)
    await scheduler.run(8)
    assert world.requested == [tick(100), tick(110)]
    assert {e.lock_key for e in world.executions.found.values()} == {"w#2", "w#1"}
    await scheduler.run(5)
    assert world.requested[2:] == [tick(1010)]
    assert world.executions.found[tick(1010)].lock_key == "w"
    world.executions.finish(tick(110))
    await scheduler.run(3)
    assert world.requested[3:] == [tick(120)]


async def test_no_more_of_its_executions_are_open_at_once_than_it_was_asked_for(world, scheduler):
    stored(world, definition=definition({"policy": "allow", "max": 3}))
    await ask(world, 100, 150, atOnce=1)
    await scheduler.run(8)
    assert world.requested == [tick(100)]


async def test_a_schedule_that_never_rests_lets_a_backfill_in_between_two_ticks(world, scheduler):
    stored(world, next_run=at(1010))
    await ask(world, 100, 130)
    for _ in range(12):
        await scheduler.run(8)
        for execution in list(world.executions.found.values()):
            if execution.status is Status.PENDING:
                world.executions.finish(execution.execution_id)
        await scheduler.run(2)
    assert {tick(100), tick(110), tick(120)} <= set(world.requested)
    assert tick(1010) in world.requested


async def test_a_paused_workflow_is_backfilled_because_somebody_asked(world, scheduler):
    finish_at_once(world)
    stored(world, next_run=None, paused_at=at(50), held_from=at(60))
    await ask(world, 60, 90)
    await scheduler.run(5)
    assert world.requested == [tick(60), tick(70), tick(80)]


# -- crashes, others, outages ------------------------------------------------------------------------------------------


FAULTS = [(kind, where) for where in ("admit", "publish", "save") for kind in ("crash_before", "crash_after")]


@pytest.mark.parametrize("fault", FAULTS, ids=" ".join)
async def test_a_crash_between_any_two_steps_is_repaired_by_the_next_scheduler(world, scheduler, another, fault):
    await world.runners.beat(Heartbeat("runner", 1))
    stored(world)
    made = await ask(world, 100, 120)
    setattr(world.faults, *fault)
    with pytest.raises(Crash):
        await scheduler.backfills.step(made)
    setattr(world.faults, fault[0], None)
    finish_at_once(world)
    for beat in range(2, 40):
        await another.look_round(beat)
        for execution in list(world.executions.found.values()):
            if execution.status is Status.PENDING and execution.execution_id in world.requested:
                world.executions.finish(execution.execution_id)
        world.clock.sleep(1)
    assert sorted(world.executions.found) == [tick(100), tick(110)]
    assert set(world.requested) == {tick(100), tick(110)}
    assert {e.attempt for e in world.executions.found.values()} == {1}
    done = world.backfills.kept[made]
    assert (done.status, done.started, done.already_run, done.ok) == (BackfillStatus.DONE, 2, 0, 2)


async def test_two_schedulers_at_one_backfill_run_each_tick_once(world, scheduler, another):
    finish_at_once(world)
    stored(world)
    made = await ask(world, 100, 300)
    for _ in range(200):
        await asyncio.gather(scheduler.passes.look_ahead(), another.passes.look_ahead())
        scheduler.agenda.release()
        another.agenda.release()
        await settled(scheduler.agenda, another.agenda)
        world.clock.sleep(0.25)
    assert sorted(world.requested) == [tick(second) for second in range(100, 300, 10)]
    done = world.backfills.kept[made]
    assert (done.status, done.started, done.already_run, done.ok) == (BackfillStatus.DONE, 20, 0, 20)


@pytest.mark.parametrize("nth", range(1, 7))
async def test_whoever_finds_that_somebody_else_has_moved_it_leaves_it_alone(world, scheduler, monkeypatch, nth):
    finish_at_once(world)
    stored(world)
    world.executions.put("w", tick(110), cause=Cause.SCHEDULE, lock_key=None, status=Status.OK)
    made = await ask(world, 100, 140)
    save, saves = world.backfills.save, itertools.count(1)

    async def late(changed):
        if next(saves) == nth:
            kept = world.backfills.kept[made]
            world.backfills.kept[made] = replace(kept, revision=kept.revision + 1)
        return await save(changed)

    monkeypatch.setattr(world.backfills, "save", late)
    await scheduler.run(20)
    assert next(saves) > nth
    done = world.backfills.kept[made]
    assert (done.status, done.started, done.already_run, done.ok) == (BackfillStatus.DONE, 3, 1, 3)
    assert world.requested == [tick(100), tick(120), tick(130)]


async def test_only_the_owner_of_the_shard_works_at_it(world, scheduler, another):
    finish_at_once(world)
    workflow = stored(world)
    scheduler.agenda.assign(scheduler.agenda.shards - {workflow.shard})
    another.agenda.assign(frozenset({workflow.shard}))
    await ask(world, 100, 120)
    scheduler.backfills.announce("w", workflow.shard)
    await scheduler.run(5)
    assert world.requested == []
    another.backfills.announce("w", workflow.shard)
    await another.release()
    assert world.requested == [tick(100)], "it hears of it, and waits for no pass"


@pytest.mark.parametrize("name", ["admit", "save", "backfills"])
async def test_a_database_outage_leaves_it_to_a_later_pass(world, scheduler, name):
    finish_at_once(world)
    stored(world)
    made = await ask(world, 100, 120)
    world.faults.unavailable = {name}
    await scheduler.run(6)
    assert world.backfills.kept[made].started == 0
    world.faults.unavailable = set()
    await scheduler.run(10)
    assert world.backfills.kept[made].status is BackfillStatus.DONE
    assert set(world.requested) <= set(world.executions.found) == {tick(100), tick(110)}


async def test_one_that_is_told_of_while_the_database_is_away_is_found_by_the_next_pass(world, scheduler, monkeypatch):
    finish_at_once(world)
    workflow = stored(world)
    await ask(world, 100, 110)

    async def away(workflow_id):
        raise StoreUnavailable("no answer")

    monkeypatch.setattr(world.backfills, "running", away)
    scheduler.backfills.announce("w", workflow.shard)
    await scheduler.release()
    assert world.requested == []
    await scheduler.run(3)
    assert world.requested == [tick(100)]


async def test_one_that_has_ended_before_its_turn_came_is_let_be(world, scheduler):
    workflow = stored(world)
    made = await ask(world, 100, 110)
    await cancel(world, made)
    scheduler.backfills.announce("w", workflow.shard)
    await scheduler.release()
    await scheduler.backfills.step(made)
    world.backfills.kept.clear()  # after its retention
    await scheduler.backfills.step(made)
    assert world.requested == []


# -- its end -----------------------------------------------------------------------------------------------------------


async def cancel(world, made):
    return await asking.cancel(
        "w", made, "asked", backfills=world.backfills, executions=world.executions, now=world.clock.now
    )


async def test_cancelled_it_starts_nothing_more_and_what_it_has_started_goes_on(world, scheduler):
    stored(world)
    made = await ask(world, 100, 150)
    await scheduler.run(3)
    await cancel(world, made)
    await scheduler.run(3)
    assert world.executions.found[tick(100)].status is Status.PENDING
    world.executions.finish(tick(100))
    await scheduler.run(10)
    assert world.requested == [tick(100)]
    shown = await asking.one_of("w", made, backfills=world.backfills, executions=world.executions)
    assert (shown.status, shown.reason, shown.started, shown.ok, shown.open) == (
        BackfillStatus.CANCELLED,
        "asked",
        1,
        1,
        (),
    )


async def test_a_tick_that_was_given_its_execution_while_somebody_cancelled_counts_as_started(world, scheduler):
    stored(world)
    made = await ask(world, 100, 150)
    publish = world.published.request

    async def cancelled_meanwhile(execution):
        await cancel(world, made)
        return await publish(execution)

    world.published.request = cancelled_meanwhile
    await scheduler.backfills.step(made)
    ended = world.backfills.kept[made]
    assert (ended.status, ended.started, ended.position) == (BackfillStatus.CANCELLED, 1, at(110))


async def test_that_of_an_archived_workflow_ends(world, scheduler):
    stored(world)
    made = await ask(world, 100, 150)
    await world.workflows.archive(world.workflows.heads["w"], world.clock.now)
    await scheduler.run(3)
    ended = world.backfills.kept[made]
    assert (ended.status, ended.reason) == (BackfillStatus.CANCELLED, "the workflow was archived")
    assert world.requested == []


async def test_another_schedule_changes_its_ticks_no_more_but_what_is_run_is_the_current_version(world, scheduler):
    finish_at_once(world)
    stored(world)
    await ask(world, 100, 130, rate="1/s")
    await scheduler.release()
    await scheduler.run(0.5)
    changed = replace(world.workflows.heads["w"], version=2, anchor=at(7), definition=definition(interval="1h"))
    world.workflows.heads["w"] = changed
    await scheduler.run(5)
    assert [(e.due_at, e.version) for e in world.published.requests] == [(at(100), 1), (at(110), 2), (at(120), 2)]


async def test_what_grew_older_than_the_retention_meanwhile_is_not_run_blindly(world, scheduler):
    finish_at_once(world)
    stored(world, interval="24h", at_second=86400 * 31)
    day = 86400
    made = await ask(world, day * 2, day * 5, rate="1/h")
    await scheduler.run(1)
    world.clock.sleep(day * 2)
    await scheduler.run(2)
    ended = world.backfills.kept[made]
    assert ended.status is BackfillStatus.CANCELLED
    assert "older than the retention" in ended.reason
    assert world.requested == [tick(day * 2)]
    await ask(world, day * 2, day * 5, beyondRetention=True)
    await scheduler.run(5)
    assert world.requested == [tick(day * 2), tick(day * 3), tick(day * 4)]


# -- all together ------------------------------------------------------------------------------------------------------


TRIGGERS = [
    {"type": "periodic", "interval": "7m"},
    {"type": "periodic", "interval": "1h", "start_at": "2026-02-01T00:10:00Z"},
    {"type": "cron", "expression": ["*/30 * * * *"], "timezone": "Europe/Berlin", "end_at": "2026-02-02T06:00:00Z"},
    {"type": "cron", "expression": ["15 */2 * * *", "40 23 * * sun"], "timezone": "Asia/Kathmandu"},
]


@settings(max_examples=25)
@given(
    trigger=st.sampled_from(TRIGGERS),
    fired=st.sets(st.integers(0, 60), max_size=10),
    ranges=st.lists(st.tuples(st.integers(0, 2 * 86400), st.integers(60, 10_000)), min_size=1, max_size=5),
)
def test_backfills_of_overlapping_ranges_run_each_tick_of_their_union_once(trigger, fired, ranges):
    asyncio.run(_overlapping_ranges(trigger, fired, ranges))


async def _overlapping_ranges(trigger, fired, ranges):
    world = World()
    scheduler = Scheduler(world)
    finish_at_once(world)
    stored(world, definition={"trigger": trigger, "retries": 0}, at_second=3 * 86400)
    read = asking.trigger_of(world.workflows.heads["w"])
    ticks = dues(read, START, at(-1), at(3 * 86400), 10_000)
    for number in fired & set(range(len(ticks))):
        world.executions.put(
            "w", tick_execution_id("w", ticks[number]), cause=Cause.SCHEDULE, lock_key=None, status=Status.OK
        )
    before = set(world.executions.found)
    union = set()
    for first, length in ranges:
        planned = await plan(world, first, first + length)
        union |= {each for each in ticks if at(first) <= each < at(first + length)}
        if planned.to_run:
            made = await ask(world, first, first + length)
            while world.backfills.kept[made].is_open:
                await scheduler.run(4, step=1, every=4)
    expected = {tick_execution_id("w", each) for each in union} - before
    assert len(world.requested) == len(set(world.requested))
    assert set(world.requested) == expected
    assert set(world.executions.found) == before | expected
    assert all(next_due(read, START, e.due_at - timedelta(milliseconds=1)) == e.due_at for e in world.published.requests)


async def test_a_run_that_fails_can_be_ended_by_hand_and_the_backfill_goes_on(world, scheduler):
    stored(world)
    made = await ask(world, 100, 120)
    await scheduler.run(2)
    await world.executions.end(Ended(tick(100), "w", Status.CANCELLED, "asked", world.clock.now))
    await scheduler.run(2)
    assert world.requested == [tick(100), tick(110)]
    assert world.backfills.kept[made].failed == 1
