"""What is over its retention is removed from the database, in steps that hold nobody up; MongoDB alone."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest
from bson import ObjectId

from domain.execution import Parent, Status
from domain.occurrence import Disposition, Unfired
from store.chunks import AT_ONCE
from store.interfaces import AuditEntry, AuditFilter, ExecutionFilter
from tests.store.test_backfills import backfill
from tests.store.test_executions import admission, at, finished
from tests.store.test_signals import signal

pytestmark = pytest.mark.asyncio(loop_scope="session")

DAY = timedelta(days=1)
KEPT = {
    "executions": 30 * DAY, "occurrences": 90 * DAY, "backfills": 90 * DAY, "audit": 365 * DAY, "idempotency_keys": DAY,
    "signals": 30 * DAY,
}  # fmt: skip


def retentions(store, *, executions=KEPT["executions"]):
    found = store.retentions(executions=executions, ledger=KEPT["occurrences"], audit=KEPT["audit"])
    return {each.name: each for each in found}


async def swept(retention, now):
    """Sweep to the end and return how many documents each step has removed."""
    return [removed async for removed in retention.sweep(now)]


async def all_swept(store, now, **kept):
    return {name: sum(await swept(each, now)) for name, each in retentions(store, **kept).items()}


async def ended(store, seconds):
    """Store executions that ended a second after these seconds."""
    asked = [replace(admission(f"w{n}"), lock_key=None, reason="busy", created_at=at(n)) for n in seconds]
    await asyncio.gather(*(store.executions.admit(each) for each in asked))


async def left(store):
    return sorted([each["finished_at"] async for each in store._database.executions.find({}, {"finished_at": 1})])


class Counted:
    """A collection that notes how many documents each query found."""

    def __init__(self, collection):
        self._collection = collection
        self.found = []

    def __getattr__(self, name):
        return getattr(self._collection, name)

    async def find(self, *args):
        self.found.append(0)
        async for document in self._collection.find(*args):
            self.found[-1] += 1
            yield document


async def test_what_is_over_is_removed_and_nothing_else(real):
    over, recent, still_open = (admission(name) for name in ("over", "recent", "open"))
    await asyncio.gather(*(real.executions.admit(each) for each in (over, recent, still_open)))
    await real.executions.project([finished(over, status=Status.OK)])
    await real.executions.project([finished(recent, index=1, status=Status.FAILED, ok=False)])
    for seconds in (1, 2):
        await real.occurrences.record(Unfired("w", Disposition.SKIPPED, at(seconds), at(seconds), 1))
        await real.audit.write(AuditEntry(str(ObjectId()), at(seconds), "anna", None, "x", "/x", 200, "r"))
        await real.idempotency.claim(f"key {seconds}", "print", at(seconds))
        await real.backfills.add(backfill(seconds))
        assert await real.backfills.save(backfill(seconds).done(at(seconds)))
        await real.signals.put(signal(seconds), 1)
        await real.signals.heed(signal(seconds).execution_id, "approved", at(seconds))
    await real.backfills.add(backfill(3))
    await real.signals.put(signal(3), 1)

    for name, retention in retentions(real).items():
        assert await swept(retention, at(1) + KEPT[name]) == [0], name
        assert sum(await swept(retention, at(1.001) + KEPT[name])) == 1, name

    there = {each.execution_id for each in await real.executions.list(ExecutionFilter(), before=None, limit=9)}
    assert there == {recent.execution_id, still_open.execution_id}
    assert [each.first for each in await real.occurrences.list("w", before=None, limit=9)] == [at(2)]
    assert [each.at for each in await real.audit.list(AuditFilter(), before=None, limit=9)] == [at(2)]
    assert [each.created_at for each in await real.backfills.list("w", before=None, limit=9)] == [at(3), at(2)]
    assert (await real.idempotency.claim("key 1", "print", at(9))).is_ours
    assert not (await real.idempotency.claim("key 2", "print", at(9))).is_ours

    await real._database.sweeps.delete_many({})  # what was never swept is swept at once, not hour by hour
    await all_swept(real, at(0) + 1000 * DAY)
    assert [each.execution_id async for each in real.executions.scan()] == [still_open.execution_id]
    assert [each.created_at for each in await real.backfills.list("w", before=None, limit=9)] == [at(3)]
    kept = [await real.signals.get(signal(number).execution_id, "approved") for number in (1, 2, 3)]
    assert kept == [None, None, signal(3)], "what may still be waited for stays"


async def test_what_an_open_execution_has_triggered_is_kept_until_that_has_ended(real):
    """It may wait for the others still, and would find it gone."""
    parent, other = admission("parent"), admission("other")
    children = [
        replace(admission(f"c{number}"), triggered_by=Parent(of.execution_id, "parent", "each"))
        for number, of in enumerate((parent, other))
    ]
    await asyncio.gather(*(real.executions.admit(each) for each in (parent, other, *children)))
    await real.executions.project([finished(each, status=Status.OK) for each in (other, *children)])
    retention = retentions(real)["executions"]
    kept, gone = (each.execution_id for each in children)
    for days in (31, 32):
        await swept(retention, at(0) + days * DAY)
        assert set(await real.executions.states([kept, gone])) == {kept}
    await real.executions.project([finished(parent, status=Status.OK)])
    await swept(retention, at(0) + 33 * DAY)
    assert await real.executions.states([kept, parent.execution_id]) == {}


async def test_a_retention_that_is_changed_counts_for_what_is_stored_already(real):
    await ended(real, [0, 86_400])
    now = at(0) + 20 * DAY
    assert (await all_swept(real, now))["executions"] == 0
    assert (await all_swept(real, now, executions=19.5 * DAY))["executions"] == 1
    assert (await all_swept(real, now, executions=30 * DAY))["executions"] == 0
    assert await left(real) == [at(86_400)]
    assert (await all_swept(real, now, executions=DAY))["executions"] == 1


async def test_a_great_deal_is_removed_in_steps_that_find_and_remove_little(real):
    """As after a retention was shortened: what is asked for at once is what the standalone database reads at once."""
    retention = retentions(real)["executions"]
    assert sum(await swept(retention, at(0) + 30 * DAY)) == 0
    # A quiet day, a busy half hour.
    times = [at(n * 3600) for n in range(24)] + [at(86_400 + n) for n in range(1800)]
    await real._database.executions.insert_many([{"finished_at": each} for each in times])
    retention._collection = counted = Counted(real._database.executions)
    removed = await swept(retention, at(0) + 40 * DAY)
    assert sum(removed) == len(times) and await left(real) == []
    assert max(removed) == AT_ONCE
    # The busy time may begin within a window as wide as they get, and not more than one.
    first, *others = sorted(counted.found, reverse=True)
    assert first <= 1800 and max(others) <= 500
    assert len(counted.found) < 500
    another = retentions(real)["executions"]
    another._collection = counted = Counted(real._database.executions)
    assert await swept(another, at(0) + 40 * DAY) == [0]
    assert counted.found == [0], "it goes on where that one ended"


async def test_what_was_stored_belatedly_is_removed(real):
    await all_swept(real, at(0) + 31 * DAY)
    await ended(real, [5])
    assert (await all_swept(real, at(60) + 31 * DAY))["executions"] == 1


async def test_a_sweep_that_was_left_off_is_taken_up_by_another(real):
    await ended(real, range(100))
    async for removed in retentions(real)["executions"].sweep(at(0) + 31 * DAY):
        if removed:
            break
    assert len(await left(real)) == 100 - AT_ONCE
    assert (await all_swept(real, at(0) + 31 * DAY))["executions"] == 100 - AT_ONCE


@pytest.mark.parametrize("before", ["never", "swept"])
async def test_two_that_sweep_at_once_remove_everything_once(real, before):
    if before == "swept":
        await all_swept(real, at(0) + 30 * DAY)
    await ended(real, range(100))
    both = await asyncio.gather(*(all_swept(real, at(0) + 31 * DAY) for _ in range(2)))
    assert sum(each["executions"] for each in both) == 100
    assert await left(real) == []


async def test_an_end_that_took_the_place_of_the_one_that_is_over_stays(real):
    await ended(real, [1])
    sweep = retentions(real)["executions"].sweep(at(0) + 31 * DAY)
    await anext(sweep)  # it has been found
    await real._database.executions.update_one({}, {"$set": {"finished_at": at(0) + 20 * DAY}})
    assert [removed async for removed in sweep] == [0]
    assert await left(real) == [at(0) + 20 * DAY]


async def test_what_is_over_is_found_by_an_index_and_no_server_removes_anything(real):
    for name, retention in retentions(real).items():
        collection = real._database[name]
        query = {retention._instant: {"$gte": at(0), "$lt": at(9)}}
        plan = str((await collection.find(query).explain())["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in plan and "COLLSCAN" not in plan, (name, plan)
    for name in await real._database.list_collection_names():
        indexes = await real._database[name].index_information()
        assert not any("expireAfterSeconds" in index for index in indexes.values()), name
