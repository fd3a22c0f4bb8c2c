"""What a crash between two writes leaves, and how it is mended: MongoDB alone."""

from dataclasses import replace

import pytest
import pytest_asyncio

from domain.execution import Cause, Ended, Restart, Status, admit, apply
from store.execution_documents import live_document, to_document
from store.interfaces import Admitted, AlreadyAdmitted, ExecutionFilter
from tests.store.test_executions import ALL, admission, at, finished

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def bystander(real):
    """An execution of which nothing is asked, and that nothing befalls."""
    asked = admission("bystander", seconds=99)
    await real.executions.admit(asked)
    yield
    assert await real.executions.get(asked.execution_id) == admit(asked)


def tick(workflow_id="w"):
    return replace(admission(workflow_id), cause=Cause.SCHEDULE)


async def test_a_tick_that_has_finished_is_never_admitted_again(real):
    asked = tick()
    assert isinstance(await real.executions.admit(asked), Admitted)
    await real.executions.project([finished(asked, status=Status.OK)])
    assert await real.executions.admit(asked) == AlreadyAdmitted(asked.execution_id)
    assert await real.executions.holder("w") is None, "the repetition left its lock behind"
    assert (await real.executions.get(asked.execution_id)).status is Status.OK


async def test_a_repeated_tick_whose_scheduler_died_before_it_looked_is_not_published(real):
    asked = tick()
    await real.executions.admit(asked)
    await real.executions.project([finished(asked, status=Status.OK)])
    await real.executions._live.insert_one(live_document(admit(asked)))
    (left,) = await real.executions.unclaimed(at(10), ALL, 10)
    assert await real.executions.reissue(left.execution_id, 1, at(11), Restart.UNCLAIMED) is None
    assert (await real.executions.get(asked.execution_id)).status is Status.OK
    assert isinstance(await real.executions.admit(admission()), Admitted)


@pytest.mark.parametrize("status", [Status.OK, Status.SKIPPED])
async def test_a_repetition_whose_insert_was_not_answered_leaves_no_lock(real, status):
    asked = tick()
    if status is Status.SKIPPED:
        await real.executions.admit(replace(asked, lock_key=None, reason="busy"))
    else:
        await real.executions.admit(asked)
        await real.executions.project([finished(asked, status=status)])
    await real.executions._live.insert_one(live_document(admit(asked)))  # and nobody heard of it
    assert await real.executions.admit(asked) == AlreadyAdmitted(asked.execution_id)
    assert (await real.executions.get(asked.execution_id)).status is status
    assert isinstance(await real.executions.admit(admission()), Admitted)


@pytest.mark.parametrize("why", [Restart.LOST, Restart.HANDED_BACK, Restart.UNCLAIMED, Restart.RETRY])
async def test_what_has_finished_and_is_open_still_or_again_is_not_handed_on(real, why):
    """Its projector died before it removed what was open; or a write was carried out when nobody waited for it any more."""
    asked = admission()
    await real.executions.admit(asked)
    if why is Restart.RETRY:
        await real.executions.project([finished(asked, status=Status.WAITING, ok=False)])
    left = await real.executions._live.find_one({"_id": asked.execution_id})
    await real.executions.project([finished(asked, seq=2, status=Status.OK)])
    ended = await real.executions.get(asked.execution_id)
    await real.executions._live.insert_one(left)
    assert await real.executions.reissue(asked.execution_id, 1, at(9), why) is None
    assert await real.executions.get(asked.execution_id) == ended
    assert isinstance(await real.executions.admit(admission()), Admitted), "its lock is free"


async def test_what_has_finished_and_is_open_again_is_not_ended_anew(real):
    asked = admission()
    await real.executions.admit(asked)
    await real.executions.project([finished(asked, status=Status.OK)])
    ended = await real.executions.get(asked.execution_id)
    await real.executions._live.insert_one(live_document(admit(asked)))
    late = Ended(asked.execution_id, "w", Status.FAILED, "timed out after 1s", at(9))
    assert await real.executions.end(late) is None
    assert await real.executions.get(asked.execution_id) == ended
    assert await real.executions.untold(ALL, 10) == []


async def test_a_finished_document_is_shadowed_until_the_open_one_is_gone(real):
    asked = admission()
    await real.executions.admit(asked)
    result = finished(asked, status=Status.FAILED, ok=False)
    await real.executions._finished.insert_one(to_document(apply(admit(asked), result)))
    assert (await real.executions.get(asked.execution_id)).status is Status.PENDING
    states = await real.executions.states([asked.execution_id])
    assert states == {asked.execution_id: (1, Status.PENDING)}, "a runner would stop what it runs"
    assert [each.status async for each in real.executions.scan(workflow_id="w")] == [Status.PENDING]
    everything = await real.executions.list(ExecutionFilter(workflow_id="w"), before=None, limit=10)
    assert [execution.status for execution in everything] == [Status.PENDING]
    assert await real.executions.list(ExecutionFilter(statuses=frozenset({Status.FAILED})), before=None, limit=10) == []
    await real.executions.project([result])
    assert (await real.executions.get(asked.execution_id)).status is Status.FAILED
    assert isinstance(await real.executions.admit(admission()), Admitted)


async def test_a_later_epoch_replaces_what_a_zombie_has_left_and_not_the_other_way(real):
    asked = admission()
    await real.executions.admit(asked)
    zombie = finished(asked, status=Status.FAILED, ok=False)
    await real.executions.reissue(asked.execution_id, 1, at(1), Restart.LOST)
    await real.executions._finished.insert_one(to_document(apply(admit(asked), zombie)))
    await real.executions.claim(asked.execution_id, 2, "r2", at(2))
    assert await real.executions.project([zombie]) == {asked.execution_id}
    await real.executions.project([finished(asked, status=Status.OK, epoch=3)])
    ended = await real.executions.get(asked.execution_id)
    assert ended.status is Status.OK
    assert await real.executions.project([zombie]) == {asked.execution_id}
    assert await real.executions.get(asked.execution_id) == ended


async def test_what_was_ended_but_not_moved_holds_no_lock_and_is_moved_later(real):
    asked = admission()
    await real.executions.admit(asked)
    before = await real.executions.get(asked.execution_id)
    after = apply(before, Ended(asked.execution_id, "w", Status.CANCELLED, "asked", at(1)))
    assert await real.executions._swap(before, after)
    assert (await real.executions.get(asked.execution_id)).status is Status.CANCELLED
    cancelled, other = frozenset({Status.CANCELLED}), frozenset({Status.OK})
    for workflow_id, statuses, count in (
        (None, None, 1),
        ("w", None, 1),
        (None, cancelled, 1),
        ("w", cancelled, 1),
        (None, other, 0),
        ("w", other, 0),
    ):
        where = ExecutionFilter(workflow_id=workflow_id, statuses=statuses)
        listed = await real.executions.list(where, before=None, limit=10)
        assert [execution.execution_id for execution in listed].count(asked.execution_id) == count, where
    assert isinstance(await real.executions.admit(admission()), Admitted)
    assert await real.executions.unclaimed(at(10), ALL, 10) != []
    assert await real.executions._live.find_one({"_id": asked.execution_id}) is None
    assert await real.executions.get(asked.execution_id) == after


async def test_an_end_that_a_result_has_forestalled_is_never_told(real):
    """Whoever cancels marks the end, and dies; then the execution fails by itself."""
    other, asked = admission("other"), admission()
    await real.executions.admit(other)
    told_later = await real.executions.end(Ended(other.execution_id, "other", Status.CANCELLED, "asked", at(2)))
    await real.executions.admit(asked)
    before = await real.executions.get(asked.execution_id)
    await real.executions._mark_untold(apply(before, Ended("", "w", Status.CANCELLED, "asked", at(3))))
    assert await real.executions.untold(ALL, 10) == [told_later], "it is still open"
    assert await real.executions._untold.count_documents({}) == 2, "it may be about to end"
    await real.executions.project([finished(asked, status=Status.FAILED)])
    assert await real.executions.untold(ALL, 10) == [told_later]
    assert await real.executions._untold.count_documents({}) == 1


async def test_an_end_that_is_removed_before_it_is_told_holds_up_no_other(real):
    """It was kept for a shorter time than the scheduler was away."""
    asked, other = admission(), admission("other")
    for each in (asked, other):
        await real.executions.admit(each)
        await real.executions.end(Ended(each.execution_id, each.workflow_id, Status.CANCELLED, "asked", at(3)))
    await real.executions._finished.delete_one({"_id": asked.execution_id})
    assert [each.execution_id for each in await real.executions.untold(ALL, 10)] == [other.execution_id]
    assert await real.executions._untold.count_documents({}) == 1


async def test_an_end_is_told_though_others_were_about_to_bring_about_theirs(real):
    asked = admission()
    await real.executions.admit(asked)
    before = await real.executions.get(asked.execution_id)
    for second in (3, 4):
        await real.executions._mark_untold(apply(before, Ended("", "w", Status.CANCELLED, "somebody else", at(second))))
    ended = await real.executions.end(Ended(asked.execution_id, "w", Status.CANCELLED, "asked", at(5)))
    assert await real.executions.untold(ALL, 10) == [ended]
    await real.executions.told([asked.execution_id])
    assert await real.executions._untold.count_documents({}) == 0


async def test_what_two_runners_had_in_hand_runs_though_the_slower_one_recorded_it_as_skipped(real):
    """One of them looked in vain for a skip, and published; then the other one, slower, recorded it."""
    asked = replace(admission(), cause=Cause.EVENT)
    assert isinstance(await real.executions.admit(asked), Admitted)
    await real.executions._insert_into(real.executions._finished, [replace(asked, lock_key=None)], [0])
    claimed = await real.executions.claim(asked.execution_id, 1, "r1", at(9))
    assert (claimed.status, claimed.epoch) == (Status.RUNNING, 2)
    lost = await real.executions.reissue(asked.execution_id, 2, at(10), Restart.LOST)
    again = await real.executions.reissue(asked.execution_id, 3, at(11), Restart.UNCLAIMED)
    assert (lost.status, again.status, again.epoch) == (Status.PENDING, Status.PENDING, 4), "it has been begun"
    await real.executions.project([finished(asked, epoch=4, status=Status.OK)])
    assert (await real.executions.get(asked.execution_id)).status is Status.OK


@pytest.mark.parametrize("why", [Restart.UNCLAIMED, Restart.RELEASED])
async def test_what_was_recorded_as_skipped_does_not_run_when_its_insert_is_carried_out_at_last(real, why):
    asked = replace(admission(), cause=Cause.EVENT)
    await real.executions.admit(replace(asked, lock_key=None, reason="busy"))
    late = replace(asked, lock_key="w#1", queued=True) if why is Restart.RELEASED else asked
    await real.executions._live.insert_one(live_document(admit(late)))
    assert await real.executions.reissue(asked.execution_id, 1, at(9), why) is None
    ended = await real.executions.get(asked.execution_id)
    assert (ended.status, ended.reason, ended.lock_key) == (Status.SKIPPED, "busy", None)
    assert await real.executions.claim(asked.execution_id, 1, "r1", at(9)) is None
    assert isinstance(await real.executions.admit(admission()), Admitted), "its lock is free"
    assert await real.executions.untold(ALL, 10) == [ended], "the scheduler tells it"


async def test_what_was_recorded_as_skipped_is_not_ended_anew_when_its_insert_is_carried_out_at_last(real):
    asked = replace(admission(), cause=Cause.EVENT)
    await real.executions.admit(replace(asked, lock_key=None, reason="busy"))
    await real.executions._live.insert_one(live_document(admit(asked)))
    assert await real.executions.end(Ended(asked.execution_id, "w", Status.CANCELLED, "asked", at(9))) is None
    ended = await real.executions.get(asked.execution_id)
    assert (ended.status, ended.reason) == (Status.SKIPPED, "busy")
    assert await real.executions.untold(ALL, 10) == [ended]
    assert isinstance(await real.executions.admit(admission()), Admitted), "its lock is free"


async def test_a_request_of_old_does_not_find_the_repetition_that_is_about_to_be_taken_back(real):
    """All records come again: one admits the tick anew, the next one is the request that was made of it then."""
    asked = tick()
    await real.executions.admit(asked)
    await real.executions.project([finished(asked, status=Status.OK)])
    await real.executions._live.insert_one(live_document(admit(asked)))  # and has not looked yet
    assert await real.executions.claim(asked.execution_id, 1, "r1", at(9)) is None
    assert (await real.executions.get(asked.execution_id)).status is Status.OK


async def test_what_is_asked_for_by_hand_with_a_key_is_not_admitted_again_when_it_has_finished(real):
    asked = admission()
    await real.executions.admit(asked)
    await real.executions.project([finished(asked, status=Status.OK)])
    assert await real.executions.admit(asked) == AlreadyAdmitted(asked.execution_id)
    assert await real.executions.holder("w") is None
