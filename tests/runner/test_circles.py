"""Workflows that would wait for each other in a circle, with the stores replaced by fakes."""

from dataclasses import replace

import pytest

from actions.running import NotTriggered
from apps.runner import circles
from domain.execution import AWAITING, ActionOutcome, Admission, Cause, Parent, Restart, Restarted, Status, admit
from tests.runner.test_children import T0, World

FIRST = {"type": "log", "message": "x", "actionId": "first"}


class Family(World):
    """Executions, each of which was triggered by the one before and waits for it; the last one asks."""

    def __init__(self):
        super().__init__()
        self.ids = []

    async def define_call(self, workflow_id, to, overlap="skip", **more):
        call = {"type": "trigger-workflow", "workflowId": to, "actionId": "call", "waitForEnd": "1h", **more}
        call = {name: value for name, value in call.items() if value is not None}
        await self.define(workflow_id, overlap=overlap, actions=[FIRST, call], **{"finally": [FIRST | {"actionId": "end"}]})

    async def define_circle(self, *workflow_ids, overlap="skip"):
        """Have each call the next one, and the last one the first, which has the policy."""
        for number, (each, to) in enumerate(zip(workflow_ids, (*workflow_ids[1:], workflow_ids[0]), strict=True)):
            await self.define_call(each, to, "skip" if number else overlap)

    def beget(self, *workflow_ids, places=(), cause=Cause.WORKFLOW):
        """Have them asked for one after the other, each by the one before."""
        for number, workflow_id in enumerate(workflow_ids):
            execution_id = f"019ab5d0-0000-7000-8000-{len(self.ids):012}"
            parent = Parent(self.ids[-1], self.context.workflow_id, "call") if self.ids else None
            place = places[number] if places else workflow_id
            asked = Admission(execution_id, workflow_id, 1, cause, T0, 0, 2, 0, lock_key=place, triggered_by=parent)
            self.executions.found[execution_id] = admit(asked)
            self.context = replace(
                self.context, execution_id=execution_id, workflow_id=workflow_id, action_id="call", triggered_by=parent
            )
            self.ids.append(execution_id)

    def record(self, number, *outcomes, **changes):
        """Have it recorded what an execution has done."""
        found = self.executions.found[self.ids[number]]
        changes = {"status": Status.RUNNING, "results": {each.key: each for each in outcomes}, **changes}
        self.executions.found[self.ids[number]] = replace(found, **changes)

    async def ask(self, to="a", waits=True):
        return await self.trigger({}, to=to, within=0, action_id="call", waits=waits)

    async def is_told(self, **asked):
        """Return the error and the message of what is asked for, when nothing has come of it."""
        before = dict(self.executions.found)
        with pytest.raises(NotTriggered) as raised:
            await self.ask(**asked)
        assert (self.executions.found, self.handed_out, self.ended) == (before, [], [])
        return raised.value.error_class, str(raised.value)


def outcome(index, status="ok", **more):
    return ActionOutcome(("first", "call", "end")[index], index, 1, status, T0, T0, **more)


@pytest.fixture
def family():
    return Family()


WAITING_FOR = "workflow a has no place to run until this execution has ended, for which execution {0} waits (a > b > a)"
MEND = "or leave waitForEnd out of step call of workflow a"


@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize(
    ("overlap", "said"),
    [
        pytest.param("skip", f"{WAITING_FOR}; choose allow, {MEND}", id="skip"),
        pytest.param(
            {"policy": "allow", "max": 1},
            f"{WAITING_FOR}, and at most 1 may run at once; choose a larger max, {MEND}",
            id="allow",
        ),
        pytest.param(
            "cancel-running",
            "workflow a would cancel execution {0}, which waits for the end of this one (a > b > a), and so this one as well"
            f" (overlap policy cancel-running); choose allow, {MEND}",
            id="cancel-running",
        ),
    ],
)
async def test_one_whose_place_is_held_by_what_waits_for_it_is_told_at_once(family, overlap, said, waits):
    await family.define_circle("a", "b", overlap=overlap)
    family.beget("a", "b")
    told = "circle", said.format(family.ids[0])
    assert [await family.is_told(waits=waits) for _ in range(2)] == [told] * 2, "whichever runner comes to the step"


async def test_in_line_behind_what_waits_for_it_is_only_what_nobody_waits_for(family):
    await family.define_circle("a", "b", overlap="queue")
    family.beget("a", "b")
    assert await family.is_told() == ("circle", f"{WAITING_FOR}; choose allow, {MEND}".format(family.ids[0]))
    (child,) = await family.ask(waits=False)
    assert child.status is Status.QUEUED
    with pytest.raises(NotTriggered) as raised:
        await family.trigger({}, to="a", within=0, action_id="another")
    assert raised.value.error_class == "busy", "who has the only place in the line may leave it"


@pytest.mark.parametrize("overlap", ["skip", "cancel-running"])
async def test_so_it_is_behind_a_backfill_whatever_the_policy(family, overlap):
    await family.define_circle("a", "b", overlap=overlap)
    family.beget("a", cause=Cause.BACKFILL)
    family.beget("b")
    assert await family.is_told() == ("circle", f"{WAITING_FOR}; choose allow, {MEND}".format(family.ids[0]))
    (child,) = await family.ask(waits=False)
    assert (child.status, family.ended) == (Status.QUEUED, [])


async def test_one_that_would_stand_in_line_behind_itself_and_wait_is_told(family):
    await family.define_call("a", "a", "queue")
    family.beget("a")
    error_class, message = await family.is_told()
    assert error_class == "circle"
    assert message == "workflow a triggers itself and would wait for its own end; choose allow"


async def test_where_several_may_run_a_circle_is_what_holds_every_place(family):
    await family.define_call("a", "a", {"policy": "allow", "max": 3})
    family.beget("a", "a", places=("a", "a#1"))
    (child,) = await family.ask()
    assert child.status is Status.PENDING
    await family.end(child.execution_id)
    family.handed_out.clear()
    family.beget("a", places=("a#2",))
    _, message = await family.is_told()
    assert (
        f"for which execution {family.ids[0]} waits (a > a > a > a), and at most 3 may run at once; choose a larger"
        in message
    )


@pytest.mark.parametrize(
    ("outcomes", "changes"),
    [
        pytest.param((), {"status": Status.PENDING}, id="nothing yet"),
        pytest.param((outcome(0),), {}, id="the step before"),
        pytest.param((outcome(0), outcome(1, "failed")), {"status": Status.WAITING}, id="that it is to be retried"),
        pytest.param(
            (outcome(0), outcome(1, AWAITING, output={"executionIds": ["x", "its child"]})), {}, id="that it waits"
        ),
    ],
)
async def test_it_waits_as_long_as_nothing_else_is_recorded(family, outcomes, changes):
    await family.define_circle("a", "b", "c")
    family.beget("a", "b", "c")
    told = [replace(each, output={"executionIds": ["x", family.ids[1]]}) if each.output else each for each in outcomes]
    family.record(0, *told, **changes)
    error_class, message = await family.is_told()
    assert (error_class, "(a > b > c > a)" in message) == ("circle", True)


def not_waiting(word, who):
    return {"waitForEnd": None} if word == f"{who} does not wait" else {}


def stranger(family, place):
    asked = Admission("019ab5d0-0000-7000-8000-00000000beef", "a", 1, Cause.MANUAL, T0, 0, 2, 0, lock_key=place)
    family.executions.found[asked.execution_id] = admit(asked)


PAST = outcome(1, "failed", continued=True)


@pytest.mark.parametrize(
    "word",
    [
        "the first does not wait", "one in between does not wait", "it has gone past", "one in between has gone past",
        "it waits for others", "its time is over", "it has ended", "another one beside it may end", "it cannot be read",
        "it is too far up",
    ],
)  # fmt: skip
async def test_what_is_not_certain_is_waited_for(family, word, monkeypatch):
    beside = word == "another one beside it may end"
    await family.define_call("a", "b", {"policy": "allow", "max": 2} if beside else "skip", **not_waiting(word, "the first"))
    await family.define_call("b", "c", **not_waiting(word, "one in between"))
    await family.define_call("c", "a")
    family.beget("a", "b", "c")
    if word == "it has gone past":
        family.record(0, outcome(0), PAST)
    elif word == "one in between has gone past":
        family.record(1, outcome(0), PAST)
    elif word == "it waits for others":
        family.record(0, outcome(0), outcome(1, AWAITING, output={"executionIds": ["x"]}), status=Status.WAITING)
    elif word == "its time is over":
        family.record(0, outcome(0), restarts=(Restarted(T0, Restart.TIMED_OUT, 1, 1),))
    elif word == "it has ended":
        await family.end(family.ids[0])
        stranger(family, "a")
    elif beside:
        stranger(family, "a#1")
    elif word == "it cannot be read":
        found = family.executions.found[family.ids[0]]
        family.executions.found[family.ids[0]] = replace(found, version=2)
    elif word == "it is too far up":
        monkeypatch.setattr(circles, "_FARTHEST", 1)
    assert (await family.is_told())[0] == "busy"


async def test_one_that_goes_on_meanwhile_is_waited_for(family):
    await family.define_circle("a", "b")
    family.beget("a", "b")
    holders = family.executions.holders

    async def slowly(places):
        family.record(0, outcome(0), PAST)
        return await holders(places)

    family.executions.holders = slowly
    with pytest.raises(NotTriggered) as raised:
        await family.ask()
    assert raised.value.error_class == "busy"


async def test_what_nobody_has_triggered_reads_nothing_for_that(family):
    await family.define_call("a", "b")
    await family.define("b")
    family.beget("a")
    family.executions.get = None
    (child,) = await family.ask(to="b")
    assert child.status is Status.PENDING
