"""The contract of what schedules need: lines, places, pauses and the ledger; kept by the fake and by MongoDB alike."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from apps.admission import Opened, admit_under, release_next
from domain.execution import Admission, Cause, Ended, Restart, Status
from domain.identifiers import tick_execution_id
from domain.occurrence import Disposition, Unfired
from domain.overlap import Overlap
from store.interfaces import Advance, AlreadyAdmitted, Due, ExecutionFilter, Locked, Workflow

pytestmark = pytest.mark.asyncio(loop_scope="session")

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
ALL = frozenset(range(8))


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def asked(seconds, workflow_id="w"):
    return Admission(
        execution_id=tick_execution_id(workflow_id, at(seconds)),
        workflow_id=workflow_id,
        version=1,
        cause=Cause.SCHEDULE,
        created_at=at(seconds),
        retries_left=0,
        total_actions=1,
        shard=3,
        due_at=at(seconds),
    )


async def admit(store, policy, seconds, maximum=None, ended=None):
    async def tell_ended(execution):
        ended.append(execution)

    overlap = Overlap(policy=policy, max=maximum)
    return await admit_under(overlap, asked(seconds), executions=store.executions, tell_ended=tell_ended, now=at(seconds))


async def end(store, seconds, status=Status.OK):
    return await store.executions.end(Ended(asked(seconds).execution_id, "w", status, "done", at(seconds + 1)))


async def test_a_line_is_bounded_ordered_and_left_by_one_update(store):
    for second in (1, 2, 3):
        assert isinstance(await admit(store, "queue", second, 2), Opened)
    assert await admit(store, "queue", 4, 2) == Locked(asked(1).execution_id, Status.PENDING)
    assert await admit(store, "queue", 3, 2) == AlreadyAdmitted(asked(3).execution_id)
    assert [e.due_at for e in await store.executions.line("w")] == [at(2), at(3)]
    assert {e.due_at for e in await store.executions.queued(ALL, 9)} == {at(2), at(3)}
    assert await store.executions.queued(frozenset({1}), 9) == []
    assert (await store.executions.line("v"), await store.executions.line("x")) == ([], [])
    assert await store.executions.reissue(asked(2).execution_id, 1, at(5), Restart.RELEASED) is None, "the place is taken"
    assert await release_next("w", executions=store.executions, now=at(5)) is None
    await end(store, 1)
    released = await asyncio.gather(*(release_next("w", executions=store.executions, now=at(5)) for _ in range(5)))
    (winner,) = [each for each in released if each is not None]
    assert (winner.due_at, winner.status, winner.lock_key, winner.epoch) == (at(2), Status.PENDING, "w", 2)
    assert await store.executions.holder("w") == winner
    listed = await store.executions.list(ExecutionFilter(workflow_id="w"), before=None, limit=9)
    assert [e.status for e in listed] == [Status.QUEUED, Status.PENDING, Status.OK]


async def test_whoever_is_queued_comes_first(store):
    await admit(store, "queue", 1, 2)
    await admit(store, "queue", 2, 2)
    await end(store, 1)
    answer = await admit(store, "queue", 3, 2)
    assert answer.execution.status is Status.QUEUED
    assert answer.publish.due_at == at(2)


async def test_a_finished_tick_does_not_run_again_from_the_line(store):
    await admit(store, "queue", 1)
    await end(store, 1)
    await admit(store, "queue", 2)
    assert await admit(store, "queue", 1) == AlreadyAdmitted(asked(1).execution_id)
    assert await store.executions.line("w") == []


async def test_places_are_bounded_and_given_back(store):
    answers = await asyncio.gather(*(admit(store, "allow", second, 3) for second in range(1, 7)))
    assert sum(isinstance(answer, Opened) for answer in answers) == 3
    assert sum(isinstance(answer, Locked) for answer in answers) == 3
    assert set(await store.executions.holders(["w", "w#1", "w#2"])) == {"w", "w#1", "w#2"}
    opened = next(answer for answer in answers if isinstance(answer, Opened)).execution
    await store.executions.end(Ended(opened.execution_id, "w", Status.OK, "done", at(9)))
    assert isinstance(await admit(store, "allow", 10, 3), Opened)


async def test_cancel_running_ends_the_open_one(store):
    ended = []
    await admit(store, "cancel-running", 1, ended=ended)
    answer = await admit(store, "cancel-running", 2, ended=ended)
    assert answer.publish.due_at == at(2)
    assert [(e.due_at, e.status) for e in ended] == [(at(1), Status.CANCELLED)]
    assert await admit(store, "cancel-running", 1, ended=ended) == AlreadyAdmitted(asked(1).execution_id)


def workflow(**fields):
    return Workflow(
        **{
            "workflow_id": "w",
            "version": 1,
            "definition": {"trigger": {"type": "periodic", "interval": "10s"}, "retries": 1, "overlap": {"policy": "allow"}},
            "total_actions": 1,
            "shard": 3,
            "created_at": T0,
            "updated_at": T0,
            "anchor": T0,
            "next_run": at(10),
            **fields,
        }
    )


SKIPPED = Unfired("w", Disposition.SKIPPED, at(10), at(20), 2, "x")


async def test_unfired_ticks_and_runs_stand_with_the_schedule(store):
    await store.workflows.create(workflow(tick_input={"a.$b": 1}))
    assert await store.workflows.advance("w", 1, at(10), Advance(at(20), 7, SKIPPED))
    (due,) = [due async for due in store.workflows.due(at(60), ALL)]
    assert (due.runs, due.unfired, due.overlap, due.tick_input) == (7, SKIPPED, {"policy": "allow"}, {"a.$b": 1})
    assert due == Due.of(await store.workflows.get("w"))
    stored = await store.workflows.get("w")
    assert (stored.runs, stored.unfired, stored.next_run) == (7, SKIPPED, at(20))
    assert await store.workflows.advance("w", 1, at(20), Advance(at(30)))
    stored = await store.workflows.get("w")
    assert (stored.runs, stored.unfired) == (7, None)


async def test_a_pause_holds_the_next_run_and_a_change_does_not_undo_it(store):
    read_before = await store.workflows.create(workflow())
    assert not await store.workflows.pause("w", at(5), at(20))
    assert await store.workflows.pause("w", at(5), at(10))
    assert not await store.workflows.pause("w", at(6), at(10))
    stored = await store.workflows.get("w")
    assert (stored.paused_at, stored.held_from, stored.next_run) == (at(5), at(10), None)
    assert [due async for due in store.workflows.due(at(60), ALL)] == []
    with pytest.raises(Exception, match="version"):
        await store.workflows.replace(replace(read_before, version=2))
    await store.workflows.replace(replace(stored, version=2))
    assert not await store.workflows.resume("w", 2, at(4), Advance(at(40))), "another pause"
    assert not await store.workflows.resume("w", 1, at(5), Advance(at(40))), "another definition"
    held = Unfired("w", Disposition.HELD, at(10), at(30), 3)
    assert await store.workflows.resume("w", 2, at(5), Advance(at(40), unfired=held))
    stored = await store.workflows.get("w")
    assert (stored.paused_at, stored.held_from, stored.next_run, stored.unfired) == (None, None, at(40), held)


async def test_the_ledger_keeps_each_range_once_and_lists_the_newest_first(store):
    missed = Unfired("w", Disposition.MISSED, at(40), at(90), None)
    grown = Unfired("w", Disposition.MISSED, at(40), at(100), 7)
    others = [Unfired(name, Disposition.HELD, at(50), at(50)) for name in ("w.x", "w-1", "W", "wA", "v")]
    await asyncio.gather(*(store.occurrences.record(each) for each in (SKIPPED, missed, *others)))
    await asyncio.gather(*(store.occurrences.record(each) for each in (SKIPPED, grown, missed)))
    assert await store.occurrences.list("w", before=None, limit=9) == [grown, SKIPPED]
    assert await store.occurrences.list("w", before=at(40), limit=9) == [SKIPPED]
    assert await store.occurrences.list("w", before=None, limit=1) == [grown]


async def test_a_page_of_the_ledger_may_reach_far_back(store):
    days = [0, 0.001, 0.01, 0.1, 1, 5, 9, 40, 80]
    now = datetime.now(timezone.utc).replace(microsecond=0)
    kept = [Unfired("w", Disposition.HELD, each, each) for each in (now - timedelta(days=day) for day in days)]
    ahead = Unfired("w", Disposition.HELD, now + timedelta(seconds=30), now + timedelta(seconds=30))
    for each in (ahead, *kept):
        await store.occurrences.record(each)
    assert await store.occurrences.list("w", before=None, limit=99) == [ahead, *kept]
    assert await store.occurrences.list("w", before=None, limit=4) == [ahead, *kept[:3]]
    assert await store.occurrences.list("w", before=kept[1].first, limit=6) == kept[2:8]
    assert await store.occurrences.list("w", before=kept[-1].first, limit=6) == []


async def test_many_schedules_advance_together_and_each_by_its_own_condition(store):
    for number in range(40):
        await store.workflows.create(workflow(workflow_id=f"w{number}", next_run=at(number)))
    answers = await asyncio.gather(
        *(
            store.workflows.advance(f"w{number}", 1, at(number if number % 2 else 99), Advance(at(100 + number)))
            for number in range(40)
        ),
        store.workflows.advance("nobody", 1, at(1), Advance(at(2))),
    )
    assert answers == [bool(number % 2) for number in range(40)] + [False]
    assert {due.next_run async for due in store.workflows.due(at(60), ALL)} == {at(number) for number in range(0, 40, 2)}


async def test_of_schedules_on_one_instant_that_advance_together_one_that_has_moved_on_is_told_apart(store):
    names = [f"w{number}" for number in range(70)]
    for name in names:
        await store.workflows.create(workflow(workflow_id=name, next_run=at(10)))
    assert await store.workflows.advance("w5", 1, at(10), Advance(at(11)))
    answers = await asyncio.gather(*(store.workflows.advance(name, 1, at(10), Advance(at(20))) for name in names))
    assert [name for name, answer in zip(names, answers, strict=True) if not answer] == ["w5"]
    left = {due.workflow_id: due.next_run async for due in store.workflows.due(at(60), ALL)}
    assert left == {name: at(11 if name == "w5" else 20) for name in names}


async def test_schedules_that_take_the_same_step_advance_together_and_each_from_where_it_is(store):
    """Seventy of them, due within 35 s and within 700 s: more than one update, and more than a step."""
    step = timedelta(seconds=60)
    expected = {}
    advances = []
    for number in range(140):
        name, due = f"w{number}", at(number / 2 if number < 70 else 10 * number)
        await store.workflows.create(workflow(workflow_id=name, next_run=due))
        moved = {3: step, 5: -step, 80: 2 * step}.get(number)  # by somebody else, meanwhile
        if moved is not None:
            assert await store.workflows.advance(name, 1, due, Advance(due + moved))
        expected[name] = due + (moved or step)
        advances.append(store.workflows.advance(name, 1, due, Advance(due + step, step=step)))
    answers = await asyncio.gather(*advances)
    assert {number for number, answer in enumerate(answers) if not answer} <= {3, 5, 80}
    assert not answers[5]
    assert not answers[80]
    assert {due.workflow_id: due.next_run async for due in store.workflows.due(at(9999), ALL)} == expected


async def test_a_step_that_is_none_advances_as_any_other(store):
    """After misfires, say, or at the last tick."""
    step = timedelta(seconds=60)
    for number, to in enumerate((at(180), None, at(60))):
        await store.workflows.create(workflow(workflow_id=f"w{number}", next_run=at(0)))
        assert await store.workflows.advance(f"w{number}", 1, at(0), Advance(to, step=step))
        assert (await store.workflows.get(f"w{number}")).next_run == to


async def test_a_server_without_transactions_is_written_to_all_the_same(real):
    for number in range(3):
        await real.workflows.create(workflow(workflow_id=f"w{number}"))
    real.workflows._has_transactions = False
    answers = [real.workflows.advance(f"w{number}", 1, at(10), Advance(at(20))) for number in range(3)]
    assert await asyncio.gather(*answers) == [True] * 3


async def test_the_servers_clock_is_read(real):
    assert abs(await real.time() - datetime.now(timezone.utc)) < timedelta(seconds=30)
