"""The contract of backfills, and how they show in admission; kept by the fake and by MongoDB alike."""

import asyncio
from datetime import datetime, timedelta, timezone

import pytest

from apps.admission import Opened, admit_under, release_next
from domain.backfill import Backfill, BackfillStatus
from domain.execution import Admission, Cause, Ended, Status
from domain.identifiers import execution_id, tick_execution_id
from domain.overlap import Overlap
from domain.trigger import CronTrigger, PeriodicTrigger
from store.interfaces import AlreadyAdmitted, Locked

pytestmark = pytest.mark.asyncio(loop_scope="session")

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
ALL = frozenset(range(8))


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def backfill(number=1, workflow_id="w", **fields):
    return Backfill(
        **{
            "backfill_id": execution_id(at(number), bytes(10)),
            "workflow_id": workflow_id,
            "shard": 3,
            "trigger": PeriodicTrigger(type="periodic", interval="10s"),
            "anchor": T0,
            "first": at(100),
            "until": at(200),
            "rate": "1/s",
            "at_once": 1,
            "ticks": 10,
            "created_at": at(number),
            "position": at(100),
            "wake_at": at(number),
            **fields,
        }
    )


async def test_it_is_kept_as_it_was_given(store):
    cron = CronTrigger(type="cron", expression=["0 1 * * *", "@hourly"], timezone="Europe/Berlin", misfire="skip")
    full = backfill(trigger=cron, beyond_retention=True, already_run=1, started=3, open=(at(120), at(130)), ok=1, failed=0)
    assert await store.backfills.add(full)
    assert await store.backfills.get(full.backfill_id) == full
    assert await store.backfills.running("w") == full
    ended = full.cancelled("asked", at(300))
    assert await store.backfills.save(ended)
    assert await store.backfills.get(full.backfill_id) == ended
    assert await store.backfills.get(execution_id(at(9), bytes(10))) is None


async def test_a_workflow_has_one_that_is_running(store):
    first, second = backfill(1), backfill(2)
    added = await asyncio.gather(store.backfills.add(first), store.backfills.add(second))
    assert sorted(added) == [False, True]
    winner, loser = (first, second) if added[0] else (second, first)
    assert await store.backfills.add(winner), "the same again is no other one"
    assert await store.backfills.add(backfill(3, "v"))
    assert await store.backfills.save(winner.done(at(9)))
    assert await store.backfills.running("w") is None
    assert await store.backfills.add(loser)


async def test_of_two_changes_at_once_one_is_stored(store):
    made = backfill()
    await store.backfills.add(made)
    saved = await asyncio.gather(
        store.backfills.save(made.starting(at(100), at(5))), store.backfills.save(made.passing([at(100), at(110)]))
    )
    assert sorted(saved) == [False, True]
    stored = await store.backfills.get(made.backfill_id)
    assert (stored.position, stored.revision) == ((at(110) if saved[0] else at(120)), 2)
    assert not await store.backfills.save(backfill(7).done(at(9))), "nobody knows it"


async def test_those_that_are_due_are_found_by_their_shard_soonest_first(store):
    for number, workflow_id in enumerate("abcd", start=1):
        await store.backfills.add(backfill(number, workflow_id, shard=number % 2, wake_at=at(40 - 10 * number)))
    ended = backfill(5, "e", wake_at=at(1))
    await store.backfills.add(ended)
    await store.backfills.save(ended.done(at(2)))
    found = await store.backfills.waking(at(20), ALL, 9)
    assert [each.workflow_id for each in found] == ["d", "c", "b"]
    assert [each.workflow_id for each in await store.backfills.waking(at(20), ALL, 2)] == ["d", "c"]
    assert [each.workflow_id for each in await store.backfills.waking(at(20), frozenset({1}), 9)] == ["c"]


async def test_they_are_listed_newest_first_and_by_what_they_cover(store):
    made = [backfill(number, first=at(100 * number), until=at(100 * number + 50)) for number in (1, 2, 3)]
    for each in made:
        await store.backfills.add(each)
        await store.backfills.save(each.done(at(900)))
    await store.backfills.add(backfill(4, "other"))
    listed = await store.backfills.list("w", before=None, limit=2)
    assert [each.backfill_id for each in listed] == [made[2].backfill_id, made[1].backfill_id]
    rest = await store.backfills.list("w", before=listed[-1].backfill_id, limit=2)
    assert [each.backfill_id for each in rest] == [made[0].backfill_id]
    assert {each.status for each in listed} == {BackfillStatus.DONE}

    async def covering(first, last):
        return sorted(each.first for each in await store.backfills.covering("w", at(first), at(last)))

    assert await covering(0, 1000) == [at(100), at(200), at(300)]
    assert await covering(149, 200) == [at(100), at(200)]
    assert await covering(150, 199) == [], "the range is half-open"


# -- who gives way to whom ---------------------------------------------------------------------------------------------


def asked(seconds, cause=Cause.SCHEDULE, **fields):
    return Admission(
        execution_id=tick_execution_id("w", at(seconds)),
        workflow_id="w",
        version=1,
        cause=cause,
        created_at=at(seconds),
        retries_left=0,
        total_actions=1,
        shard=3,
        due_at=at(seconds),
        **fields,
    )


async def admit(store, policy, seconds, ended=None, cause=Cause.SCHEDULE):
    async def tell_ended(execution):
        ended.append(execution)

    return await admit_under(
        Overlap(policy=policy), asked(seconds, cause), executions=store.executions, tell_ended=tell_ended, now=at(seconds)
    )


@pytest.mark.parametrize("cause", [Cause.SCHEDULE, Cause.MANUAL, Cause.EVENT])
@pytest.mark.parametrize("policy", ["skip", "cancel-running", "queue"])
async def test_what_meets_an_execution_of_a_backfill_is_queued_behind_it(store, policy, cause):
    backfilled = asked(1, Cause.BACKFILL, lock_key="w")
    await store.executions.admit(backfilled)
    answer = await admit(store, policy, 60, cause=cause)
    assert isinstance(answer, Opened)
    assert (answer.execution.status, answer.publish) == (Status.QUEUED, None)
    assert await admit(store, policy, 60, cause=cause) == AlreadyAdmitted(asked(60).execution_id)
    refused = await admit(store, policy, 70, cause=cause)
    assert isinstance(refused, Locked)
    assert refused.execution_id == backfilled.execution_id
    assert await release_next("w", executions=store.executions, now=at(80)) is None
    await store.executions.end(Ended(backfilled.execution_id, "w", Status.OK, "done", at(80)))
    released = await release_next("w", executions=store.executions, now=at(80))
    assert (released.due_at, released.status, released.lock_key) == (at(60), Status.PENDING, "w")


async def test_it_may_end_just_before_the_other_one_stands_in_the_line(store):
    backfilled = asked(1, Cause.BACKFILL, lock_key="w")
    await store.executions.admit(backfilled)
    line, end = store.executions.line, Ended(backfilled.execution_id, "w", Status.OK, "done", at(80))
    admissions = store.executions.admit

    async def ends_meanwhile(admission):
        if admission.queued:
            await store.executions.end(end)
        return await admissions(admission)

    store.executions.admit = ends_meanwhile
    answer = await admit(store, "skip", 60)
    assert answer.publish is not None
    assert (answer.publish.due_at, answer.publish.status) == (at(60), Status.PENDING)
    assert await line("w") == []
