"""The contract of the executions, kept by the fake and by MongoDB alike."""

import asyncio
import itertools
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
import pytest_asyncio

from apps.runner.attempts import LARGEST_EXECUTION, LARGEST_OUTPUT
from domain.execution import (
    ActionFinished,
    ActionOutcome,
    Admission,
    Awaited,
    Cause,
    Ended,
    Parent,
    Restart,
    Restarted,
    Status,
    admit,
    apply,
    carry_over,
)
from domain.identifiers import execution_id
from store import execution_reads
from store.interfaces import Admitted, AlreadyAdmitted, Backlog, ExecutionFilter, Locked, Started, StoreRefused, Unstorable

pytestmark = pytest.mark.asyncio(loop_scope="session")

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
ALL = frozenset(range(8))
_numbers = itertools.count(1)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def admission(workflow_id="w", *, seconds=0.0, lock=True, total=2, deadline=None):
    return Admission(
        execution_id=execution_id(at(seconds), next(_numbers).to_bytes(10, "big")),
        workflow_id=workflow_id,
        version=1,
        cause=Cause.MANUAL,
        created_at=at(seconds),
        retries_left=2,
        total_actions=total,
        shard=3,
        lock_key=workflow_id if lock else None,
        reason=None if lock else "skipped",
        deadline=deadline,
    )


def finished(asked, index=0, status=Status.RUNNING, *, epoch=1, seq=1, attempt=1, ok=True, wake_at=None, error=None):
    return ActionFinished(
        execution_id=asked.execution_id,
        workflow_id=asked.workflow_id,
        epoch=epoch,
        seq=seq,
        outcome=ActionOutcome(
            action_id=f"a{index}",
            index=index,
            attempt=attempt,
            status="ok" if ok else "failed",
            started_at=at(index),
            finished_at=at(index + 1),
            logs=("line",),
            error=error,
            output={"a.b": {"$c": [1, None, 2**70]}},
        ),
        status=status,
        retries_left=2,
        runner="r1",
        wake_at=wake_at,
        reason=None if ok else "because",
    )


@pytest_asyncio.fixture(loop_scope="session")
async def folded_end(store):
    """An admitted execution, its results, and how they leave it."""
    asked = admission("followed")
    await store.executions.admit(asked)
    results = [finished(asked), finished(asked, 1, Status.OK, seq=2)]
    ended = admit(asked)
    for result in results:
        ended = apply(ended, result)
    return asked, results, ended


async def test_an_admitted_execution_is_what_the_core_says(store):
    asked = admission()
    assert await store.executions.admit(asked) == Admitted(asked.execution_id)
    assert await store.executions.get(asked.execution_id) == admit(asked)


async def test_the_same_id_is_admitted_once(store):
    asked = admission()
    answers = await asyncio.gather(*(store.executions.admit(asked) for _ in range(20)))
    assert sorted(type(answer).__name__ for answer in answers) == ["Admitted"] + ["AlreadyAdmitted"] * 19 or (
        # The lock may be what a repetition runs into first; the answer is about the id all the same.
        answers.count(Admitted(asked.execution_id)) == 1 and answers.count(AlreadyAdmitted(asked.execution_id)) == 19
    )


async def test_the_same_id_is_skipped_once(store):
    asked = admission(lock=False)
    answers = await asyncio.gather(*(store.executions.admit(asked) for _ in range(20)))
    assert (answers.count(Admitted(asked.execution_id)), answers.count(AlreadyAdmitted(asked.execution_id))) == (1, 19)
    assert await store.executions.admit(asked) == AlreadyAdmitted(asked.execution_id)


async def test_what_is_open_is_not_recorded_as_skipped(store):
    """Two runners may have the same record in hand; the slower one finds the lock taken, by the very same execution."""
    asked = replace(admission(), cause=Cause.EVENT)
    await store.executions.admit(asked)
    skipped = replace(asked, lock_key=None, reason="busy")
    assert await store.executions.admit(skipped) == AlreadyAdmitted(asked.execution_id)
    again = await store.executions.reissue(asked.execution_id, 1, at(9), Restart.UNCLAIMED)
    assert (again.status, again.epoch) == (Status.PENDING, 2), "it waits still"


async def test_fifty_at_once_admit_one(store):
    asked = [admission("crowd") for _ in range(50)]
    answers = await asyncio.gather(*(store.executions.admit(each) for each in asked))
    admitted = [answer for answer in answers if isinstance(answer, Admitted)]
    assert len(admitted) == 1
    assert {answer for answer in answers if isinstance(answer, Locked)} == {Locked(admitted[0].execution_id, Status.PENDING)}


async def test_a_lock_holds_until_the_end_and_not_longer(store):
    first, second = admission(), admission()
    await store.executions.admit(first)
    assert isinstance(await store.executions.admit(second), Locked)
    await store.executions.project([finished(first, status=Status.OK)])
    assert await store.executions.admit(second) == Admitted(second.execution_id)


def side_by_side(count):
    return [replace(admission("beside"), lock_key=f"beside#{number}") for number in range(count)]


async def test_several_are_admitted_up_to_the_first_whose_place_is_taken(store):
    *asked, other = side_by_side(5)
    other = replace(other, lock_key=asked[2].lock_key)
    await store.executions.admit(other)
    answers = await store.executions.admit_in_order(asked)
    assert answers == [
        Admitted(asked[0].execution_id),
        Admitted(asked[1].execution_id),
        Locked(other.execution_id, Status.PENDING),
    ]
    assert await store.executions.get(asked[1].execution_id) == admit(asked[1])
    assert await store.executions.get(asked[3].execution_id) is None


async def test_those_of_several_that_were_admitted_before_are_passed(store):
    asked = side_by_side(6)
    ended, elsewhere, again = asked[0], asked[2], asked[3]
    await store.executions.admit(ended)
    await store.executions.project([finished(ended, status=Status.OK)])
    await store.executions.admit(replace(elsewhere, lock_key="beside#elsewhere"))
    await store.executions.admit(again)  # under the very same key, as by an attempt whose answer was lost
    known = {each.execution_id for each in (ended, elsewhere, again)}
    assert await store.executions.admit_in_order(asked) == [
        (AlreadyAdmitted if each.execution_id in known else Admitted)(each.execution_id) for each in asked
    ]
    assert await store.executions.admit_in_order(asked) == [AlreadyAdmitted(each.execution_id) for each in asked]


async def test_one_of_several_that_is_refused_stops_those_behind_it_and_is_told_in_its_turn(real, monkeypatch):
    asked = side_by_side(3)
    proper, refused_id = real.executions._document, asked[1].execution_id

    def document(collection, execution):
        made = proper(collection, execution)
        return {**made, "input": "x" * 17_000_000} if execution.execution_id == refused_id else made

    monkeypatch.setattr(real.executions, "_document", document)
    assert await real.executions.admit_in_order(asked) == [Admitted(asked[0].execution_id)]
    with pytest.raises(StoreRefused):
        await real.executions.admit_in_order(asked[1:])
    assert await real.executions.get(asked[2].execution_id) is None


async def test_skipped_executions_hold_no_lock(store):
    asked = [admission(lock=False) for _ in range(3)]
    for each in asked:
        assert isinstance(await store.executions.admit(each), Admitted)
    assert (await store.executions.get(asked[0].execution_id)).status is Status.SKIPPED


async def test_results_of_one_execution_in_one_batch(store):
    asked = admission()
    await store.executions.admit(asked)
    batch = [finished(asked, 0), finished(asked, 1, Status.OK, seq=2)]
    assert await store.executions.project(batch) == frozenset()
    execution = await store.executions.get(asked.execution_id)
    assert (execution.status, execution.started_at, execution.finished_at) == (Status.OK, at(0), at(2))
    assert [outcome.action_id for outcome in execution.ordered_results] == ["a0", "a1"]
    assert execution.results["1_0"].output == {"a.b": {"$c": [1, None, 2**70]}}
    assert await store.executions.holder("w") is None
    assert await store.executions.project(batch) == frozenset()
    assert await store.executions.get(asked.execution_id) == execution


async def test_a_zombies_results_change_nothing(store):
    asked = admission()
    await store.executions.admit(asked)
    await store.executions.reissue(asked.execution_id, 1, at(5), Restart.LOST)
    before = await store.executions.get(asked.execution_id)
    assert await store.executions.project([finished(asked, epoch=1)]) == {asked.execution_id}
    assert await store.executions.get(asked.execution_id) == before


async def test_a_result_after_the_end_changes_nothing(store):
    asked = admission()
    await store.executions.admit(asked)
    ended = await store.executions.end(Ended(asked.execution_id, "w", Status.CANCELLED, "asked", at(3)))
    assert (ended.status, ended.reason, ended.lock_key) == (Status.CANCELLED, "asked", None)
    await store.executions.project([finished(asked, status=Status.OK)])
    assert await store.executions.get(asked.execution_id) == ended
    assert await store.executions.end(Ended(asked.execution_id, "w", Status.FAILED, "late", at(4))) is None


async def test_one_of_an_end_and_a_result_wins(store):
    asked = admission()
    await store.executions.admit(asked)
    _, ended = await asyncio.gather(
        store.executions.project([finished(asked, status=Status.OK)]),
        store.executions.end(Ended(asked.execution_id, "w", Status.CANCELLED, "asked", at(3))),
    )
    execution = await store.executions.get(asked.execution_id)
    assert execution.status is (Status.OK if ended is None else Status.CANCELLED)
    assert execution.lock_key is None


async def test_a_doubtful_request_is_claimed_by_one(store):
    asked = admission()
    await store.executions.admit(asked)
    claims = await asyncio.gather(*(store.executions.claim(asked.execution_id, 1, f"r{n}", at(1)) for n in range(10)))
    taken = [execution for execution in claims if execution is not None]
    assert len(taken) == 1
    assert (taken[0].epoch, taken[0].status) == (2, Status.RUNNING)
    assert await store.executions.get(asked.execution_id) == taken[0]
    assert await store.executions.claim(asked.execution_id, 2, "late", at(1)) is None
    assert await store.executions.claim("00000000-0000-7000-8000-000000000000", 1, "r", at(1)) is None


async def test_start_marks(store):
    ours, theirs, done = admission("ours"), admission("theirs"), admission("done")
    for each in (ours, theirs, done):
        await store.executions.admit(each)
    await store.executions.claim(theirs.execution_id, 1, "other", at(0))
    await store.executions.project([finished(done, status=Status.OK)])
    marks = [Started(each.execution_id, 1, "r1", at(1)) for each in (ours, theirs, done)]
    assert await store.executions.mark_started(marks) == {theirs.execution_id}
    marked = await store.executions.get(ours.execution_id)
    assert (marked.status, marked.owner, marked.started_at, marked.requested_at) == (Status.RUNNING, "r1", at(1), None)
    assert (await store.executions.get(theirs.execution_id)).owner == "other"
    assert (await store.executions.get(done.execution_id)).status is Status.OK
    owned = await store.executions.owned(ALL)
    assert {owner: [e.execution_id for e in found] for owner, found in owned.items()} == {
        "r1": [ours.execution_id],
        "other": [theirs.execution_id],
    }
    assert await store.executions.owned(frozenset({1})) == {}


async def test_a_start_mark_that_comes_late_undoes_nothing(store):
    """Marked as running, nobody would wake what waits, nor look for what is published anew."""
    waiting, anew, removed = admission("waiting"), admission("anew"), admission("removed")
    for each in (waiting, anew):
        await store.executions.admit(each)
    await store.executions.project([finished(waiting, status=Status.WAITING, ok=False, wake_at=at(9))])
    await store.executions.reissue(anew.execution_id, 1, at(2), Restart.UNCLAIMED)
    before = [await store.executions.get(each.execution_id) for each in (waiting, anew)]
    marks = [Started(each.execution_id, 1, "r1", at(1)) for each in (waiting, anew, removed)]
    assert await store.executions.mark_started(marks) == {anew.execution_id, removed.execution_id}
    assert [await store.executions.get(each.execution_id) for each in (waiting, anew)] == before


async def test_what_is_ended_under_an_epoch_is_left_alone_under_another(store):
    asked = admission()
    await store.executions.admit(asked)
    claimed = await store.executions.claim(asked.execution_id, 1, "r2", at(1))
    ended = Ended(asked.execution_id, asked.workflow_id, Status.FAILED, "cannot be kept", at(2), epoch=1)
    assert await store.executions.end(ended) is None
    assert await store.executions.get(asked.execution_id) == claimed
    assert (await store.executions.end(replace(ended, epoch=2))).status is Status.FAILED


async def test_what_runners_accept_of_an_execution_fits_into_its_document(store):
    """They count bytes of UTF-8."""
    asked = admission()
    await store.executions.admit(asked)
    text = "ж" * (LARGEST_OUTPUT // 2 - 20)
    results = [finished(asked, index, seq=index + 1) for index in range(LARGEST_EXECUTION // LARGEST_OUTPUT)]
    outputs = [replace(each, outcome=replace(each.outcome, output={"text": text})) for each in results]
    assert await store.executions.project(outputs) == frozenset()
    assert len((await store.executions.get(asked.execution_id)).results) == len(outputs)


@pytest.mark.parametrize(
    "wrong", [{"attempt": 2**70}, {"logs": ("x" * 17_000_000,)}], ids=["a number beyond 64 bits", "17 MB"]
)
async def test_what_no_document_can_hold_is_told_apart_from_a_database_that_is_away(real, wrong):
    asked = admission()
    await real.executions.admit(asked)
    with pytest.raises(Unstorable):
        await real.executions.project([replace(result := finished(asked), outcome=replace(result.outcome, **wrong))])
    assert await real.executions.get(asked.execution_id) == admit(asked)


async def test_what_is_open_is_counted_and_the_oldest_pending_one_is_told(store):
    before = (await store.executions.backlog(at(0))).open
    early, late, started, ended, line = (admission(f"w{n}", seconds=n) for n in range(5))
    for each in (late, early, started, ended, replace(line, queued=True)):
        await store.executions.admit(each)
    await store.executions.mark_started([Started(started.execution_id, 1, "r1", at(9))])
    await store.executions.project([finished(ended, status=Status.OK)])
    await store.executions.admit(admission("w5", lock=False))  # skipped: never open
    assert await store.executions.backlog(at(1)) == Backlog(before + 4, at(0))
    assert (await store.executions.backlog(at(-1))).pending_since is None


async def test_a_retry_waits_and_starts_as_the_next_attempt(store):
    asked = admission()
    await store.executions.admit(asked)
    await store.executions.project([finished(asked, status=Status.WAITING, ok=False, wake_at=at(9), error={"class": "x"})])
    assert [e.execution_id for e in await store.executions.waking(at(9), ALL, 10)] == [asked.execution_id]
    assert await store.executions.waking(at(8), ALL, 10) == []
    assert await store.executions.waking(at(9), frozenset({1}), 10) == []
    answers = await asyncio.gather(
        *(store.executions.reissue(asked.execution_id, 1, at(9 + n), Restart.RETRY) for n in range(5))
    )
    (again,) = [answer for answer in answers if answer is not None]
    assert (again.epoch, again.attempt, again.status, again.wake_at) == (2, 2, Status.PENDING, None)
    kept = await store.executions.get(asked.execution_id)
    assert kept == again
    assert kept.resumed_at >= at(9)
    assert await store.executions.waking(at(99), ALL, 10) == []


@pytest.mark.parametrize(
    ("why", "status", "restarts"),
    [
        (Restart.RETRY, "pending", False),
        (Restart.RETRY, "running", False),
        (Restart.UNCLAIMED, "pending", True),
        (Restart.UNCLAIMED, "running", False),
        (Restart.LOST, "running", True),
        (Restart.HANDED_BACK, "running", True),
    ],
)
async def test_what_may_be_restarted(store, why, status, restarts):
    asked = admission()
    await store.executions.admit(asked)
    if status == "running":
        await store.executions.mark_started([Started(asked.execution_id, 1, "r1", at(1))])
    answer = await store.executions.reissue(asked.execution_id, 1, at(2), why)
    assert (answer is not None) == restarts
    if answer is not None:
        assert (answer.attempt, answer.lost) == (1, 1 if why is Restart.LOST else 0)
        runner, since = ("r1", at(1)) if status == "running" else (None, None)
        assert answer.restarts == (Restarted(at(2), why, 1, 0, runner, since),)
        assert await store.executions.get(asked.execution_id) == answer


async def test_what_has_timed_out_goes_on_with_its_handlers_once_its_deadline_is_over(store):
    asked = admission(deadline=at(5))
    await store.executions.admit(asked)
    await store.executions.mark_started([Started(asked.execution_id, 1, "r1", at(1))])
    assert await store.executions.reissue(asked.execution_id, 1, at(4), Restart.TIMED_OUT) is None
    handed = await store.executions.reissue(asked.execution_id, 1, at(5), Restart.TIMED_OUT)
    assert handed.restarts == (Restarted(at(5), Restart.TIMED_OUT, 1, 0, "r1", at(1)),)
    assert await store.executions.get(asked.execution_id) == handed
    assert await store.executions.expiring(at(99), ALL, 10) == [], "nobody can be late for what has not begun"
    taken = await store.executions.claim(asked.execution_id, 2, "r2", at(9))
    cut = finished(asked, epoch=taken.epoch, status=Status.RUNNING, ok=False)
    error = {"class": "timed-out", "message": "timed out after 5s"}
    cut = replace(cut, outcome=replace(cut.outcome, error=error, next_index=2), deadline=at(14))
    assert await store.executions.project([cut]) == frozenset()
    (handling,) = await store.executions.expiring(at(14), ALL, 10)
    assert (list(handling.results), handling.resume_index, handling.deadline) == (["1_0t"], 2, at(14))
    ended = Ended(asked.execution_id, asked.workflow_id, Status.FAILED, "late", at(13), expired=True)
    assert await store.executions.end(ended) is None
    assert (await store.executions.end(replace(ended, at=at(14)))).status is Status.FAILED


async def test_what_is_given_up_goes_on_with_its_handlers_and_keeps_why(store):
    asked = admission(deadline=at(5))
    await store.executions.admit(asked)
    await store.executions.mark_started([Started(asked.execution_id, 1, "r1", at(1))])
    assert await store.executions.reissue(asked.execution_id, 2, at(4), Restart.GIVEN_UP, "given up: so often") is None
    handed = await store.executions.reissue(asked.execution_id, 1, at(4), Restart.GIVEN_UP, "given up: so often")
    assert handed.restarts == (Restarted(at(4), Restart.GIVEN_UP, 1, 0, "r1", at(1), "given up: so often"),)
    assert await store.executions.get(asked.execution_id) == handed
    assert await store.executions.expiring(at(99), ALL, 10) == []
    assert await store.executions.reissue(asked.execution_id, 2, at(5), Restart.GIVEN_UP, "given up: again") is None


async def test_an_end_is_untold_until_it_is_told(store):
    asked, other = admission(), admission("other")
    for each in (asked, other):
        await store.executions.admit(each)
        await store.executions.end(Ended(each.execution_id, each.workflow_id, Status.CANCELLED, "asked", at(3)))
    assert {e.execution_id for e in await store.executions.untold(ALL, 10)} == {asked.execution_id, other.execution_id}
    assert await store.executions.untold(frozenset({1}), 10) == []
    await store.executions.told([asked.execution_id])
    assert [e.execution_id for e in await store.executions.untold(ALL, 10)] == [other.execution_id]
    assert (await store.executions.get(asked.execution_id)).status is Status.CANCELLED


@pytest.mark.parametrize("queued", [False, True])
async def test_what_nobody_has_begun_is_withdrawn_as_if_it_had_never_been(store, queued):
    other, asked = admission("other"), replace(admission(), queued=queued)
    for each in (other, asked):
        await store.executions.admit(each)
    assert await store.executions.withdraw(asked.execution_id)
    assert await store.executions.get(asked.execution_id) is None
    assert await store.executions.reissue(asked.execution_id, 1, at(9), Restart.UNCLAIMED) is None
    assert not await store.executions.withdraw(asked.execution_id)
    assert isinstance(await store.executions.admit(admission()), Admitted), "its lock is free"
    assert await store.executions.get(other.execution_id) == admit(other)


@pytest.mark.parametrize("status", [Status.RUNNING, Status.WAITING, Status.PENDING, Status.OK])
async def test_what_was_begun_or_published_anew_is_not_withdrawn(store, status):
    asked = admission()
    await store.executions.admit(asked)
    if status is Status.PENDING:
        await store.executions.reissue(asked.execution_id, 1, at(1), Restart.UNCLAIMED)
    elif status is Status.RUNNING:
        await store.executions.mark_started([Started(asked.execution_id, 1, "r1", at(1))])
    else:
        await store.executions.project([finished(asked, status=status, wake_at=at(9) if status is Status.WAITING else None)])
    before = await store.executions.get(asked.execution_id)
    assert not await store.executions.withdraw(asked.execution_id)
    assert await store.executions.get(asked.execution_id) == before
    assert before.status is status


async def test_what_a_result_ended_has_been_told_by_it(store):
    asked = admission()
    await store.executions.admit(asked)
    await store.executions.project([finished(asked, status=Status.OK)])
    assert await store.executions.untold(ALL, 10) == []


async def test_a_deadline_is_found_while_the_execution_is_open(store):
    soon, later, done = (admission(f"w{n}", deadline=at(n)) for n in (5, 9, 4))
    never = admission("never")
    for each in (soon, later, done, never):
        await store.executions.admit(each)
    await store.executions.project([finished(done, status=Status.OK)])
    await store.executions.claim(soon.execution_id, 1, "r1", at(1))
    assert [e.execution_id for e in await store.executions.expiring(at(8), ALL, 10)] == [soon.execution_id]
    assert await store.executions.expiring(at(8), frozenset({1}), 10) == []
    await store.executions.end(Ended(soon.execution_id, "w5", Status.FAILED, "timed out", at(5)))
    assert [e.execution_id for e in await store.executions.expiring(at(99), ALL, 10)] == [later.execution_id]


async def test_what_is_due_first_is_found_first(store):
    """Of a backlog that is longer than a look, nothing is passed over look after look."""
    places = (7, 5, 9)
    waiting = {second: admission(f"wakes{second}") for second in places}
    expiring = {second: admission(f"expires{second}", deadline=at(second)) for second in places}
    pending = {second: admission(f"pends{second}", seconds=second) for second in places}
    for each in (*waiting.values(), *expiring.values(), *pending.values()):
        await store.executions.admit(each)
    for second, each in waiting.items():
        await store.executions.project([finished(each, status=Status.WAITING, ok=False, wake_at=at(second))])
    for each in expiring.values():
        await store.executions.claim(each.execution_id, 1, "r1", at(1))
    calls = {"waking": waiting, "expiring": expiring, "unclaimed": pending}
    for name, asked in calls.items():
        found = await getattr(store.executions, name)(at(20), ALL, 2)
        assert [each.execution_id for each in found] == [asked[5].execution_id, asked[7].execution_id], name


async def test_an_intent_is_noted_under_the_current_epoch_and_marks_the_start(store):
    asked = admission()
    await store.executions.admit(asked)
    assert await store.executions.intend(asked.execution_id, 1, "1_0", "r1", at(1))
    execution = await store.executions.get(asked.execution_id)
    assert (execution.status, execution.owner, execution.started_at) == (Status.RUNNING, "r1", at(1))
    assert execution.requested_at is None
    assert execution.in_doubt == {0}
    again = await store.executions.reissue(asked.execution_id, 1, at(5), Restart.LOST)
    assert again.in_doubt == {0}, "a restart does not forget what may have been sent"
    assert not await store.executions.intend(asked.execution_id, 1, "1_0", "r1", at(6))
    claimed = await store.executions.claim(asked.execution_id, 2, "r2", at(7))
    await store.executions.project([finished(asked, epoch=claimed.epoch)])
    assert await store.executions.intend(asked.execution_id, claimed.epoch, "1_1", "r2", at(7))
    assert (await store.executions.get(asked.execution_id)).in_doubt == {1}
    await store.executions.end(Ended(asked.execution_id, "w", Status.CANCELLED, "asked", at(8)))
    assert not await store.executions.intend(asked.execution_id, claimed.epoch, "1_1", "r2", at(9))


async def test_states_of_executions(store):
    running, over = admission("a"), admission("b")
    for each in (running, over):
        await store.executions.admit(each)
    await store.executions.claim(running.execution_id, 1, "r1", at(1))
    await store.executions.end(Ended(over.execution_id, "b", Status.CANCELLED, "asked", at(3)))
    ids = [running.execution_id, over.execution_id, "00000000-0000-7000-8000-000000000000"]
    assert await store.executions.states(ids) == {
        running.execution_id: (2, Status.RUNNING),
        over.execution_id: (2, Status.CANCELLED),
    }
    assert await store.executions.states([]) == {}


async def test_unclaimed_requests_are_found_by_age(store):
    old, young, started = admission("old"), admission("young", seconds=50), admission("started")
    for each in (old, young, started):
        await store.executions.admit(each)
    await store.executions.mark_started([Started(started.execution_id, 1, "r1", at(1))])
    assert [e.execution_id for e in await store.executions.unclaimed(at(10), ALL, 10)] == [old.execution_id]
    assert await store.executions.unclaimed(at(10), frozenset({1}), 10) == []


async def test_listing(store):
    asked = [admission("a" if n % 2 else "b", seconds=n, lock=False) for n in range(6)]
    asked[1], asked[2] = replace(asked[1], cause=Cause.SCHEDULE), replace(asked[2], cause=Cause.BACKFILL)
    for each in asked:
        await store.executions.admit(each)
    ids = [each.execution_id for each in asked]

    async def listed(before=None, limit=10, **where):
        return [e.execution_id for e in await store.executions.list(ExecutionFilter(**where), before=before, limit=limit)]

    assert await listed() == ids[::-1]
    assert await listed(limit=2) == [ids[5], ids[4]]
    assert await listed(before=ids[4], limit=2) == [ids[3], ids[2]]
    assert await listed(workflow_id="a") == [ids[5], ids[3], ids[1]]
    assert await listed(statuses=frozenset({Status.OK})) == []
    assert await listed(statuses=frozenset({Status.SKIPPED, Status.OK}), workflow_id="b") == [ids[4], ids[2], ids[0]]
    assert await listed(causes=frozenset({Cause.SCHEDULE, Cause.BACKFILL})) == [ids[2], ids[1]]
    assert await listed(causes=frozenset({Cause.MANUAL}), workflow_id="a") == [ids[5], ids[3]]
    assert await listed(created_from=at(2), created_to=at(4)) == [ids[3], ids[2]]
    assert await listed(created_to=at(4), before=ids[3]) == [ids[2], ids[1], ids[0]]
    assert (await store.executions.latest("b")).execution_id == ids[4]
    assert await store.executions.latest("c") is None


async def test_listing_by_reference(store):
    """Of one reference are finished ones and open ones, of several workflows; one that begins alike is another one."""
    references = ["order-1", "order-1", None, "order-1", "order-17", "Ärger ⚡ 1", "order-1"]
    asked = [replace(admission(f"w{n % 3}", seconds=n, lock=n > 5), reference=name) for n, name in enumerate(references)]
    asked[3] = replace(asked[3], cause=Cause.EVENT)
    for each in asked:
        await store.executions.admit(each)
    ids = [each.execution_id for each in asked]

    async def listed(reference="order-1", before=None, limit=10, **where):
        where = ExecutionFilter(reference=reference, **where)
        found = await store.executions.list(where, before=before, limit=limit)
        assert {each.reference for each in found} <= {reference}
        return [each.execution_id for each in found]

    assert await listed() == [ids[6], ids[3], ids[1], ids[0]]
    assert await listed(limit=2) == [ids[6], ids[3]]
    assert await listed(before=ids[3], limit=2) == [ids[1], ids[0]]
    assert await listed(workflow_id="w0") == [ids[6], ids[3], ids[0]]
    assert await listed(statuses=frozenset({Status.PENDING})) == [ids[6]]
    assert await listed(statuses=frozenset({Status.SKIPPED}), workflow_id="w0") == [ids[3], ids[0]]
    assert await listed(causes=frozenset({Cause.EVENT})) == [ids[3]]
    assert await listed(created_from=at(1), created_to=at(4)) == [ids[3], ids[1]]
    assert await listed("Ärger ⚡ 1") == [ids[5]]
    assert await listed("order-") == []
    await store.executions.end(Ended(ids[6], "w0", Status.CANCELLED, "asked", at(9)))
    assert await listed() == [ids[6], ids[3], ids[1], ids[0]]


async def test_listing_what_is_open_and_what_has_ended(store):
    places = ["a", "a#1", "a#2", "a#3"]
    pending, done, running, failed = (replace(admission("a", seconds=n), lock_key=key) for n, key in enumerate(places))
    for each in (pending, done, running, failed):
        await store.executions.admit(each)
    await store.executions.mark_started([Started(running.execution_id, 1, "r1", at(9))])
    await store.executions.project([finished(done, status=Status.OK), finished(failed, status=Status.FAILED, ok=False)])

    async def listed(*statuses, limit=10, **where):
        where["statuses"] = frozenset(statuses) if statuses else None
        found = await store.executions.list(ExecutionFilter(workflow_id="a", **where), before=None, limit=limit)
        return [each.execution_id for each in found]

    newest_first = [each.execution_id for each in (failed, running, done, pending)]
    assert [await listed(limit=limit) for limit in (1, 2, 3, 9)] == [newest_first[:limit] for limit in (1, 2, 3, 9)]
    assert await listed(Status.RUNNING) == [running.execution_id]
    assert await listed(Status.PENDING, Status.OK) == [done.execution_id, pending.execution_id]
    assert await listed(Status.FAILED) == [failed.execution_id]
    assert await listed(Status.FAILED, Status.OK, causes=frozenset({Cause.BACKFILL})) == []


@pytest.mark.parametrize(
    ("said", "awaited"),
    [
        ({"signal": "go", "until": "2026-01-01T00:00:09.000Z"}, Awaited("a0", at(9), "go")),
        ({"executionIds": ["c0", "c1"], "until": "2026-01-01T00:00:09.000Z"}, Awaited("a0", at(9), None, 2)),
    ],
)
async def test_a_list_tells_what_is_waited_for_though_it_reads_no_results(store, said, awaited):
    waits, delayed = admission("a"), admission("b")
    for each in (waits, delayed):
        await store.executions.admit(each)
    result = finished(waits, status=Status.WAITING, wake_at=at(9))
    result = replace(result, outcome=replace(result.outcome, status="waiting", output=said))
    await store.executions.project([result, finished(delayed, status=Status.WAITING, wake_at=at(9))])

    async def listed():
        found = await store.executions.list(ExecutionFilter(), before=None, limit=9)
        return {each.workflow_id: each.awaited and replace(each.awaited, execution_ids=()) for each in found}

    assert await listed() == {"a": awaited, "b": None}
    await store.executions.reissue(waits.execution_id, 1, at(3), Restart.WOKEN)
    assert await listed() == {"a": None, "b": None}


async def test_holders(store):
    asked = [admission(f"w{n}") for n in range(3)]
    for each in asked:
        await store.executions.admit(each)
    found = await store.executions.holders(["w0", "w2", "nobody"])
    assert {key: e.execution_id for key, e in found.items()} == {
        "w0": asked[0].execution_id,
        "w2": asked[2].execution_id,
    }
    assert await store.executions.holders([]) == {}


async def test_whole_executions_can_be_written_and_scanned(real):
    parents = [Parent("p", "v", "call"), None]
    executions = [
        admit(
            replace(
                admission(f"w{n % 2}", seconds=n),
                requested_at=at(99),
                triggered_by=parents[n % 2],
                reference=parents[n % 2] and "order-17",
            )
        )
        for n in range(5)
    ]
    ended = [apply(each, Ended(each.execution_id, each.workflow_id, Status.CANCELLED, "x", at(100))) for each in executions]
    mixed = [ended[0], ended[1], executions[2], ended[3], ended[4]]
    await real.executions.replace_all(mixed)
    assert [each async for each in real.executions.scan()] == mixed
    assert [each async for each in real.executions.scan(workflow_id="w1")] == [ended[1], ended[3]]
    await real.executions.replace_all([ended[2]])
    assert [each async for each in real.executions.scan()] == ended


async def test_an_execution_that_takes_up_another_begins_with_its_successes(store):
    origin = admission()
    await store.executions.admit(origin)
    await store.executions.project([finished(origin), finished(origin, 1, Status.FAILED, seq=2, ok=False)])
    ended = await store.executions.get(origin.execution_id)
    retry = replace(admission(seconds=1), origin_id=origin.execution_id, takes_up=True, carried=carry_over(ended))
    await store.executions.admit(retry)
    started = await store.executions.claim(retry.execution_id, 1, "r1", at(2))
    assert (started.origin_id, started.takes_up, started.resume_index) == (origin.execution_id, True, 1)
    assert [(each.attempt, each.index, each.output) for each in started.ordered_results] == [
        (0, 0, ended.ordered_results[0].output)
    ]
    assert await store.executions.get(retry.execution_id) == started


async def test_the_recent_executions_of_several_workflows(store):
    done = [admission("a", seconds=seconds) for seconds in range(4)]
    for asked in done:
        await store.executions.admit(asked)
        await store.executions.project([finished(asked, 1, Status.OK)])
    running = admission("a", seconds=9)
    await store.executions.admit(running)
    recent = await store.executions.recent({"a": ["a"], "b": ["b"]}, 3)
    assert [each.execution_id for each in recent["a"]] == [each.execution_id for each in (running, done[3], done[2])]
    assert [each.status for each in recent["a"]] == [Status.PENDING, Status.OK, Status.OK]
    assert all(not each.results for each in recent["a"])
    assert list(recent["b"]) == []


async def test_workflows_that_come_and_go_do_not_fill_the_memory_of_those_who_list_them(store, monkeypatch):
    monkeypatch.setattr(execution_reads, "_MOST_REACHES", 3)
    for number in range(10):
        assert await store.executions.recent({f"job-{number}": [f"job-{number}"]}, 3) == {f"job-{number}": []}
    assert len(getattr(store.executions, "_reaches", ())) <= 3  # the fake has none


async def test_all_that_is_open_is_among_the_recent_executions(store):
    running = [replace(admission("a", seconds=n), lock_key=place) for n, place in enumerate(("a", "a#1", "a#2"))]
    queued = replace(admission("a", seconds=3), lock_key="a#wait-0", queued=True)
    for each in (*running, queued, admission("b", seconds=4), admission("a-b", seconds=5), admission("ab", seconds=6)):
        assert await store.executions.admit(each) == Admitted(each.execution_id)
    ids = [each.execution_id for each in (queued, *reversed(running))]
    recent = await store.executions.recent({"a": ["a", "a#1", "a#2", "a#wait-0"]}, 10)
    assert [each.execution_id for each in recent["a"]] == ids
    listed = await store.executions.list(ExecutionFilter(workflow_id="a"), before=None, limit=10)
    assert [each.execution_id for each in listed] == ids


async def test_what_was_followed_ends_without_a_read(store, folded_end):
    asked, results, ended = folded_end
    assert await store.executions.project(results, folded={asked.execution_id: ended}) == frozenset()
    assert await store.executions.get(asked.execution_id) == ended
    assert await store.executions.holder(asked.workflow_id) is None
    assert await store.executions.project(results, folded={asked.execution_id: ended}) == frozenset()


async def test_what_was_followed_and_goes_on_stays_open(store, folded_end):
    asked, results, _ = folded_end
    going_on = apply(admit(asked), results[0])
    assert await store.executions.project(results[:1], folded={asked.execution_id: going_on}) == frozenset()
    assert await store.executions.get(asked.execution_id) == going_on
    assert await store.executions.holder(asked.workflow_id) == going_on


async def test_a_belief_that_is_stale_ends_nothing(store, folded_end):
    asked, results, ended = folded_end
    reissued = await store.executions.reissue(asked.execution_id, 1, at(5), Restart.LOST)
    assert await store.executions.project(results, folded={asked.execution_id: ended}) == {asked.execution_id}
    assert await store.executions.get(asked.execution_id) == reissued
    assert (await store.executions.holder(asked.workflow_id)) == reissued


async def test_a_belief_does_not_undo_a_cancellation(store, folded_end):
    asked, results, ended = folded_end
    cancelled = await store.executions.end(Ended(asked.execution_id, asked.workflow_id, Status.CANCELLED, "no", at(5)))
    assert await store.executions.project(results, folded={asked.execution_id: ended}) == {asked.execution_id}
    assert await store.executions.get(asked.execution_id) == cancelled
