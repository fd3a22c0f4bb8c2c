"""The fold of the log gives the documents, whatever happened."""

from dataclasses import fields, replace
from datetime import timedelta
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.projection.comparison import IDENTITY, STANDING, differences
from domain.execution import Admission, Cause, Ended, Execution, Restart, Restarted, Status, admit, apply
from domain.identifiers import execution_id
from events.folding import ended_record
from events.history import fold, origin_of
from events.records import ExecutionRequest
from tests.projection.plausible import START, Life, eventful, settled, smooth


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_fold_of_any_life_agrees_with_its_document(seed, steps):
    life = eventful(Random(seed), "w", steps)
    told = fold(life.records)
    if told.execution is None:
        assert life.document.status.is_open, "an execution ended and the log knows nothing of it"
        assert not life.records
        return
    assert told.complete
    assert differences(told.execution, life.document) == []


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 40))
def test_the_fold_of_a_life_that_ended_is_its_document(seed, steps):
    life = settled(Random(seed), "w", steps)
    assert not life.document.status.is_open
    assert fold(life.records).execution == life.document


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 25), st.integers(1, 25))
def test_the_fold_of_what_takes_up_a_failed_execution_is_its_document(seed, steps, more):
    lives = (settled(Random(f"{seed} {number}"), "w", steps) for number in count())
    first = next(life for life in lives if life.document.status not in (Status.OK, Status.SKIPPED))
    second = settled(Random(seed + 1), "w", more, first.document)
    carried = [key for key in second.document.results if key.startswith("0_")]
    assert origin_of(second.records) == (first.document.execution_id if carried else None)
    told = fold(second.records, fold(first.records))
    assert (told.execution, told.complete) == (second.document, True)
    if carried:
        told = fold(second.records)
        assert (told.complete, told.lacks_origin) == (False, True), "without its origin nobody knows what was done before"


def test_a_smooth_life_agrees_at_each_moment():
    life = Life(Random(1), "w")
    life.publish_request()
    life.start_certainly_new()
    life.mark(life.runs[0])
    assert differences(fold(life.records).execution, life.document) == []
    life.act(life.runs[0], ok=True)
    assert differences(fold(life.records).execution, life.document) != [], "published and not yet projected"
    life.project()
    assert fold(life.records).execution == replace(life.document)


def test_a_request_that_no_service_has_made_tells_nothing():
    told = fold([ExecutionRequest(workflow_id="w", execution_id=execution_id(START, bytes(10)), epoch=5, version=1)])
    assert (told.execution, told.complete) == (None, False)


def test_a_skipped_execution_is_told_by_its_end_alone():
    skipped = admit(
        Admission(
            execution_id=execution_id(START, bytes(10)), workflow_id="w", version=3, cause=Cause.SCHEDULE,
            created_at=START, retries_left=2, total_actions=2, shard=5, due_at=START, reason="skipped: busy",
        )
    )  # fmt: skip
    told = fold([ended_record(skipped)])
    assert told.complete
    assert told.execution == replace(skipped, shard=told.execution.shard)


def test_which_of_several_places_an_execution_has_is_told_by_no_record():
    life = Life(Random(1), "w")
    life.publish_request()
    assert differences(fold(life.records).execution, replace(life.document, lock_key="w#3")) == []
    assert differences(fold(life.records).execution, replace(life.document, lock_key=None)) != []


@pytest.mark.parametrize("place", ["w", "w#3"])
def test_a_place_that_is_kept_after_the_end_is_told_whichever_it_is(place):
    life = Life(Random(1), "w")
    life.publish_request()
    ended = apply(fold(life.records).execution, Ended(life.document.execution_id, "w", Status.CANCELLED, "asked", START))
    told = differences(ended, replace(ended, lock_key=place))
    assert [(each.field, each.stored) for each in told] == [("lock_key", place)]


def _skipped(life):
    """Return what somebody publishes who finds its workflow busy."""
    return ended_record(
        admit(
            Admission(
                execution_id=life.document.execution_id, workflow_id="w", version=1, cause=Cause.EVENT, created_at=START,
                retries_left=0, total_actions=1, shard=0, reason="skipped: busy",
            )
        )
    )  # fmt: skip


def test_one_that_another_runner_had_skipped_is_told_by_what_it_did():
    life = Life(Random(1), "w")
    life.publish_request()
    life.start_certainly_new()
    life.act(life.runs[0], ok=True)
    life.project()
    told = fold([*life.records, _skipped(life)])
    assert told.complete
    assert differences(told.execution, life.document) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0), (1, 1, 0)], ids=["first", "last", "after an end told twice"])
def test_one_that_another_runner_had_skipped_and_that_was_cancelled_is_cancelled(order):
    life = Life(Random(1), "w")
    life.publish_request()
    cancelled = apply(life.document, Ended(life.document.execution_id, "w", Status.CANCELLED, "asked", START))
    ends = (_skipped(life), ended_record(cancelled))
    told = fold([*life.records, *(ends[number] for number in order)])
    assert told.complete
    assert told.execution == cancelled


@pytest.mark.parametrize("is_requested", [False, True])
def test_one_that_was_skipped_and_is_skipped_again_stays_skipped(is_requested):
    """Its insert was carried out long after it had been recorded as skipped; or else two had the same record in hand."""
    life = Life(Random(1), "w")
    if is_requested:
        life.publish_request()
    again = apply(life.document, Ended(life.document.execution_id, "w", Status.SKIPPED, "skipped: busy", START))
    told = fold([*life.records, _skipped(life), ended_record(again)])
    assert told.complete
    assert differences(told.execution, again) == []


@pytest.mark.parametrize("missing", range(1, 4))
def test_a_life_whose_beginning_is_gone_is_not_complete(missing):
    life = Life(Random(1), "w", actions=3)
    life.publish_request()
    life.start_certainly_new()
    life.act(life.runs[0], ok=True)
    life.project()
    life.restart(Restart.LOST, published=True)
    life.claim(life.document.epoch)
    life.act(life.runs[1], ok=True)
    life.project()
    assert fold(life.records).complete
    order = [life.requests[0], life.results[0], life.requests[1], life.results[1]]
    assert not fold(order[missing:]).complete


def test_an_end_tells_a_restart_that_was_never_published():
    life = Life(Random(1), "w")
    life.publish_request()
    life.start_certainly_new()
    life.mark(life.runs[0])
    life.restart(Restart.LOST, published=False)
    ended = apply(life.document, Ended(life.document.execution_id, "w", Status.CANCELLED, "asked", life.now))
    assert [each.why for each in ended.restarts] == [Restart.LOST]
    assert ended.cut_off_since is None, "no runner was at a step"
    assert fold([*life.records, ended_record(ended)]).execution == ended


def test_the_log_tells_that_a_timeout_has_ended_the_actions_also_where_the_request_was_never_published():
    life = Life(Random(1), "w", actions=3)
    life.publish_request()
    life.start_certainly_new()
    life.act(life.runs[0], ok=True)
    life.project()
    life.now += timedelta(seconds=1)
    life.restart(Restart.TIMED_OUT, published=False)
    life.restart(Restart.UNCLAIMED, published=True)
    life.claim(life.document.epoch)
    life.act(life.runs[0], ok=True)  # by whoever was at the step
    life.project()
    life.act(life.runs[1], ok=True)
    life.project()
    assert (life.document.status, list(life.document.results)) == (Status.FAILED, ["1_0", "1_1t"])
    told = fold(life.records)
    assert (told.complete, told.execution) == (True, life.document)


def test_an_end_tells_in_what_it_was_cut_off_though_the_run_is_told_by_no_record():
    life = Life(Random(1), "w")
    life.publish_request()
    life.start_certainly_new()
    life.mark(life.runs[0])
    ended = apply(life.document, Ended(life.document.execution_id, "w", Status.CANCELLED, "asked", life.now))
    assert ended.cut_off_since == life.document.started_at
    assert fold([*life.records, ended_record(ended)]).execution == ended


def test_every_field_of_an_execution_is_compared():
    told_by_no_record = {
        "deadline",  # stands only while it is open, and changes nothing of what is compared
        "input",  # said by the request; not compared yet
        "resumed_at",  # stands only while it is open, for people to see
        "listed_wait",  # of results that a list does without
        "intents",  # written before a request leaves, so that a crash in between is not forgotten
    }
    assert {*IDENTITY, *STANDING, "results"} == {field.name for field in fields(Execution)} - told_by_no_record


@pytest.mark.parametrize("field", ["status", "attempt", "finished_at", "reason", "results", "lost", "restarts", "version"])
def test_a_tampered_document_is_found(field):
    life = smooth(Random(3), "w", START)
    assert life.document.status is Status.OK
    other = {
        "status": Status.FAILED,
        "attempt": 9,
        "finished_at": START,
        "reason": "?",
        "results": {},
        "lost": 1,
        "restarts": (Restarted(START, Restart.LOST, 1, 0),),
        "version": 7,
    }
    assert differences(fold(life.records).execution, replace(life.document, **{field: other[field]}))
