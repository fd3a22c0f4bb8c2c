"""What several processes do at the same instant has one winner, and nothing that was done is lost."""

import asyncio
import itertools
import uuid
from dataclasses import replace

import pytest

from domain.execution import CLOSED, Cause, Ended, Restart, Status, admit
from store.execution_documents import live_document
from store.group_commit import GroupCommit
from store.interfaces import Admitted, AlreadyAdmitted, ExecutionFilter, Locked, Started, StoreUnavailable
from tests.store.test_executions import ALL, admission, at, finished

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def together(*calls):
    return [answer for answer in await asyncio.gather(*calls) if answer is not None]


async def test_the_very_same_restart_is_granted_once(store):
    asked = admission()
    await store.executions.admit(asked)
    won = await together(*(store.executions.reissue(asked.execution_id, 1, at(3), Restart.UNCLAIMED) for _ in range(5)))
    assert [execution.epoch for execution in won] == [2]


async def test_the_very_same_claim_is_granted_once(store):
    asked = admission()
    await store.executions.admit(asked)
    won = await together(*(store.executions.claim(asked.execution_id, 1, "r1", at(3)) for _ in range(5)))
    assert [execution.epoch for execution in won] == [2]


async def test_the_very_same_end_is_granted_once(store):
    asked = admission()
    await store.executions.admit(asked)
    ended = Ended(asked.execution_id, asked.workflow_id, Status.CANCELLED, "asked", at(3))
    won = await together(*(store.executions.end(ended) for _ in range(5)))
    assert [execution.status for execution in won] == [Status.CANCELLED]
    assert await store.executions.get(asked.execution_id) == won[0]


async def test_winners_are_told_apart_within_one_write(store):
    """A batch in which some win and some lose: each caller gets its own answer."""
    asked = [admission(f"w{n}") for n in range(20)]
    for each in asked:
        await store.executions.admit(each)
    for each in asked[::2]:
        await store.executions.claim(each.execution_id, 1, "other", at(1))
    answers = await asyncio.gather(*(store.executions.reissue(e.execution_id, 1, at(2), Restart.UNCLAIMED) for e in asked))
    assert [answer is None for answer in answers] == [True, False] * 10


@pytest.mark.parametrize("meanwhile", ["nothing", "another process admits it", "it has run, and its insert is repeated"])
async def test_a_lock_whose_holder_ends_while_it_is_looked_up_is_free(real, meanwhile):
    held, asked = admission(), replace(admission(seconds=1), cause=Cause.SCHEDULE)
    await real.executions.admit(held)
    holders = real.executions.holders

    async def held_no_longer(keys):
        real.executions.holders = holders
        await real.executions.project([finished(held, status=Status.OK)])
        if meanwhile != "nothing":
            await real.executions._live.insert_one(live_document(admit(asked)))
        if meanwhile.startswith("it has run"):
            await real.executions.project([finished(asked, status=Status.OK)])
            await real.executions._live.insert_one(live_document(admit(asked)))
        return await holders(keys)

    real.executions.holders = held_no_longer
    answer = await real.executions.admit(asked)
    assert answer == (Admitted if meanwhile == "nothing" else AlreadyAdmitted)(asked.execution_id)
    holder, found = await real.executions.holder("w"), await real.executions.get(asked.execution_id)
    if meanwhile.startswith("it has run"):
        assert (holder, found.status) == (None, Status.OK)
    else:
        assert holder == found == admit(asked)


MEANWHILE = {
    "a mark": lambda executions, asked: executions.mark_started([Started(asked.execution_id, 1, "r1", at(1))]),
    "an intent": lambda executions, asked: executions.intend(asked.execution_id, 1, "1_0", "r1", at(1)),
    "a result": lambda executions, asked: executions.project([finished(asked)]),
    "a claim": lambda executions, asked: executions.claim(asked.execution_id, 1, "r1", at(1)),
    "a restart": lambda executions, asked: executions.reissue(asked.execution_id, 1, at(1), Restart.UNCLAIMED),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_an_end_is_not_lost_to_what_happens_while_it_is_brought_about(real, meanwhile):
    asked = admission()
    await real.executions.admit(asked)
    read = real.executions._get_all

    async def read_before(ids):
        found = await read(ids)
        real.executions._reads = GroupCommit(read)
        await MEANWHILE[meanwhile](real.executions, asked)
        return found

    real.executions._reads = GroupCommit(read_before)
    ended = await real.executions.end(Ended(asked.execution_id, asked.workflow_id, Status.CANCELLED, "asked", at(3)))
    assert ended.status is Status.CANCELLED
    assert await real.executions.get(asked.execution_id) == ended
    assert await real.executions.untold(ALL, 10) == [ended]
    assert isinstance(await real.executions.admit(admission()), Admitted), "its lock is free"


async def test_a_result_that_is_overtaken_while_it_is_written_is_turned_away(real):
    asked = admission()
    await real.executions.admit(asked)
    find = real.executions._find_live

    async def find_before(ids):
        found = await find(ids)
        real.executions._find_live = find
        await real.executions.reissue(asked.execution_id, 1, at(1), Restart.LOST)
        await real.executions.claim(asked.execution_id, 2, "r2", at(2))
        return found

    await real.executions.mark_started([Started(asked.execution_id, 1, "r1", at(0))])
    real.executions._find_live = find_before
    assert await real.executions.project([finished(asked, status=Status.OK)]) == {asked.execution_id}
    found = await real.executions.get(asked.execution_id)
    assert (found.status, found.epoch, found.owner) == (Status.RUNNING, 3, "r2")
    assert await real.executions.holder("w") == found


async def test_a_result_of_what_never_stands_still_is_not_taken_for_written(real):
    asked = admission()
    await real.executions.admit(asked)
    find, numbers = real.executions._find_live, itertools.count()

    async def find_before(ids):
        found = await find(ids)
        await real.executions.intend(asked.execution_id, 1, f"1_{next(numbers)}", "r1", at(1))
        return found

    real.executions._find_live = find_before
    with pytest.raises(StoreUnavailable, match="results of 1 executions not written"):
        await real.executions.project([finished(asked)])
    real.executions._find_live = find
    assert await real.executions.project([finished(asked)]) == frozenset()
    assert (await real.executions.get(asked.execution_id)).seq == 1


async def test_intents_are_told_apart_within_one_write(store):
    """A run that goes on although another has taken over would do what must not be done twice."""
    asked = [admission(f"w{n}") for n in range(5)]
    for each in asked:
        await store.executions.admit(each)
    ours, elsewhere, waiting, over, again = asked
    for each in (elsewhere, waiting, again):
        assert await store.executions.intend(each.execution_id, 1, "1_0", "r1", at(1))
    await store.executions.reissue(elsewhere.execution_id, 1, at(2), Restart.LOST)
    taken = await store.executions.claim(elsewhere.execution_id, 2, "r2", at(3))
    assert (taken.epoch, taken.intents) == (3, ("1_0",))
    await store.executions.project([finished(waiting, status=Status.WAITING, ok=False, wake_at=at(9))])
    await store.executions.end(Ended(over.execution_id, over.workflow_id, Status.CANCELLED, "asked", at(3)))
    before = {each.execution_id: await store.executions.get(each.execution_id) for each in (elsewhere, waiting, over, again)}
    answers = await asyncio.gather(
        *(store.executions.intend(each.execution_id, 1, "1_0", "r1", at(4)) for each in (*asked[1:], ours))
    )
    assert answers == [False, False, False, True, True]
    for execution_id, execution in before.items():
        assert await store.executions.get(execution_id) == execution
    assert (await store.executions.get(ours.execution_id)).intents == ("1_0",)


class Interrupted:
    """A collection: when it has answered a query, something else happens."""

    def __init__(self, collection, then):
        self._collection = collection
        self._then = then

    def __getattr__(self, name):
        return getattr(self._collection, name)

    def find(self, *args, **kwargs):
        return Answer(self._collection.find(*args, **kwargs), self._then)


class Answer:
    def __init__(self, cursor, then):
        self._cursor = cursor
        self._then = then

    def sort(self, order):
        self._cursor = self._cursor.sort(order)
        return self

    async def __aiter__(self):
        async for document in self._cursor:
            yield document
        await self._then()


@pytest.mark.parametrize("answers", range(1, 7))
@pytest.mark.parametrize("listed", ["list", "recent"])
async def test_what_ends_while_a_list_is_read_is_in_it(real, listed, answers):
    asked = admission("a")
    await real.executions.admit(asked)
    given = itertools.count(1)

    async def end():
        if next(given) == answers:
            await real.executions.project([finished(asked, status=Status.OK)])

    real.executions._live, real.executions._finished = (
        Interrupted(collection, end) for collection in (real.executions._live, real.executions._finished)
    )
    if listed == "list":
        found = await real.executions.list(ExecutionFilter(workflow_id="a"), before=None, limit=3)
    else:
        found = (await real.executions.recent({"a": ["a"]}, 3))["a"]
    assert [each.execution_id for each in found] == [asked.execution_id]


async def test_a_replay_that_begins_with_what_is_in_and_ends_with_what_is_not(store):
    asked = admission(total=3)
    await store.executions.admit(asked)
    results = [finished(asked, 0), finished(asked, 1, seq=2), finished(asked, 2, Status.OK, seq=3)]
    await store.executions.project(results[:1])
    assert await store.executions.project(results) == frozenset()
    execution = await store.executions.get(asked.execution_id)
    assert (execution.status, execution.seq, len(execution.results)) == (Status.OK, CLOSED, 3)


async def test_results_of_two_epochs_in_one_batch(store):
    asked = admission()
    await store.executions.admit(asked)
    await store.executions.claim(asked.execution_id, 1, "r2", at(1))
    await store.executions.project([finished(asked, 1, epoch=1), finished(asked, 0, epoch=2)])
    execution = await store.executions.get(asked.execution_id)
    assert list(execution.results) == ["1_0"]
    assert execution.epoch == 2


async def test_nothing_follows_a_terminal_result(store):
    asked = admission()
    await store.executions.admit(asked)
    await store.executions.project([finished(asked, 0, Status.OK), finished(asked, 1, seq=2)])
    execution = await store.executions.get(asked.execution_id)
    assert (execution.status, list(execution.results)) == (Status.OK, ["1_0"])
    assert await store.executions.holder("w") is None


async def test_a_mark_and_a_result_at_once_lose_neither(store):
    asked = [admission(f"w{n}") for n in range(20)]
    for each in asked:
        await store.executions.admit(each)
    lost, refused = await asyncio.gather(
        store.executions.mark_started([Started(each.execution_id, 1, "r1", at(0)) for each in asked]),
        store.executions.project([finished(each) for each in asked]),
    )
    assert (lost, refused) == (frozenset(), frozenset())
    for each in asked:
        execution = await store.executions.get(each.execution_id)
        assert (execution.status, execution.seq, execution.owner) == (Status.RUNNING, 1, "r1")


async def test_a_lost_runners_result_and_its_restart_at_once(store):
    """Whichever comes first, the lock is held by an open execution or by none."""
    asked = [admission(f"w{n}") for n in range(20)]
    for each in asked:
        await store.executions.admit(each)
    answers = await asyncio.gather(
        store.executions.project([finished(each, status=Status.OK) for each in asked]),
        *(store.executions.reissue(each.execution_id, 1, at(5), Restart.LOST) for each in asked),
    )
    holders = await store.executions.holders([each.workflow_id for each in asked])
    for each, restarted in zip(asked, answers[1:], strict=True):
        execution = await store.executions.get(each.execution_id)
        if restarted is None:
            assert (execution.status, each.workflow_id in holders) == (Status.OK, False)
        else:
            assert (execution, holders[each.workflow_id]) == (restarted, restarted)
            assert each.execution_id in answers[0]


async def test_one_batch_with_every_answer(store):
    held, known, fresh = admission("held"), admission("known"), admission("fresh")
    await store.executions.admit(held)
    await store.executions.admit(known)
    others = [admission("held"), known, fresh, admission("fresh"), admission("free"), admission(lock=False)]
    answers = await asyncio.gather(*(store.executions.admit(each) for each in others))
    assert answers == [
        Locked(held.execution_id, Status.PENDING),
        AlreadyAdmitted(known.execution_id),
        Admitted(fresh.execution_id),
        Locked(fresh.execution_id, Status.PENDING),
        Admitted(others[4].execution_id),
        Admitted(others[5].execution_id),
    ]


@pytest.mark.parametrize("lead", ["f", "0"], ids=["far-future", "far-past"])
async def test_an_id_of_a_producers_own_is_found_like_any_other(store, lead):
    asked = replace(admission(), execution_id=lead + str(uuid.uuid4())[1:])
    await store.executions.admit(asked)
    assert [each.execution_id for each in await store.executions.unclaimed(at(10), ALL, 10)] == [asked.execution_id]
    assert await store.executions.latest("w") == admit(asked)
    await store.executions.project([finished(asked, status=Status.OK)])
    assert (await store.executions.latest("w")).status is Status.OK


async def test_rebuilding_writes_over_what_is_there_and_adds_what_is_not(real):
    asked = [admission(f"w{n}", seconds=n) for n in range(6)]
    for each in asked[:4]:
        await real.executions.admit(each)
    await real.executions.project([finished(each, status=Status.OK) for each in asked[:2]])
    # The first ended there is open in truth, the lock of the third belongs to a newer execution.
    newer = replace(admission("w2", seconds=9), lock_key="w2")
    truth = [
        admit(asked[0]),
        *(replace(admit(each), status=Status.FAILED, seq=CLOSED, lock_key=None, requested_at=None, finished_at=at(8))
          for each in asked[1:5]),
        admit(asked[5]),
        admit(newer),
    ]  # fmt: skip
    await real.executions.replace_all(iter(truth))
    assert [each async for each in real.executions.scan()] == sorted(truth, key=lambda each: each.execution_id)
    assert set(await real.executions.holders([each.workflow_id for each in asked])) == {"w0", "w2", "w5"}


async def test_a_refused_bulk_is_unavailable_and_not_the_drivers_error(real):
    huge = replace(finished(admission()), reason="x" * (17 * 2**20), status=Status.WAITING, wake_at=at(1))
    asked = admission()
    await real.executions.admit(asked)
    with pytest.raises(StoreUnavailable):
        await real.executions.project([replace(huge, execution_id=asked.execution_id)])
    assert (await real.executions.get(asked.execution_id)).seq == 0
