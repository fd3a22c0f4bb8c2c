from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.execution import (
    CARRIED,
    CLOSED,
    OPEN,
    RESTARTS_KEPT,
    TERMINAL,
    ActionFinished,
    ActionOutcome,
    Admission,
    Awaited,
    Cause,
    Ended,
    Failures,
    Parent,
    Reissued,
    Restart,
    Restarted,
    Status,
    admit,
    apply,
    carry_over,
    claim,
    deadline_of,
)

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def admitted(total=2, lock="w"):
    return admit(
        Admission(
            execution_id="e", workflow_id="w", version=1, cause=Cause.MANUAL, created_at=T0, retries_left=1,
            total_actions=total, shard=0, lock_key=lock,
        )
    )  # fmt: skip


def finished(index, status, *, epoch=1, seq=1, attempt=1, ok=True, wake_at=None, left=1):
    return ActionFinished(
        execution_id="e",
        workflow_id="w",
        epoch=epoch,
        seq=seq,
        outcome=ActionOutcome(
            action_id=f"a{index}", index=index, attempt=attempt, status="ok" if ok else "failed",
            started_at=at(index), finished_at=at(index + 1),
        ),
        status=status,
        retries_left=left,
        runner="r",
        wake_at=wake_at,
    )  # fmt: skip


def test_the_way_through():
    execution = admitted()
    assert (execution.status, execution.lock_key, execution.requested_at) == (Status.PENDING, "w", T0)
    execution = apply(execution, finished(0, Status.RUNNING))
    assert (execution.status, execution.started_at, execution.resume_index) == (Status.RUNNING, at(0), 1)
    execution = apply(execution, finished(1, Status.OK, seq=2))
    assert (execution.status, execution.finished_at, execution.lock_key, execution.owner) == (Status.OK, at(2), None, None)
    assert execution.last_failed_action is None


def test_a_failed_action_is_retried_from_where_it_failed():
    execution = apply(admitted(), finished(0, Status.RUNNING))
    execution = apply(execution, finished(1, Status.WAITING, seq=2, ok=False, wake_at=at(9), left=0))
    assert (execution.status, execution.wake_at, execution.last_failed_action) == (Status.WAITING, at(9), "a1")
    assert execution.lock_key == "w"
    execution = apply(execution, Reissued("e", "w", epoch=2, at=at(9)))
    assert (execution.status, execution.attempt, execution.wake_at, execution.seq) == (Status.PENDING, 2, None, 0)
    assert execution.resumed_at == at(9)
    assert execution.failures == {1: Failures(1, at(1))}
    taken = claim(execution, 2, "r2", at(9))
    assert taken is not None
    assert (taken.status, taken.epoch, taken.owner, taken.resume_index) == (Status.RUNNING, 3, "r2", 1)
    assert (taken.started_at, taken.requested_at, taken.retries_left) == (at(0), None, 0)
    lost = apply(taken, Reissued("e", "w", epoch=4, at=at(30), why=Restart.LOST))
    assert (lost.attempt, lost.resumed_at) == (2, at(9))
    ended = apply(taken, finished(1, Status.OK, epoch=3, seq=1, attempt=2))
    assert (ended.resumed_at, ended.last_failed_action) == (None, "a1")
    assert [(o.attempt, o.index, o.status) for o in ended.ordered_results] == [(1, 0, "ok"), (1, 1, "failed"), (2, 1, "ok")]


def test_a_result_that_is_not_newer_changes_nothing():
    execution = apply(admitted(), finished(1, Status.RUNNING, seq=2))
    for seq in (1, 2):
        assert apply(execution, finished(0, Status.FAILED, seq=seq, ok=False)) is execution


def test_what_is_said_under_another_epoch_changes_nothing():
    execution = apply(admitted(), Reissued("e", "w", epoch=3, at=at(1), why=Restart.UNCLAIMED))
    for epoch in (1, 2, 4):
        assert apply(execution, finished(0, Status.RUNNING, epoch=epoch)) is execution, (
            "a result of a runner given up for dead"
        )
        assert apply(execution, Ended("e", "w", Status.FAILED, "lost", at(2), epoch)) is execution


def test_a_restart_under_an_epoch_that_was_changes_nothing():
    execution = apply(admitted(), Reissued("e", "w", epoch=3, at=at(1), why=Restart.UNCLAIMED))
    for epoch in (2, 3):
        assert apply(execution, Reissued("e", "w", epoch, at(2), Restart.UNCLAIMED)) is execution


def test_a_result_says_that_its_action_killed_no_runner():
    execution = apply(admitted(), Reissued("e", "w", epoch=2, at=at(1), why=Restart.LOST))
    assert execution.lost == 1
    assert apply(execution, finished(0, Status.RUNNING, epoch=2)).lost == 0


def test_what_waits_is_nobodys_and_wakes_nobody_once_it_has_ended():
    waiting = apply(admitted(), replace(finished(0, Status.WAITING, ok=False, wake_at=at(9)), reason="no answer"))
    assert (waiting.owner, waiting.reason) == (None, "no answer")
    ended = apply(waiting, Ended("e", "w", Status.CANCELLED, "stop", at(1)))
    assert (ended.wake_at, ended.cut_off_since) == (None, None), "it was at no step"


def test_what_waits_for_a_retry_cannot_be_woken_and_what_is_delayed_cannot_be_retried():
    failed = apply(admitted(), finished(0, Status.WAITING, ok=False, wake_at=at(9)))
    assert apply(failed, Reissued("e", "w", epoch=2, at=at(9), why=Restart.WOKEN)) == failed
    assert apply(failed, Reissued("e", "w", epoch=2, at=at(9), why=Restart.RETRY)).attempt == 2
    delayed = apply(admitted(), finished(0, Status.WAITING, wake_at=at(9)))
    assert apply(delayed, Reissued("e", "w", epoch=2, at=at(9), why=Restart.RETRY)) == delayed
    assert apply(delayed, Reissued("e", "w", epoch=2, at=at(9), why=Restart.WOKEN)).attempt == 1


def test_what_waits_for_a_signal_goes_on_in_the_same_attempt_at_the_same_action():
    waits = finished(0, Status.WAITING, wake_at=at(9))
    said = {"signal": "go", "until": "2026-01-01T00:00:09.000Z"}
    waits = replace(waits, outcome=replace(waits.outcome, status="waiting", output=said))
    waiting = apply(admitted(), waits)
    assert waiting.awaited == Awaited(waits.outcome.action_id, at(9), signal="go")
    assert apply(waiting, Reissued("e", "w", epoch=2, at=at(3), why=Restart.RETRY)) == waiting
    woken = apply(waiting, Reissued("e", "w", epoch=2, at=at(3), why=Restart.WOKEN))
    assert (woken.attempt, woken.resume_index, woken.awaited, woken.failures) == (1, 0, None, {})
    done = apply(claim(woken, 2, "r", at(3)), finished(0, Status.RUNNING, epoch=3))
    assert [each.status for each in done.ordered_results] == ["waiting", "ok"], "both are kept"
    assert (done.resume_index, done.last_outcome.status) == (1, "ok")
    again = apply(done, finished(1, Status.FAILED, epoch=3, seq=2, ok=False))
    assert [each.status for each in carry_over(again).values()] == ["ok"]


def test_each_of_its_waits_is_kept_before_the_end_that_it_has_besides():
    """It looks by itself from time to time, and waits on; and clocks differ from runner to runner."""
    waits = ActionOutcome("a0", 0, 1, "waiting", at(0), at(5), output={"executionIds": ["c0", "c1"]})
    again, done = replace(waits, finished_at=at(7)), replace(waits, status="ok", finished_at=at(6))
    retried = replace(done, status="failed", attempt=2)
    execution = replace(admitted(), results={each.key: each for each in (retried, done, again, waits)})
    assert execution.ordered_results == [waits, again, done, retried]
    assert waits.awaited == Awaited("a0", None, None, 2, ("c0", "c1"))
    assert replace(waits, output=None).awaited == Awaited("a0", None, None, 0)
    assert done.awaited is None
    assert [each.is_wait for each in (waits, done, retried)] == [True, True, False]
    woken = replace(execution, results={waits.key: waits})
    assert (woken.awaited, woken.is_delayed) == (None, False)


def test_an_execution_that_was_ended_while_it_waited_waits_anew():
    waits = finished(0, Status.WAITING, wake_at=at(9))
    waiting = apply(admitted(), replace(waits, outcome=replace(waits.outcome, status="waiting", output={"signal": "go"})))
    assert carry_over(apply(waiting, Ended("e", "w", Status.CANCELLED, "stop", at(1)))) == {}


def test_what_was_interrupted_is_told_and_retries_and_delays_are_not():
    execution = apply(admitted(), finished(0, Status.RUNNING))
    lost = apply(execution, Reissued("e", "w", epoch=2, at=at(12), why=Restart.LOST))
    interrupted = Restarted(at(12), Restart.LOST, attempt=1, index=1, runner="r", since=at(1))
    assert lost.restarts == (interrupted,)
    again = apply(lost, Reissued("e", "w", epoch=3, at=at(20), why=Restart.UNCLAIMED))
    assert again.restarts == (interrupted, Restarted(at(20), Restart.UNCLAIMED, attempt=1, index=1))
    taken = claim(again, 3, "r2", at(21))
    assert taken is not None
    failed = apply(taken, finished(1, Status.WAITING, epoch=4, ok=False, wake_at=at(30)))
    retried = apply(failed, Reissued("e", "w", epoch=5, at=at(30)))
    taken = claim(retried, 5, "r3", at(31))
    assert taken is not None
    assert taken.restarts == again.restarts
    stopped = apply(taken, Reissued("e", "w", epoch=7, at=at(40), why=Restart.HANDED_BACK))
    assert stopped.restarts[-1] == Restarted(at(40), Restart.HANDED_BACK, attempt=2, index=1, runner="r3", since=at(30))


def test_each_interruption_tells_since_when_its_runner_was_at_the_step_and_retries_count_from_the_first():
    execution = apply(admitted(), finished(0, Status.RUNNING))
    for seconds in (10, 22):
        lost = apply(execution, Reissued("e", "w", execution.epoch + 1, at(seconds), Restart.LOST))
        execution = claim(lost, lost.epoch, "r2", at(seconds))
        assert execution is not None
    assert [(each.since, each.at) for each in execution.restarts] == [(at(1), at(10)), (at(10), at(22))]
    assert execution.failures == {1: Failures(0, at(1))}
    ended = apply(execution, Ended("e", "w", Status.CANCELLED, "stop", at(30)))
    assert ended.cut_off_since == at(22)


def test_what_waited_in_line_tells_when_its_turn_came():
    queued = replace(admitted(), status=Status.QUEUED, lock_key="w#1")
    released = apply(queued, Reissued("e", "w", epoch=2, at=at(7), why=Restart.RELEASED))
    assert released.restarts == (Restarted(at(7), Restart.RELEASED, attempt=1, index=0),)
    assert (released.failures, released.lock_key) == ({}, "w")
    beside = replace(admitted(), lock_key="w#1")
    assert apply(beside, Reissued("e", "w", epoch=2, at=at(7), why=Restart.LOST)).lock_key == "w#1"


def test_a_run_that_broke_off_before_its_start_was_noted_tells_no_beginning():
    lost = apply(admitted(), Reissued("e", "w", epoch=2, at=at(1), why=Restart.LOST))
    assert lost.restarts == (Restarted(at(1), Restart.LOST, attempt=1, index=0),)


def test_nor_does_what_it_has_taken_over():
    taken_over = replace(finished(0, Status.RUNNING).outcome, attempt=CARRIED)
    lost = apply(replace(admitted(), results={"0_0": taken_over}), Reissued("e", "w", 2, at(9), Restart.LOST))
    assert lost.restarts == (Restarted(at(9), Restart.LOST, attempt=1, index=1),)


def test_the_last_restarts_are_kept():
    execution = admitted()
    for number in range(2, RESTARTS_KEPT + 5):
        execution = apply(execution, Reissued("e", "w", epoch=number, at=at(number), why=Restart.UNCLAIMED))
    assert [each.at for each in execution.restarts] == [at(number) for number in range(5, RESTARTS_KEPT + 5)]


def timed_out(execution, seconds=9):
    limited = replace(execution, deadline=at(9))
    return apply(limited, Reissued("e", "w", execution.epoch + 1, at(seconds), Restart.TIMED_OUT))


def given_up(execution):
    return apply(execution, Reissued("e", "w", execution.epoch + 1, at(9), Restart.GIVEN_UP, "given up: so often"))


def cut(index, epoch, next_index=2):
    result = finished(index, Status.RUNNING, epoch=epoch, ok=False)
    error = {"class": "timed-out", "message": "timed out after 9s"}
    return replace(result, outcome=replace(result.outcome, error=error, next_index=next_index))


def delayed(index, seq=1):
    delay = finished(index, Status.WAITING, seq=seq, wake_at=at(30))
    return replace(delay, outcome=replace(delay.outcome, output={"until": "2026-01-01T00:00:30.000Z"}))


@pytest.mark.parametrize(
    ("before", "index", "since"),
    [
        pytest.param([], 0, None, id="that nobody has taken"),
        pytest.param([finished(0, Status.RUNNING)], 1, at(1), id="that runs"),
        pytest.param([finished(0, Status.WAITING, ok=False, wake_at=at(30))], 0, None, id="that waits for a retry"),
        pytest.param([delayed(0)], 0, None, id="in a delay"),
        pytest.param([finished(0, Status.RUNNING), delayed(1, 2)], 1, None, id="in a delay that comes last"),
    ],
)
def test_what_times_out_lets_the_step_at_which_it_stood_fail_and_goes_on_with_its_handlers(before, index, since):
    execution = admitted()
    for result in before:
        execution = apply(execution, result)
    found = timed_out(execution)
    assert (found.status, found.epoch, found.deadline, found.wake_at) == (Status.PENDING, 2, None, None)
    runner = None if since is None else "r"
    assert found.cut_short == Restarted(at(9), Restart.TIMED_OUT, 1, index, runner=runner, since=since)
    assert (found.resume_index, found.attempt) == (index, 1)
    lost = apply(found, Reissued("e", "w", 3, at(10), Restart.LOST))
    assert lost.resume_index == index, "whoever resumes it knows"
    assert timed_out(lost) == replace(lost, deadline=at(9)), "once"
    taken = claim(lost, 3, "r2", at(11))
    failed = apply(taken, replace(cut(index, 4), deadline=at(70)))
    assert set(failed.results) == {*execution.results, f"1_{index}t"}, "no record is overwritten"
    assert (failed.resume_index, failed.last_outcome.is_cut_short, failed.deadline) == (2, True, at(70))
    assert not failed.may_be_cut_short
    ended = apply(failed, Ended("e", "w", Status.FAILED, "timed out", at(80)))
    assert {outcome.index for outcome in carry_over(ended).values()} == set(range(index)), "a retry resumes at that step"
    assert carry_over(apply(found, Ended("e", "w", Status.FAILED, "timed out", at(80)))) == carry_over(ended)


@pytest.mark.parametrize(
    ("execution", "seconds"),
    [
        pytest.param(admitted(), 8, id="before its time is over"),
        pytest.param(replace(admitted(), status=Status.QUEUED), 9, id="while it is queued"),
        pytest.param(replace(admitted(), status=Status.OK), 9, id="that has ended"),
        pytest.param(apply(admitted(), finished(1, Status.RUNNING)), 9, id="whose actions are done"),
    ],
)
def test_none_is_taken_to_its_handlers(execution, seconds):
    assert timed_out(execution, seconds) == replace(execution, deadline=at(9))


def test_what_is_given_up_lets_the_step_at_which_it_stood_fail_and_goes_on_with_its_handlers():
    execution = apply(replace(admitted(), lost=3, deadline=at(20)), finished(0, Status.RUNNING))
    lost = replace(execution, lost=3)
    found = given_up(lost)
    assert (found.status, found.epoch, found.deadline, found.resume_index) == (Status.PENDING, 2, None, 1)
    assert found.lost == 0, "its handlers have killed nobody"
    assert found.cut_short == Restarted(at(9), Restart.GIVEN_UP, 1, 1, "r", at(1), "given up: so often")
    assert given_up(found) == found, "once"
    assert timed_out(found) == replace(found, deadline=at(9)), "nor is it late then"
    assert apply(found, finished(1, Status.OK, seq=2)) == found, "a result that was under way is of another epoch"
    failed = cut(1, 3)
    failed = replace(failed, outcome=replace(failed.outcome, error={"class": "given-up", "message": "given up: so often"}))
    handling = apply(claim(found, 2, "r2", at(11)), failed)
    assert (handling.resume_index, handling.last_failed_action) == (2, failed.outcome.action_id)
    assert not handling.may_be_cut_short
    ended = apply(handling, Ended("e", "w", Status.FAILED, "given up: so often", at(80)))
    assert {outcome.index for outcome in carry_over(ended).values()} == {0}, "a retry resumes at that step"


@pytest.mark.parametrize(
    "execution",
    [
        pytest.param(apply(admitted(), finished(0, Status.WAITING, ok=False, wake_at=at(30))), id="that waits"),
        pytest.param(replace(admitted(), status=Status.QUEUED), id="while it is queued"),
        pytest.param(apply(admitted(), finished(1, Status.RUNNING)), id="whose actions are done"),
    ],
)
def test_none_is_given_up(execution):
    assert given_up(execution) == execution


def cancelled(execution):
    return apply(execution, Reissued("e", "w", execution.epoch + 1, at(9), Restart.CANCELLED, "not wanted"))


@pytest.mark.parametrize(
    "execution",
    [
        pytest.param(admitted(), id="that nobody has taken"),
        pytest.param(apply(admitted(), finished(0, Status.RUNNING)), id="that runs"),
        pytest.param(apply(admitted(), finished(0, Status.WAITING, ok=False, wake_at=at(30))), id="that waits"),
    ],
)
def test_what_is_cancelled_goes_on_with_what_runs_in_any_case_and_ends_as_that(execution):
    found = cancelled(execution)
    assert (found.status, found.epoch, found.is_being_cancelled) == (Status.PENDING, 2, True)
    assert (found.cut_short.index, found.cut_short.reason) == (execution.resume_index, "not wanted")
    assert cancelled(found) == found, "once"
    index = execution.resume_index
    failed = cut(index, 3)
    failed = replace(failed, outcome=replace(failed.outcome, error={"class": "cancelled", "message": "not wanted"}))
    ended = apply(apply(claim(found, 2, "r2", at(11)), failed), finished(2, Status.CANCELLED, seq=2, epoch=3))
    assert (ended.status, ended.lock_key, ended.is_being_cancelled) == (Status.CANCELLED, None, True)
    assert {outcome.index for outcome in carry_over(ended).values()} == set(range(index)), "a retry resumes at that step"
    late = apply(found, Ended("e", "w", Status.FAILED, "finally timed out", at(80)))
    assert (late.status, late.reason) == (Status.CANCELLED, "finally timed out")


@pytest.mark.parametrize(
    "execution",
    [
        pytest.param(replace(admitted(), status=Status.QUEUED), id="while it is queued"),
        pytest.param(apply(admitted(), finished(1, Status.RUNNING)), id="whose actions are done"),
    ],
)
def test_none_is_taken_to_what_runs_in_any_case(execution):
    assert cancelled(execution) == execution


def test_an_expired_one_is_ended_unless_it_was_given_another_deadline():
    late = Ended("e", "w", Status.FAILED, "timed out", at(9), expired=True)
    execution = replace(admitted(), deadline=at(9))
    assert apply(execution, late).status is Status.FAILED
    handling = apply(execution, replace(finished(0, Status.RUNNING), deadline=at(12)))
    assert apply(handling, late) == handling
    assert apply(admitted(), late) == admitted()


def test_that_it_has_timed_out_is_kept_however_often_it_is_handed_out_after_that():
    execution = timed_out(apply(admitted(), finished(0, Status.RUNNING)))
    for number in range(3, RESTARTS_KEPT + 9):
        execution = apply(execution, Reissued("e", "w", epoch=number, at=at(number), why=Restart.UNCLAIMED))
    assert execution.resume_index == execution.cut_short.index == 1
    assert len(execution.restarts) == RESTARTS_KEPT + 1


def test_an_action_first_began_when_it_was_interrupted():
    """So that the budget of its retries counts from there, and its attempts do not."""
    execution = apply(admitted(), finished(0, Status.RUNNING))
    execution = apply(execution, Reissued("e", "w", epoch=2, at=at(60), why=Restart.LOST))
    assert execution.failures == {1: Failures(0, at(1))}
    taken = claim(execution, 2, "r2", at(60))
    late = finished(1, Status.WAITING, epoch=3, ok=False, wake_at=at(99))
    late = replace(late, outcome=replace(late.outcome, started_at=at(61), finished_at=at(62)))
    assert apply(taken, late).failures == {1: Failures(1, at(1))}


def test_a_request_is_claimed_once():
    taken = claim(admitted(), 1, "r1", at(3))
    assert taken is not None
    assert taken.started_at == at(3)
    assert claim(taken, 1, "r2", T0) is None
    assert claim(taken, 2, "r2", T0) is None
    again = apply(taken, Reissued("e", "w", epoch=3, at=at(9), why=Restart.LOST))
    assert again.owner is None
    assert claim(again, 1, "r2", at(9)) is None, "a request from before the restart"


def test_a_skipped_execution_is_terminal_from_the_start():
    execution = admitted(lock=None)
    assert (execution.status, execution.epoch, execution.seq) == (Status.SKIPPED, 0, CLOSED)
    assert (execution.finished_at, execution.requested_at, execution.lock_key) == (T0, None, None)
    assert apply(execution, finished(0, Status.OK)) is execution


def test_what_is_queued_is_asked_of_no_runner_and_has_its_deadline_all_the_same():
    asked = Admission(
        "e", "w", 1, Cause.MANUAL, T0, 1, 2, 0, requested_at=at(1), lock_key="w#wait-0", queued=True,
        deadline=deadline_of(T0, "1m"), input={"a": 1}, reason="why", due_at=at(-9), origin_id="o", takes_up=True,
        triggered_by=Parent("p", "v", "start"), reference="order-17",
    )  # fmt: skip
    queued = admit(asked)
    assert (queued.status, queued.epoch, queued.requested_at, queued.deadline) == (Status.QUEUED, 1, None, at(60))
    assert (queued.input, queued.reason, queued.reference) == ({"a": 1}, "why", "order-17")
    assert (queued.due_at, queued.origin_id, queued.takes_up) == (at(-9), "o", True)
    assert queued.triggered_by == Parent("p", "v", "start")
    pending = admit(replace(asked, queued=False))
    assert (pending.status, pending.requested_at) == (Status.PENDING, at(1))
    assert admit(replace(asked, lock_key=None)).deadline is None
    assert deadline_of(T0, None) is None


TRANSITIONS = st.one_of(
    st.builds(
        finished,
        st.integers(0, 1),
        st.sampled_from([Status.RUNNING, Status.WAITING, Status.OK, Status.FAILED]),
        epoch=st.integers(1, 4),
        seq=st.integers(1, 3),
        attempt=st.integers(1, 3),
        ok=st.booleans(),
        wake_at=st.just(at(5)),
    ),
    st.builds(Reissued, st.just("e"), st.just("w"), st.integers(1, 5), st.just(at(6)), st.sampled_from(Restart)),
    st.builds(Ended, st.just("e"), st.just("w"), st.just(Status.CANCELLED), st.just("stop"), st.just(at(7))),
)


@given(st.lists(TRANSITIONS, max_size=12))
def test_the_fold_keeps_its_invariants(transitions):
    execution = admitted()
    for transition in transitions:
        before = execution
        execution = apply(execution, transition)
        assert execution.epoch >= before.epoch
        assert (execution.lock_key is None) == (execution.status in TERMINAL)
        assert (execution.finished_at is None) == (execution.status in OPEN)
        if before.status in TERMINAL:
            assert execution == before
        again = apply(execution, transition)
        if isinstance(transition, ActionFinished) and execution != before:
            assert again == execution, "a replayed result changed something"
        if isinstance(transition, ActionFinished) and transition.epoch < execution.epoch:
            assert execution == before, "a zombie's result changed something"


def test_a_terminal_state_is_never_overwritten():
    ended = apply(admitted(), Ended("e", "w", Status.CANCELLED, "stop", at(1)))
    for transition in (finished(0, Status.OK), Reissued("e", "w", 9, at(2)), Ended("e", "w", Status.FAILED, "x", at(2))):
        assert apply(ended, transition) == ended
    assert replace(ended, reason="stop") == ended


@pytest.mark.parametrize(
    ("ended_at", "output", "carried"),
    [
        (5, {"until": "2026-01-01T00:00:09.000Z"}, [0]),
        (9, {"until": "2026-01-01T00:00:09.000Z"}, [0, 1]),
        (5, {"until": "2026-01-01T00:00:09.000Z", "topic": "t"}, [0, 1]),
        (5, {"until": 9}, [0, 1]),
        (5, None, [0, 1]),
    ],
    ids=["in the delay", "after the delay", "another action", "no instant", "no output"],
)
def test_a_delay_is_carried_over_when_it_was_waited_for(ended_at, output, carried):
    execution = apply(admitted(total=3), finished(0, Status.RUNNING))
    delay = finished(1, Status.WAITING, seq=2, wake_at=at(9))
    execution = apply(execution, replace(delay, outcome=replace(delay.outcome, output=output)))
    ended = apply(execution, Ended("e", "w", Status.CANCELLED, "asked", at(ended_at)))
    assert [outcome.index for outcome in carry_over(ended).values()] == carried


def test_a_delay_that_is_over_is_carried_over_whatever_ended_the_execution():
    delay = finished(0, Status.WAITING, wake_at=at(9))
    outcome = replace(delay.outcome, output={"until": "2026-01-01T00:00:09.000Z"})
    execution = apply(admitted(), replace(delay, outcome=outcome))
    execution = apply(execution, Reissued("e", "w", epoch=2, at=at(9), why=Restart.WOKEN))
    # By the clock of a runner that is behind.
    ended = apply(execution, finished(1, Status.FAILED, epoch=2, ok=False))
    assert [outcome.index for outcome in carry_over(ended).values()] == [0]


def test_of_what_was_ended_before_its_first_step_nothing_is_carried_over():
    assert carry_over(apply(admitted(), Ended("e", "w", Status.CANCELLED, "stop", at(1)))) == {}


def test_what_is_done_is_carried_over_and_neither_what_failed_nor_the_handlers():
    outcomes = [
        replace(finished(0, Status.RUNNING).outcome, attempt=2),
        replace(finished(1, Status.RUNNING, ok=False).outcome, continued=True),
        replace(finished(2, Status.RUNNING).outcome, status="skipped"),
        finished(3, Status.RUNNING, ok=False).outcome,
        finished(4, Status.FAILED).outcome,
    ]
    assert [each.resume_index for each in outcomes] == [1, 2, 3, 3, 5], "what does not count is not done again"
    origin = replace(admitted(total=4), results={outcome.key: outcome for outcome in outcomes})
    carried = carry_over(origin)
    assert {key: (each.index, each.attempt) for key, each in carried.items()} == {
        f"{CARRIED}_{index}": (index, CARRIED) for index in range(3)
    }
    assert admit(Admission("e2", "w", 1, Cause.MANUAL, T0, 1, 4, 0, lock_key="w", carried=carried)).resume_index == 3
