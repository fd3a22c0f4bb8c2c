"""A step that waits for a signal, with its runner replaced by a loop and the stores by fakes."""

from datetime import datetime, timedelta, timezone

import pytest

from actions.registry import WorkflowDefinition
from actions.running import Resources
from apps.runner.attempts import run_attempt
from apps.runner.intake import run_of
from apps.runner.isolation import Isolation
from apps.runner.signals import signalled_in
from apps.signals import SignalTooLate, send
from apps.waking import Waker
from domain.execution import Admission, Cause, Reissued, Restart, Status, admit, apply
from domain.signal import Signal
from events.folding import result_transition
from tests.fakes.stores import FakeExecutions, FakeSignals

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
EXECUTION = "019ab5d0-0000-7000-8000-000000000001"


class World:
    """A runner that runs one execution."""

    def __init__(self, *actions, **more):
        self.definition = WorkflowDefinition.model_validate(
            {"workflowId": "w", "trigger": {"type": "manual"}, "actions": list(actions), **more}
        )
        self.executions = FakeExecutions()
        self.signals = FakeSignals()
        self.waker = Waker(executions=self.executions, signals=self.signals, hand_out=self.hand_out)
        self.handed_out = []
        asked = Admission(EXECUTION, "w", 1, Cause.MANUAL, T0, 3, len(actions), 0, lock_key="w")
        self.executions.found[EXECUTION] = admit(asked)

    @property
    def execution(self):
        return self.executions.found[EXECUTION]

    async def hand_out(self, execution):
        self.handed_out.append(execution)

    async def send(self, name="approve", **payload):
        await self.signals.put(Signal(EXECUTION, name, payload, T0, "ops", 0), self.execution.attempt)

    async def run(self):
        """Run until the execution waits or ends."""
        claimed = await self.executions.claim(EXECUTION, self.execution.epoch, "r", T0)

        async def publish(workflow_id, result):
            await self.executions.project([result_transition(result)])

        await run_attempt(
            run_of(claimed),
            self.definition,
            runner="r",
            resources=Resources(http=None, signalled=signalled_in(self.signals)),
            publish=publish,
            intend=None,
            abandon=None,
            isolation=Isolation(after=9, limit=1),
        )
        return self.execution

    def time_is_over(self):
        found = self.execution
        woken = apply(found, Reissued(EXECUTION, "w", found.epoch + 1, found.wake_at, Restart.WOKEN))
        assert woken is not found
        self.executions.found[EXECUTION] = woken


WAIT = {"type": "wait-for-signal", "actionId": "approve", "within": "2h"}
SAY = {"type": "log", "message": "{{ actions.approve.output.payload.by }}"}


def said(execution):
    return [line for outcome in execution.ordered_results for line in outcome.logs]


async def test_it_waits_and_goes_on_with_what_the_signal_says():
    world = World(WAIT, SAY)
    before = datetime.now(timezone.utc)
    waiting = await world.run()
    assert (waiting.status, waiting.owner, waiting.awaited.signal) == (Status.WAITING, None, "approve")
    assert timedelta(hours=1.9) < waiting.awaited.until - before < timedelta(hours=2.1)
    await world.send(by="Ada")
    woken = await world.waker.wake(EXECUTION, "approve", T0)
    assert world.handed_out == [woken]
    ended = await world.run()
    assert (ended.status, ended.attempt) == (Status.OK, 1)
    assert [(each.action_id, each.status) for each in ended.ordered_results] == [
        ("approve", "waiting"), ("approve", "ok"), ("log-2", "ok"),
    ]  # fmt: skip
    done = ended.ordered_results[1]
    assert done.output == {"signal": "approve", "payload": {"by": "Ada"}, "at": "2026-01-01T00:00:00.000Z", "sender": "ops"}
    assert done.logs == ("signal approve from ops",)
    assert said(ended)[-1] == "Ada"


async def test_a_signal_that_came_before_is_not_waited_for():
    world = World(WAIT, SAY)
    await world.send(by="Ada")
    assert await world.waker.wake(EXECUTION, "approve", T0) == world.execution
    assert world.handed_out == []
    ended = await world.run()
    assert (ended.status, [each.status for each in ended.ordered_results]) == (Status.OK, ["ok", "ok"])


async def test_where_none_comes_in_time_the_step_fails_and_is_not_tried_again():
    world = World(WAIT, SAY, onFailure=[{"type": "log", "message": "{{ execution.failure.class }}"}])
    await world.run()
    world.time_is_over()
    ended = await world.run()
    assert (ended.status, ended.attempt) == (Status.FAILED, 1)
    assert ended.reason.startswith("action approve failed: signal approve did not come within 2h; ")
    assert said(ended)[-1] == "no-signal"


async def test_whoever_sends_it_when_the_step_has_looked_in_vain_is_told_that_it_is_too_late():
    """The step fails by that, but nobody has recorded it yet: the execution still seems to wait."""
    world = World(WAIT, SAY)
    waiting = await world.run()
    world.time_is_over()
    running = world.execution
    await world.run()
    signal = Signal(EXECUTION, "approve", {}, T0, "ops", 0)
    for seen in (waiting, running):
        with pytest.raises(SignalTooLate, match=r"has gone past step approve \(no-signal\)") as refused:
            await send(signal, seen, world.definition, signals=world.signals, waker=world.waker)
        assert refused.value.retry_waits
    assert world.signals.kept == {}


async def test_one_that_comes_when_the_time_is_over_and_nobody_has_looked_is_in_time():
    world = World(WAIT, SAY)
    await world.run()
    world.time_is_over()
    signal = Signal(EXECUTION, "approve", {"by": "Ada"}, T0, "ops", 0)
    sent = await send(signal, world.execution, world.definition, signals=world.signals, waker=world.waker)
    assert (sent.is_new, sent.goes_on) == (True, True)
    assert said(await world.run())[-1] == "Ada"


async def test_one_that_comes_while_the_step_waits_for_its_retry_is_kept_for_that():
    world = World(WAIT | {"retry": {"attempts": 2, "on": {"errors": ["no-signal"]}}}, SAY)
    await world.run()
    world.time_is_over()
    retried = await world.run()
    signal = Signal(EXECUTION, "approve", {"by": "Ada"}, T0, "ops", 0)
    sent = await send(signal, retried, world.definition, signals=world.signals, waker=world.waker)
    assert (sent.is_new, sent.goes_on) == (True, False)
    await world.executions.reissue(EXECUTION, retried.epoch, T0, Restart.RETRY)
    assert said(await world.run())[-1] == "Ada"


async def test_where_its_author_wants_it_it_waits_anew():
    world = World(WAIT | {"retry": {"attempts": 2, "on": {"errors": ["no-signal"]}}})
    await world.run()
    world.time_is_over()
    retried = await world.run()
    assert (retried.status, retried.awaited) == (Status.WAITING, None), "it waits for its retry"
    reissued = await world.executions.reissue(EXECUTION, retried.epoch, T0, Restart.RETRY)
    assert reissued.attempt == 2
    assert (await world.run()).awaited.signal == "approve"
    await world.send()
    await world.waker.wake(EXECUTION, "approve", T0)
    ended = await world.run()
    assert [each.status for each in ended.ordered_results] == ["waiting", "failed", "waiting", "ok"]


async def test_a_signal_that_comes_when_the_time_is_over_counts_where_nobody_has_looked_yet():
    world = World(WAIT)
    await world.run()
    world.time_is_over()
    await world.send()
    assert (await world.run()).status is Status.OK


async def test_it_is_woken_once_and_by_its_own_signal():
    world = World(WAIT, {"type": "wait-for-signal", "actionId": "second"})
    await world.run()
    await world.send("second")
    assert (await world.waker.wake(EXECUTION, "second", T0)).status is Status.WAITING
    await world.send()
    for _ in range(2):
        await world.waker.wake(EXECUTION, "approve", T0)
    assert len(world.handed_out) == 1
    assert set(world.signals.look_at) == {(EXECUTION, "second")}
    ended = await world.run()
    assert ended.status is Status.OK
    await world.waker.wake(EXECUTION, "second", T0)
    assert not world.signals.look_at, "it has ended"


async def test_a_signal_between_the_look_and_the_record_that_it_waits_is_seen_to():
    world = World(WAIT)
    await world.run()
    await world.waker.look_again(EXECUTION, T0)
    assert world.handed_out == [], "there is none yet"
    await world.send()
    await world.waker.look_again(EXECUTION, T0)
    assert [each.execution_id for each in world.handed_out] == [EXECUTION]


async def test_two_that_find_it_waiting_wake_it_once():
    world = World(WAIT)
    await world.run()
    await world.send()
    reissue = world.executions.reissue

    async def after_another(*asked):
        world.executions.reissue = reissue
        await world.waker.wake(EXECUTION, "approve", T0)
        return await reissue(*asked)

    world.executions.reissue = after_another
    assert await world.waker.wake(EXECUTION, "approve", T0) == world.execution
    assert world.handed_out == [world.execution]


async def test_the_look_after_the_record_passes_over_what_waits_for_nothing(logs):
    world = World(WAIT)
    await world.waker.look_again(EXECUTION, T0)
    await world.waker.look_again("removed meanwhile", T0)
    assert world.handed_out == logs == []


async def test_a_wait_by_a_template_is_bounded():
    world = World(WAIT | {"within": "{{ 400 }}d"})
    ended = await world.run()
    assert ended.status is Status.FAILED
    assert "within: '400d' is longer than 366 days" in ended.reason
