"""The contract of the workflows, kept by the fake and by MongoDB alike."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import chain

import pytest

from store.interfaces import Advance, Due, Heartbeat, VersionConflict, Workflow, WorkflowExists, WorkflowFilter

pytestmark = pytest.mark.asyncio(loop_scope="session")

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
ALL = frozenset(range(8))
HEADERS = {"X-Dotted.Name": "1", "$where": "2"}


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def workflow(workflow_id="w", *, version=1, next_run=None, shard=3, trigger="periodic", retries=3):
    return Workflow(
        workflow_id=workflow_id,
        version=version,
        definition={
            "workflow_id": workflow_id,
            "trigger": {"type": trigger, "interval": "10s"},
            "actions": [{"type": "http-request", "headers": HEADERS, "json_body": {"a.b": {"$c": 2**70}}}],
            "retries": retries,
        },
        total_actions=1,
        shard=shard,
        created_at=T0,
        updated_at=at(version),
        anchor=T0,
        next_run=next_run,
    )


async def test_what_is_stored_is_read_back(store):
    stored = await store.workflows.create(workflow(next_run=at(10)))
    assert await store.workflows.get("w") == stored
    assert await store.workflows.get("nobody") is None
    assert await store.workflows.get_version("w", 1) == stored.definition
    assert await store.workflows.get_version("w", 2) is None


async def test_an_id_is_taken_once(store):
    answers = await asyncio.gather(*(store.workflows.create(workflow()) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(answer, Workflow) for answer in answers) == 1
    assert sum(isinstance(answer, WorkflowExists) for answer in answers) == 9


async def test_of_two_changes_at_once_one_is_told(store):
    await store.workflows.create(workflow())
    answers = await asyncio.gather(
        *(store.workflows.replace(workflow(version=2, retries=n)) for n in range(5)), return_exceptions=True
    )
    (winner,) = [answer for answer in answers if isinstance(answer, Workflow)]
    assert sum(isinstance(answer, VersionConflict) for answer in answers) == 4
    assert await store.workflows.get("w") == winner
    assert (await store.workflows.get_version("w", 1))["retries"] == 3
    assert await store.workflows.get_version("w", 2) == winner.definition


async def test_the_subscriptions_are_those_of_the_current_versions(store):
    def reading(workflow_id, topic, since, version=1):
        made = workflow(workflow_id, version=version)
        kafka = {"topic": topic, "from_": "earliest"}
        return replace(made, definition={**made.definition, "kafka": kafka}, subscribed_at=since)

    async def found():
        return sorted((each.workflow_id, each.topic, each.since) for each in await store.workflows.subscribed())

    await store.workflows.create(workflow("a"))
    first = await store.workflows.create(reading("b", "t", at(1)))
    await store.workflows.create(reading("c", "t", at(2)))
    assert await found() == [("b", "t", at(1)), ("c", "t", at(2))]
    assert first.subscribed in await store.workflows.subscribed()
    second = await store.workflows.replace(reading("b", "u", at(3), version=2))
    assert await store.workflows.get("b") == second
    await store.workflows.replace(workflow("c", version=2))
    assert await found() == [("b", "u", at(3))]
    assert await store.workflows.archive(second, at(4))
    assert (await found(), (await store.workflows.get("b")).subscribed) == ([], None)
    await store.workflows.create(reading("b", "t", at(5)))
    assert await found() == [("b", "t", at(5))]


async def test_archiving_keeps_what_open_executions_run(store):
    stored = await store.workflows.create(workflow(next_run=at(10)))
    assert not await store.workflows.archive(replace(stored, version=2), at(5))
    assert await store.workflows.archive(stored, at(5))
    assert not await store.workflows.archive(stored, at(6))
    archived = await store.workflows.get("w")
    assert (archived.archived_at, archived.next_run) == (at(5), None)
    assert await store.workflows.get_version("w", 1) == archived.definition
    with pytest.raises(VersionConflict):
        await store.workflows.replace(workflow(version=2))
    again = await store.workflows.create(workflow())
    assert (again.version, again.archived_at) == (3, None)
    assert await store.workflows.get("w") == again


async def test_an_archived_workflow_is_created_again_whatever_its_schedule_was_doing(store):
    for name in ("paused", "resumed"):
        await store.workflows.create(workflow(name, next_run=at(10)))
        await store.workflows.pause(name, at(5), at(10))
    await store.workflows.resume("resumed", 1, at(5), Advance(at(20)))
    for name in ("paused", "resumed"):
        assert await store.workflows.archive(await store.workflows.get(name), at(6))
        again = await store.workflows.create(workflow(name, next_run=at(30)))
        assert await store.workflows.get(name) == again
        assert (again.version, again.archived_at, again.paused_at, again.held_from) == (3, None, None, None)


async def test_a_workflow_is_archived_as_it_was_read_or_not_at_all(store):
    read = await store.workflows.create(workflow(next_run=at(10)))
    assert await store.workflows.advance("w", 1, at(10), Advance(at(20)))
    assert not await store.workflows.archive(read, at(11)), "its schedule has moved on"
    read = await store.workflows.get("w")
    assert await store.workflows.pause("w", at(12), at(20))
    assert not await store.workflows.archive(read, at(13)), "it was paused"
    read = await store.workflows.get("w")
    assert await store.workflows.resume("w", 1, at(12), Advance(at(20)))
    assert not await store.workflows.archive(read, at(14)), "it was resumed"
    assert (await store.workflows.get("w")).archived_at is None


async def test_listing(store):
    for name, trigger in (("a1", "manual"), ("a2", "periodic"), ("b1", "manual"), ("b2", "manual")):
        await store.workflows.create(workflow(name, trigger=trigger))
    await store.workflows.archive(await store.workflows.get("b2"), at(1))

    async def listed(after=None, limit=10, **where):
        return [w.workflow_id for w in await store.workflows.list(WorkflowFilter(**where), after=after, limit=limit)]

    assert await listed() == ["a1", "a2", "b1"]
    assert await listed(limit=2) == ["a1", "a2"]
    assert await listed(after="a2") == ["b1"]
    assert await listed(prefix="a") == ["a1", "a2"]
    assert await listed(prefix="a", after="a1") == ["a2"]
    assert await listed(trigger_type="manual") == ["a1", "b1"]
    assert await listed(contains="2") == ["a2"]
    assert await listed(is_archived=True) == ["b2"]


async def test_what_is_archived_is_listed_on_its_own(store):
    async def listed(after=None, limit=10, **where):
        where = WorkflowFilter(is_archived=True, **where)
        return [w.workflow_id for w in await store.workflows.list(where, after=after, limit=limit)]

    for name, trigger in (("a1", "manual"), ("a2", "periodic"), ("b1", "manual"), ("b2", "cron")):
        await store.workflows.create(workflow(name, trigger=trigger))
    assert await listed() == []
    for name in ("b1", "a2", "a1"):
        await store.workflows.archive(await store.workflows.get(name), at(1))
    assert await listed() == ["a1", "a2", "b1"]
    assert await listed(limit=2) == ["a1", "a2"]
    assert await listed(after="a2") == ["b1"]
    assert await listed(prefix="a") == ["a1", "a2"]
    assert await listed(trigger_type="manual") == ["a1", "b1"]
    assert await listed(contains="2") == ["a2"]
    await store.workflows.create(workflow("a2"))
    assert await listed() == ["a1", "b1"]


async def test_what_is_due(store):
    for name, seconds, shard in (("late", 5, 3), ("soon", 1, 3), ("other", 1, 4), ("far", 99, 3)):
        await store.workflows.create(workflow(name, next_run=at(seconds), shard=shard))
    await store.workflows.create(workflow("never", trigger="manual"))

    async def due(until, shards=ALL):
        return [found.workflow_id async for found in store.workflows.due(until, shards)]

    assert await due(at(5), frozenset({3})) == ["soon", "late"]
    assert sorted(await due(at(1))) == ["other", "soon"]
    assert await store.workflows.advance("soon", 1, at(1), Advance(at(11)))
    assert not await store.workflows.advance("soon", 1, at(1), Advance(at(21)))
    assert not await store.workflows.advance("nobody", 1, at(1), Advance(at(11)))
    assert not await store.workflows.advance("late", 2, at(5), Advance(at(15))), "another definition"
    assert await store.workflows.advance("other", 1, at(1), Advance(None))
    assert await due(at(5)) == ["late"]
    assert (await store.workflows.get("soon")).next_run == at(11)


async def test_heartbeats(store):
    await store.runners.beat(Heartbeat("r1", 1, {"host": "h", "pid": 1}))
    await store.runners.beat(Heartbeat("r2", 1, {"host": "h", "pid": 2}))
    await store.runners.beat(replace(Heartbeat("r1", 2, {"host": "h", "pid": 1})))
    assert {beat.runner: beat.beat for beat in await store.runners.all()} == {"r1": 2, "r2": 1}
    await store.runners.remove("r1")
    assert [beat.runner for beat in await store.runners.all()] == ["r2"]


async def test_versions_are_listed_newest_first_in_pages(store):
    await store.workflows.create(workflow())
    for version in (2, 3, 4):
        await store.workflows.replace(workflow(version=version, retries=version))
    await store.workflows.create(workflow("w@2".replace("@", "-")))
    first = await store.workflows.versions("w", before=None, limit=3)
    assert [(each.workflow_id, each.version, each.definition["retries"]) for each in first] == [
        ("w", 4, 4),
        ("w", 3, 3),
        ("w", 2, 2),
    ]
    assert [each.updated_at for each in first] == [at(4), at(3), at(2)]
    assert [each.version for each in await store.workflows.versions("w", before=2, limit=3)] == [1]
    assert await store.workflows.versions("nobody", before=None, limit=3) == []


@pytest.mark.parametrize(
    ("contains", "prefix", "found"),
    [("REPORT", None, ["nightly-report", "weekly.Report"]), ("y.r", None, ["weekly.Report"]), ("t", "imp", ["import"])],
)
async def test_a_list_is_searched_by_a_part_of_the_id(store, contains, prefix, found):
    for workflow_id in ("nightly-report", "weekly.Report", "import", "other"):
        await store.workflows.create(workflow(workflow_id))
    where = WorkflowFilter(contains=contains, prefix=prefix)
    assert [each.workflow_id for each in await store.workflows.list(where, after=None, limit=10)] == found
    after = await store.workflows.list(where, after=found[0], limit=10)
    assert [each.workflow_id for each in after] == found[1:]


async def test_what_is_overdue_is_found(store):
    await store.workflows.create(workflow("later", next_run=at(30)))
    await store.workflows.create(workflow("manual"))
    assert await store.workflows.overdue_since(at(29)) is None
    await store.workflows.create(workflow("sooner", next_run=at(20)))
    assert await store.workflows.overdue_since(at(31)) == at(20)


async def test_pages_leave_nothing_out_and_tell_nothing_twice(store):
    names = [f"{team}-{number:03d}" for team in ("billing", "crm", "zoo") for number in range(40)]
    for place, name in enumerate(names):
        await store.workflows.create(workflow(name, trigger=("manual", "cron", "once")[place % 7 % 3]))
    for name in names[10:50]:
        await store.workflows.archive(await store.workflows.get(name), at(1))
    left = [*names[:10], *names[50:]]

    async def pages(**where):
        found, after = [], None
        while page := await store.workflows.list(WorkflowFilter(**where), after=after, limit=7):
            found += [each.workflow_id for each in page]
            after = found[-1]
        return found

    assert await pages() == left
    assert await pages(prefix="crm-") == [name for name in left if name.startswith("crm-")]
    assert await pages(contains="-00") == [name for name in left if "-00" in name]
    by_trigger = [await pages(trigger_type=each) for each in ("manual", "cron", "once", "periodic")]
    assert sorted(chain.from_iterable(by_trigger)) == left and all(found == sorted(found) for found in by_trigger)


async def test_what_runs_next_is_listed_in_order_of_time_and_read_on_from_any_place(store):
    now = datetime.now(timezone.utc).replace(microsecond=0)
    times = [now + timedelta(seconds=each) for each in (-5, 0, 30, 600, 600, 600, 9_000, 100_000, 1_000_000, 9_000_000)]
    names = [f"w{place}" for place in (7, 1, 0, 3, 4, 6, 2, 9, 5, 8)]
    for name, time in reversed([*zip(names, times, strict=True)]):
        await store.workflows.create(workflow(name, next_run=time))
    await store.workflows.create(workflow("by-hand", trigger="manual"))
    await store.workflows.create(workflow("paused", next_run=times[3]))
    assert await store.workflows.pause("paused", now, times[3])

    async def upcoming(after=None, until=None, limit=20):
        found = await store.workflows.upcoming(after=after, until=until, limit=limit)
        for due in found:
            assert due == Due.of(await store.workflows.get(due.workflow_id))
        return [due.workflow_id for due in found]

    assert await upcoming() == names
    assert await upcoming(limit=4) == names[:4]
    for place, after in enumerate(zip(times, names, strict=True), start=1):
        assert await upcoming(after) == names[place:]
        assert await upcoming(after, limit=2) == names[place : place + 2]
    assert await upcoming(until=times[3]) == names[:3]
    assert await upcoming((times[1], "w"), until=times[6]) == names[1:6]
    assert await upcoming((times[6], "w2"), until=times[3]) == []
