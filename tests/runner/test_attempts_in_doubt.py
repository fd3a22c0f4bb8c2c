"""One attempt: results in order, timeouts, deadlines, and what must not be done twice."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any, Literal

import pytest
from async_timeout import Timeout, timeout

from actions import registry
from actions.registry import WorkflowDefinition
from actions.running import Context, Delayed, Failed, Outcome, Resources, Succeeded
from apps.runner import attempts
from apps.runner.attempts import run_attempt
from apps.runner.clock import now
from apps.runner.run import Run
from domain.action import Action
from domain.execution import Failures, Restart, Restarted
from domain.retry import Backoff, Retry, RetryOn
from events.folding import result_transition
from events.records import ActionResult
from events.wire import Decoder, Malformed, encode

RUN = Run(
    execution_id="00000000-0000-7000-8000-000000000000",
    workflow_id="w",
    version=1,
    epoch=1,
    attempt=1,
    retries_left=2,
    resume_index=0,
    cause="manual",
)
RESOURCES = Resources(http=None)  # type: ignore[arg-type]
CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


class Step(Action):
    """Takes the place of an action; what it does is told by ``does``."""

    type: Literal["step"] = "step"
    does: str = "succeed"
    on_unknown: Literal["retry", "fail"] = "retry"
    safe: bool = True
    retry: Retry | None = None

    @property
    def is_idempotent(self) -> bool:
        return self.safe


# What the kind of a plug-in may answer, and no record can hold.
ANSWERS = {
    "nothing": None,
    "a word": "done",
    "no object": Succeeded(output=["a"]),  # type: ignore[arg-type]
    "an object of its own": Succeeded(output={"a": object()}),
    "a circle": Succeeded(output={"a": CIRCLE}),
    "too much": Succeeded(output={"a": "x" * 400_001}),
    "too much, and failed": Failed("no", "no" * 10_000, output={"a": "x" * 400_001}),
    "a class of the system's own": Failed("cancelled", "by whom?"),
    "many words": Succeeded(logs=("\0" * 10_000,) * 1000),
    "no words": Succeeded(logs=(1, None)),  # type: ignore[arg-type]
}


class World:
    """What the attempt did, in order."""

    after = 2  # lost runners make a suspect

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.current = True
        self.handlers = 0  # how many of the steps are those of ``finally``
        self.on_failure = 0  # and of ``onFailure``, before these

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Any]:
        async def run(step: Step, context: Context) -> Outcome:
            self.events.append(("apart", context.action_id))
            return Failed("crashed", "exit status 1") if step.does == "crash" else Succeeded()

        yield SimpleNamespace(run=run)

    async def run(self, step: Step, context: Context) -> Outcome:
        self.events.append(("run", context.action_id))
        if step.does == "hang":
            await asyncio.Event().wait()
        if step.does == "time out by itself":
            raise asyncio.TimeoutError
        if step.does == "raise":
            raise RuntimeError("oops")
        if step.does == "be in doubt":
            return Failed("disconnected", "the connection was lost", maybe_done=not step.safe, is_in_doubt=True)
        if step.does in ANSWERS:
            answer: Any = ANSWERS[step.does]
            return answer
        return Failed("connection", "refused") if step.does == "fail" else Succeeded()

    async def publish(self, workflow_id: str, result: Any) -> None:
        self.events.append(result)

    async def intend(self, run: Run, key: str) -> bool:
        self.events.append(("intend", key))
        return self.current

    async def abandon(self, execution_id: str) -> None:
        self.events.append(("abandon", execution_id))

    async def attempt(self, *steps: Step, run: Run = RUN, retry: Retry | None = None) -> None:
        named = tuple(step.model_copy(update={"action_id": f"a{number}"}) for number, step in enumerate(steps))
        actions = len(steps) - self.handlers - self.on_failure
        definition = WorkflowDefinition.model_construct(
            workflow_id="w",
            actions=named[:actions],
            on_failure=named[actions : actions + self.on_failure],
            finally_=named[actions + self.on_failure :],
            retries=2,
            backoff=Backoff(),
            retry=retry,
            timeout="2h",
        )
        await run_attempt(
            run,
            definition,
            runner="r",
            resources=RESOURCES,
            publish=self.publish,
            intend=self.intend,
            abandon=self.abandon,
            isolation=self,  # type: ignore[arg-type]
        )

    @property
    def results(self) -> list[tuple[str, str, str]]:
        return [(e.action_id, e.status, e.execution_status) for e in self.events if not isinstance(e, tuple)]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setitem(registry.KINDS, Step, world.run)
    monkeypatch.setattr(attempts, "TIMEOUT_GRACE", 0.0)
    return world


async def test_the_results_of_an_attempt(world: World) -> None:
    await world.attempt(Step(), Step())
    assert world.results == [("a0", "ok", "running"), ("a1", "ok", "ok")]


@pytest.mark.parametrize("epoch", [1, 3])
async def test_results_are_numbered_from_one_and_the_first_run_begins_when_its_execution_did(
    world: World, epoch: int
) -> None:
    """A gap would be taken for a result that went elsewhere; and the two topics tell the same instants as the document."""
    began = now() - timedelta(seconds=5)
    await world.attempt(Step(), Step(), run=replace(RUN, epoch=epoch, started_at=began, recorded=2))
    first, second = (event for event in world.events if not isinstance(event, tuple))
    assert (first.seq, second.seq) == (1, 2)
    told = (2, began) if epoch > 1 else (None, None)
    assert {(each.recorded, each.execution_started_at) for each in (first, second)} == {told}, "whoever folds needs it"
    assert (first.started_at == began) == (epoch == 1)
    assert began < second.started_at
    instants = [instant for result in (first, second) for instant in (result.started_at, result.finished_at)]
    assert instants == sorted(instants)
    assert {instant.microsecond % 1000 for instant in instants} == {0}, "MongoDB keeps milliseconds"


@pytest.mark.parametrize(
    ("does", "error_class"),
    [("fail", "connection"), ("hang", "timeout"), ("time out by itself", "timeout"), ("raise", "internal")],
)
async def test_a_failure_of_any_kind_is_retried_later(world: World, does: str, error_class: str) -> None:
    await world.attempt(Step(does=does, timeout="1s"), Step())
    (result,) = (event for event in world.events if not isinstance(event, tuple))
    assert (result.status, result.execution_status, result.error["class"]) == ("failed", "waiting", error_class)
    assert result.retries_left == 1


@pytest.mark.parametrize("does", ANSWERS)
async def test_whatever_an_action_answers_can_be_recorded(world: World, does: str) -> None:
    """A result that cannot be published would be tried for ever, and its execution never end."""
    await world.attempt(Step(does=does))
    (result,) = (event for event in world.events if not isinstance(event, tuple))
    raw = encode(result)
    assert len(raw) < 900_000
    assert not isinstance(Decoder(ActionResult)(raw), Malformed)
    expected = (
        ("ok", None)
        if "words" in does
        else ("failed", {"too much": "too-large", "too much, and failed": "no"}.get(does, "internal"))
    )
    assert (result.status, result.error and result.error["class"]) == expected
    assert result.output is None
    if does == "too much, and failed":
        assert result.error["message"] == ("no" * 10_000)[: attempts.LONGEST_TEXT]
        assert result.logs == ["its output of 400009 bytes of JSON is more than 400000"]
    if does == "many words":
        *whole, cut, note = result.logs
        assert (whole, note) == (["\0" * 10_000] * 4, "… the first 50000 characters are kept")
        assert sum(map(len, whole)) + len(cut) <= attempts.LARGEST_LOGS


async def test_the_results_of_an_execution_fit_into_its_document(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "LARGEST_EXECUTION", 700_000)
    monkeypatch.setitem(ANSWERS, "much", Succeeded(output={"a": "x" * 300_000}))
    await world.attempt(*[Step(does="much")] * 4)
    assert world.results == [("a0", "ok", "running"), ("a1", "ok", "running"), ("a2", "failed", "failed")]
    (*kept, last) = (event for event in world.events if not isinstance(event, tuple))
    assert last.error["class"] == "too-large"
    world.events.clear()
    outcomes = tuple(result_transition(result).outcome for result in kept)
    await world.attempt(*[Step(does="much")] * 4, run=replace(RUN, epoch=3, resume_index=2, outcomes=outcomes))
    assert world.results == [("a2", "failed", "failed")]


async def test_no_retry_is_planned_beyond_the_deadline(world: World) -> None:
    await world.attempt(Step(does="fail"), run=replace(RUN, deadline=now() - timedelta(seconds=1)))
    (result,) = (event for event in world.events if not isinstance(event, tuple))
    assert (result.execution_status, result.wake_at) == ("failed", None)
    assert "its time is over" in result.reason
    await world.attempt(Step(does="fail"), run=replace(RUN, deadline=now() + timedelta(hours=1)))
    assert world.results[-1][2] == "waiting"
    await world.attempt(Step(does="fail"), run=replace(RUN, retries_left=0, deadline=now() + timedelta(hours=1)))
    assert world.results[-1][2] == "failed"
    await world.attempt(Step(), run=replace(RUN, deadline=now() + timedelta(hours=1)))
    assert world.results[-1][2] == "ok"


HOUR_AGO = now() - timedelta(hours=1)


@pytest.mark.parametrize(
    ("since", "more", "is_in_doubt"),
    [
        pytest.param(None, {}, False, id="that nobody ran"),
        pytest.param(None, {"failures": {1: Failures(1, HOUR_AGO)}}, False, id="that was to be retried"),
        pytest.param(HOUR_AGO, {}, True, id="that was under way"),
        pytest.param(None, {"in_doubt": frozenset({1})}, True, id="that may have been sent"),
        pytest.param(None, {"failures": {1: Failures(0, HOUR_AGO)}}, True, id="whose runner had died"),
    ],
)
async def test_the_step_at_which_its_time_was_over_fails_without_being_run_and_the_handlers_follow(
    world: World, since: datetime | None, more: dict[str, Any], is_in_doubt: bool
) -> None:
    world.handlers = 2
    how = Restarted(now(), Restart.TIMED_OUT, 1, 1, since=since)
    everything = Retry(attempts=5, on=RetryOn(errors=("*",)))
    step = Step(onUnknown="fail", continueOnError=True, retry=everything)
    run = replace(RUN, epoch=3, resume_index=1, cut_short=how, **more)
    await world.attempt(Step(), step, Step(), Step(does="fail"), Step(), run=run)
    assert world.events[0] == ("abandon", RUN.execution_id)
    assert [event for event in world.events if isinstance(event, tuple)][1:] == [("run", "a3")]
    first, second = (event for event in world.events if not isinstance(event, tuple))
    doubt = "; whether it was done is not known" if is_in_doubt else ""
    assert first.error == {"class": "timed-out", "message": f"timed out after 2h{doubt}"}
    assert (first.status, first.execution_status, first.index, first.next_index) == ("failed", "running", 1, 3)
    assert (first.started_at, first.continued) == (since or how.at, None)
    assert first.deadline == first.finished_at + timedelta(hours=2), "the handlers have a time of their own"
    assert (second.execution_status, second.deadline) == ("waiting", None), "a handler may be retried within it"


async def test_after_the_handlers_the_reason_is_that_its_time_was_over(world: World) -> None:
    world.handlers = 1
    how = Restarted(now(), Restart.TIMED_OUT, 1, 0)
    await world.attempt(Step(), Step(), run=replace(RUN, epoch=3, cut_short=how))
    assert world.results == [("a0", "failed", "running"), ("a1", "ok", "failed")]
    assert world.events[-1].reason == "action a0 failed: timed out after 2h"


async def test_what_is_given_up_fails_at_its_step_and_its_reason_is_that(world: World) -> None:
    world.handlers = 1
    why = "given up: 4 attempts were lost with their runner, the last with r0"
    how = Restarted(now(), Restart.GIVEN_UP, 1, 0, runner="r0", since=now(), reason=why)
    await world.attempt(Step(continueOnError=True), Step(), run=replace(RUN, epoch=3, cut_short=how))
    assert world.results == [("a0", "failed", "running"), ("a1", "ok", "failed")]
    first, second = (event for event in world.events if not isinstance(event, tuple))
    assert (first.error, second.reason) == ({"class": "given-up", "message": why}, why)


@pytest.mark.parametrize(("since", "doubt"), [(None, ""), (now(), "; whether it was done is not known")])
async def test_what_is_cancelled_runs_only_what_runs_in_any_case_and_ends_as_that(
    world: World, since: datetime | None, doubt: str
) -> None:
    world.on_failure, world.handlers = 1, 2
    how = Restarted(now(), Restart.CANCELLED, 1, 0, since=since, reason="wrong month")
    steps = (Step(continueOnError=True), Step(), Step(), Step(does="fail"), Step())
    await world.attempt(*steps, run=replace(RUN, epoch=3, retries_left=0, cut_short=how))
    ran = [("a0", "failed", "running"), ("a3", "failed", "running"), ("a4", "ok", "cancelled")]
    assert world.results == ran
    first, _, last = (event for event in world.events if not isinstance(event, tuple))
    assert (first.error, last.reason) == ({"class": "cancelled", "message": f"wrong month{doubt}"}, "wrong month")


async def test_what_times_out_is_recorded_also_where_the_results_fill_the_document(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "LARGEST_EXECUTION", 100)
    world.handlers = 1
    run = replace(RUN, epoch=3, cut_short=Restarted(now(), Restart.TIMED_OUT, 1, 0))
    await world.attempt(Step(), Step(), run=run)
    first, second = (event for event in world.events if not isinstance(event, tuple))
    assert (first.error["class"], second.error["class"]) == ("timed-out", "too-large")


@pytest.mark.parametrize(("hours", "is_in_time"), [(-1, True), (1, False)], ids=["within the time", "beyond it"])
async def test_a_delay_that_comes_last_is_one_of_the_actions(
    world: World, monkeypatch: pytest.MonkeyPatch, hours: int, is_in_time: bool
) -> None:
    """The time of the handlers begins when it is over, unless that of the actions is over before."""
    deadline = now() + timedelta(hours=3)
    until = deadline + timedelta(hours=hours)
    monkeypatch.setitem(ANSWERS, "wait", Delayed(until, logs=("waits",)))
    world.handlers = 1
    await world.attempt(Step(does="wait"), Step(), run=replace(RUN, deadline=deadline))
    (result,) = (event for event in world.events if not isinstance(event, tuple))
    assert (result.execution_status, result.wake_at) == ("waiting", until)
    assert result.deadline == (until + timedelta(hours=2) if is_in_time else None)


async def test_a_kind_that_delays_what_is_not_there_ends_the_execution(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing would be left to run when it is over, and nothing would tell the end."""
    until = now() + timedelta(hours=1)
    monkeypatch.setitem(ANSWERS, "wait", Delayed(until, logs=("waits",)))
    await world.attempt(Step(does="wait"), Step())
    assert (world.results, world.events[-1].wake_at) == ([("a0", "ok", "waiting")], until)
    world.events.clear()
    await world.attempt(Step(), Step(does="wait"))
    assert world.results == [("a0", "ok", "running"), ("a1", "ok", "ok")]
    assert world.events[-1].wake_at is None


async def test_what_must_not_be_repeated_is_begun_only_after_the_intent(world: World) -> None:
    await world.attempt(Step(), Step(onUnknown="fail"))
    assert [event for event in world.events if isinstance(event, tuple)] == [
        ("run", "a0"),
        ("intend", "1_1"),
        ("run", "a1"),
    ]


async def test_a_run_that_is_not_current_does_not_begin_it(world: World) -> None:
    world.current = False
    await world.attempt(Step(onUnknown="fail"))
    assert world.events == [("intend", "1_0")]


async def test_a_begun_action_without_a_result_ends_unknown_and_is_not_repeated(world: World) -> None:
    await world.attempt(Step(onUnknown="fail"), Step(), run=replace(RUN, epoch=3, in_doubt=frozenset({0})))
    assert world.results == [("a0", "unknown", "failed")]
    assert world.events[0].error["class"] == "unknown-outcome"


async def test_a_begun_action_that_may_be_repeated_is(world: World) -> None:
    await world.attempt(Step(), run=replace(RUN, epoch=3, in_doubt=frozenset({0})))
    assert world.results == [("a0", "ok", "ok")]


async def test_only_the_interrupted_action_is_in_doubt(world: World) -> None:
    await world.attempt(Step(), Step(onUnknown="fail"), run=replace(RUN, epoch=3, in_doubt=frozenset({0})))
    assert world.results == [("a0", "ok", "running"), ("a1", "ok", "ok")]


@pytest.mark.parametrize("of", ["action", "workflow"])
async def test_what_is_unsafe_to_retry_is_not_repeated_after_its_runner_died(world: World, of: str) -> None:
    careful = Retry(retryUnsafe=False)
    step = Step(safe=False, retry=careful if of == "action" else None)
    retry = careful if of == "workflow" else None
    await world.attempt(step, retry=retry)
    assert world.events[:2] == [("intend", "1_0"), ("run", "a0")]
    world.events.clear()
    await world.attempt(step, run=replace(RUN, epoch=3, in_doubt=frozenset({0})), retry=retry)
    assert world.results == [("a0", "unknown", "failed")]
    assert world.events[0].error["class"] == "unknown-outcome"


@pytest.mark.parametrize("step", [Step(retry=Retry(retryUnsafe=False)), Step(safe=False)], ids=["idempotent", "allowed"])
async def test_what_may_be_retried_is_begun_without_an_intent_and_repeated(world: World, step: Step) -> None:
    await world.attempt(step, run=replace(RUN, epoch=3, in_doubt=frozenset({0})))
    assert world.events[0] == ("run", "a0")
    assert world.results == [("a0", "ok", "ok")]


async def test_what_is_unsafe_to_retry_fails_as_before_where_its_runner_lives(world: World) -> None:
    """Whoever saw the connection break knows more than that the outcome is unknown."""
    step = Step(does="be in doubt", safe=False, retry=Retry(retryUnsafe=False, on=RetryOn(errors=("*",))))
    await world.attempt(step)
    (result,) = (event for event in world.events if not isinstance(event, tuple))
    assert (result.status, result.execution_status) == ("failed", "failed")
    assert result.reason.endswith("it may have arrived, and retryUnsafe is false")


@pytest.mark.parametrize(("does", "status"), [("fail", "failed"), ("be in doubt", "unknown"), ("crash", "unknown")])
async def test_what_is_in_doubt_is_not_repeated_whatever_the_policy_covers(world: World, does: str, status: str) -> None:
    everything = Retry(attempts=5, on=RetryOn(errors=("*",)))
    run = replace(RUN, epoch=9, lost=2 if does == "crash" else 0)
    await world.attempt(Step(does=does, onUnknown="fail", retry=everything), run=run)
    assert world.results == [("a0", status, "waiting" if status == "failed" else "failed")]
    world.events.clear()
    await world.attempt(Step(does=does, retry=everything), run=run)
    assert world.results == [("a0", "failed", "waiting")]


async def test_an_answer_that_came_too_late_leaves_the_outcome_unknown(world: World) -> None:
    await world.attempt(Step(does="hang", timeout="1s", onUnknown="fail"))
    assert world.results == [("a0", "unknown", "failed")]
    result = world.events[-1]
    assert result.error == {
        "class": "unknown-outcome",
        "message": "did not finish within 1s; whether it was done is not known",
    }
    assert result.reason == f"action a0 is in doubt: {result.error['message']}"


@pytest.mark.parametrize(("lost", "how"), [(1, "run"), (2, "apart"), (3, "apart")])
async def test_what_may_have_killed_its_runners_is_run_apart(world: World, lost: int, how: str) -> None:
    await world.attempt(Step(), Step(), run=replace(RUN, epoch=9, lost=lost))
    assert [event for event in world.events if isinstance(event, tuple)] == [(how, "a0"), (how, "a1")]


async def test_the_time_of_what_is_run_apart_begins_when_its_process_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []

    @asynccontextmanager
    async def process() -> AsyncIterator[Any]:
        async with World.process(world) as apart:
            order.append("process")
            yield apart

    def clock(seconds: float) -> Timeout:
        order.append("clock")
        return timeout(seconds)

    monkeypatch.setattr(world, "process", process)
    monkeypatch.setattr(attempts, "timeout", clock)
    await world.attempt(Step(), run=replace(RUN, epoch=9, lost=2))
    assert order == ["process", "clock"]


async def test_what_crashes_apart_fails_and_is_run_apart_where_it_is_retried(world: World) -> None:
    await world.attempt(Step(does="crash"), run=replace(RUN, epoch=9, lost=2))
    assert world.results == [("a0", "failed", "failed")]
    result = world.events[-1]
    assert (result.error["class"], result.reason) == (
        "crashed",
        "action a0 failed: exit status 1; errors of class crashed are not retried",
    )
    crashed = result_transition(result).outcome
    world.events.clear()
    await world.attempt(Step(), Step(), run=replace(RUN, epoch=11, attempt=2, outcomes=(crashed,)))
    assert [event for event in world.events if isinstance(event, tuple)] == [("apart", "a0"), ("run", "a1")]
