"""What actions trigger, with the stores replaced by fakes."""

import asyncio
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from actions.registry import WorkflowDefinition
from actions.running import Context, NotTriggered, Resources
from apps.runner import places
from apps.runner.children import Children
from apps.runner.definitions import Definitions
from apps.runner.startable import Starter
from apps.waking import Waker
from domain.execution import AWAITING, ActionOutcome, Admission, Cause, Ended, Parent, Restart, Restarted, Status, admit
from domain.identifiers import asked_at
from domain.instants import MILLISECOND
from store.interfaces import StoreUnavailable, Workflow
from tests.fakes.stores import FakeExecutions, FakeSignals, FakeWorkflows

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
PARENT = "019ab5d0-0000-7000-8000-000000000001"
MANUAL = {"type": "manual"}


class World:
    """A runner on which an execution of ``parent`` runs."""

    def __init__(self):
        self.executions = FakeExecutions()
        self.workflows = FakeWorkflows()
        self.handed_out = []
        self.has_handed_out = asyncio.Event()
        self.ended = []
        starter = Starter(
            executions=self.executions,
            workflows=self.workflows,
            definitions=Definitions(self.workflows),
            hand_out=self.hand_out,
            tell_ended=self.tell_ended,
        )
        self.children = Children(starter)
        self.context = Context(PARENT, "parent", "start", 1, 1, Resources(http=None), T0)

    async def hand_out(self, execution):
        self.handed_out.append(execution)
        self.has_handed_out.set()

    async def tell_ended(self, execution):
        self.ended.append(execution)

    async def define(self, workflow_id, trigger=MANUAL, **more):
        body = {"workflowId": workflow_id, "trigger": trigger, "actions": [{"type": "log", "message": "x"}], **more}
        await self.workflows.create(
            Workflow(
                workflow_id=workflow_id,
                version=1,
                definition=WorkflowDefinition.model_validate(body).to_document(),
                total_actions=1,
                shard=0,
                created_at=T0,
                updated_at=T0,
                anchor=T0,
            )
        )

    def run_parent(self):
        running = admit(Admission(PARENT, "parent", 1, Cause.MANUAL, T0, 0, 1, 0, lock_key="parent"))
        self.executions.found[PARENT] = replace(running, status=Status.RUNNING)

    async def end(self, execution_id):
        found = self.executions.found[execution_id]
        await self.executions.end(Ended(execution_id, found.workflow_id, Status.CANCELLED, "over", T0))

    async def trigger(self, *inputs, to="child", within=60.0, action_id="start", waits=False):
        context = replace(self.context, action_id=action_id)
        return await self.children.trigger(context, to, list(inputs), within, waits=waits)

    @property
    def of_child(self):
        return [each for each in self.executions.found.values() if each.execution_id != PARENT]


@pytest.fixture
def world():
    return World()


async def test_a_child_is_admitted_like_everything_else_and_names_its_parent(world):
    await world.define("child", timeout="1h", retries=2)
    (child,) = await world.trigger({"a": 1})
    found = world.executions.found[child.execution_id]
    assert (found.cause, found.triggered_by) == (Cause.WORKFLOW, Parent(PARENT, "parent", "start"))
    assert (found.input, found.version, found.retries_left, found.lock_key) == ({"a": 1}, 1, 2, "child")
    assert found.deadline > found.created_at == found.requested_at > T0
    assert asked_at(child.execution_id) == T0 + MILLISECOND, "its id is the same in every attempt"
    assert world.handed_out == [found]
    assert child.status is Status.PENDING


async def test_what_its_input_leaves_out_is_so_by_default(world):
    schema = {"properties": {"region": {"default": "eu"}}}
    await world.define("child", inputSchema=schema)
    (child,) = await world.trigger({"a": 1})
    assert world.executions.found[child.execution_id].input == {"a": 1, "region": "eu"}
    assert await world.trigger({"a": 1}) == [child]


async def test_what_was_started_before_is_found_and_not_started_again(world):
    await world.define("child", overlap={"policy": "allow", "max": 5})
    first = await world.trigger({"n": 0}, {"n": 1})
    await world.end(first[0].execution_id)
    again = await world.trigger({"n": 0}, {"n": 1}, {"n": 2})
    assert [each.execution_id for each in again[:2]] == [each.execution_id for each in first]
    assert [each.status for each in again] == [Status.CANCELLED, Status.PENDING, Status.PENDING]
    assert sorted(each.execution_id for each in world.of_child) == [each.execution_id for each in again]
    assert len(world.handed_out) == 3
    other = await world.trigger({"n": 0}, action_id="other")
    assert other[0].execution_id not in {each.execution_id for each in again}


async def test_what_was_started_before_is_found_whatever_has_become_of_the_workflow(world):
    await world.define("child")
    first = await world.trigger({"n": 0})
    world.workflows.heads["child"] = replace(world.workflows.heads["child"], archived_at=T0)
    assert await world.trigger({"n": 0}) == first


async def test_two_runners_at_once_start_each_once(world):
    await world.define("child", overlap={"policy": "allow", "max": 20})
    inputs = [{"n": number} for number in range(10)]
    one, another = await asyncio.gather(world.trigger(*inputs), world.trigger(*inputs))
    assert [each.execution_id for each in one] == [each.execution_id for each in another]
    assert len(world.of_child) == len(world.handed_out) == 10


@pytest.mark.parametrize(
    ("become", "status"), [("open", Status.PENDING), ("ended", Status.CANCELLED), ("removed", Status.PENDING)]
)
async def test_what_was_admitted_with_a_lost_answer_is_found(world, monkeypatch, become, status):
    """It is the scheduler that publishes it."""
    await world.define("child")
    monkeypatch.setattr("apps.runner.patience.RETRY_DELAY", 0)
    proper = world.executions.admit

    async def lost(admission):
        world.executions.admit = proper
        await proper(admission)
        raise StoreUnavailable("gone")

    get = world.executions.get

    async def later(execution_id):
        if become != "open":
            await world.end(execution_id)
        return None if become == "removed" else await get(execution_id)

    world.executions.admit, world.executions.get = lost, later
    (child,) = await world.trigger({})
    assert [each.execution_id for each in world.of_child] == [child.execution_id]
    assert (child.status, world.handed_out) == (status, [])


@pytest.mark.parametrize("is_heard", [True, False])
async def test_what_finds_no_place_waits_for_one(world, refused, monkeypatch, is_heard):
    monkeypatch.setattr(places, "_FIRST_PAUSE", 3600.0 if is_heard else 0.0)
    await world.define("child")
    starting = asyncio.ensure_future(world.trigger({"n": 0}, {"n": 1}, within=1e9))
    await refused.wait()
    await world.end(world.handed_out[0].execution_id)
    if is_heard:
        world.children.starter.places.hear_of_end("child")
    children = await starting
    assert [each.execution_id for each in world.handed_out] == [each.execution_id for each in children]
    assert not [each for each in world.of_child if each.status is Status.SKIPPED]


async def test_what_waits_for_its_place_is_started_under_what_the_workflow_is_by_then(world, refused):
    await world.define("child")
    starting = asyncio.ensure_future(world.trigger({"n": 0}, {"n": 1}, {"n": 2}))
    await refused.wait()
    await world.workflows.replace(replace(await world.workflows.get("child"), version=2))
    refused.clear()
    await world.end(world.handed_out[0].execution_id)
    await refused.wait()
    assert [each.version for each in world.handed_out] == [1, 2]
    await world.workflows.archive(await world.workflows.get("child"), T0)
    await world.end(world.handed_out[1].execution_id)
    with pytest.raises(NotTriggered, match="child is archived") as raised:
        await starting
    assert (raised.value.error_class, raised.value.done, len(world.of_child)) == ("not-startable", 2, 2)


async def test_a_queue_takes_what_it_has_room_for(world):
    await world.define("child", overlap={"policy": "queue", "max": 2})
    children = await world.trigger({}, {}, {})
    assert [each.status for each in children] == [Status.PENDING, Status.QUEUED, Status.QUEUED]
    assert [each.execution_id for each in world.handed_out] == [children[0].execution_id]


async def test_each_attempt_starts_what_it_has_time_for(world):
    await world.define("child", overlap={"policy": "allow", "max": 5})
    for done in (1, 2):
        with pytest.raises(NotTriggered) as raised:
            await world.trigger({}, {}, {}, within=0)
        assert (raised.value.error_class, raised.value.done, len(world.of_child)) == ("timeout", done, done)
    assert len(await world.trigger({}, {}, {}, within=0)) == 3


@pytest.mark.parametrize(
    ("overlap", "limit"),
    [
        ({"policy": "skip"}, ""),
        ({"policy": "allow", "max": 2}, ", and at most 2 may run at once"),
        ({"policy": "queue", "max": 1}, ", and at most 1 may wait"),
    ],
)
async def test_what_finds_no_place_in_time_is_told_who_has_it(world, overlap, limit):
    await world.define("child", overlap=overlap)
    places = 2 if limit else 1
    for _ in range(places):
        with pytest.raises(NotTriggered, match="a longer timeout"):
            await world.trigger({}, {}, {}, within=0)
    with pytest.raises(NotTriggered) as raised:
        await world.trigger({}, {}, {}, within=0)
    error = raised.value
    first = world.handed_out[0].execution_id
    assert str(error) == f"workflow child is busy: execution {first} is open{limit}"
    assert (error.error_class, error.done, len(world.of_child)) == ("busy", places, places)


async def test_what_finds_a_full_line_and_nobody_at_its_head_is_told_so(world):
    """The one at the head has ended, and the next one of the line is about to be released."""
    await world.define("child", overlap={"policy": "queue", "max": 1})
    first, _ = await world.trigger({}, {})
    await world.end(first.execution_id)
    with pytest.raises(NotTriggered) as raised:
        await world.trigger({}, within=0, action_id="another")
    assert str(raised.value) == "workflow child is busy: others come first, and at most 1 may wait"


async def test_one_that_would_cancel_itself_is_told_and_lives_on(world):
    await world.define("parent", overlap="cancel-running")
    world.run_parent()
    with pytest.raises(NotTriggered, match="would cancel this execution") as raised:
        await world.trigger({}, to="parent")
    assert (raised.value.error_class, world.ended, world.of_child) == ("circle", [], [])
    assert world.executions.found[PARENT].status is Status.RUNNING


async def test_one_that_cancels_others_cancels_them(world):
    await world.define("child", overlap="cancel-running")
    first, second = await world.trigger({}, {})
    assert [each.execution_id for each in world.ended] == [first.execution_id]
    assert second.status is Status.PENDING


@pytest.mark.parametrize(
    ("overlap", "started"),
    [("skip", 0), ({"policy": "allow", "max": 1}, 0), ({"policy": "queue", "max": 2}, 2)],
)
async def test_one_that_would_wait_for_its_own_end_is_told_at_once(world, overlap, started):
    await world.define("parent", overlap=overlap)
    world.run_parent()
    with pytest.raises(NotTriggered, match="would wait for its own end") as raised:
        await world.trigger({}, {}, {}, to="parent", within=1e9)
    assert (raised.value.error_class, raised.value.done, len(world.of_child)) == ("circle", started, started)


async def test_one_may_start_itself_beside_or_behind_itself(world):
    await world.define("parent", overlap={"policy": "allow", "max": 3})
    world.run_parent()
    assert [each.status for each in await world.trigger({}, {}, to="parent")] == [Status.PENDING] * 2


async def test_one_that_runs_beside_others_of_its_workflow_waits_for_their_end(world):
    await world.define("parent", overlap={"policy": "allow", "max": 2})
    world.run_parent()
    await world.trigger({}, to="parent")
    with pytest.raises(NotTriggered, match=f"execution {PARENT} is open") as raised:
        await world.trigger({}, to="parent", within=0, action_id="another")
    assert raised.value.error_class == "busy"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("absent", "workflow absent does not exist"),
        ("archived", "workflow archived is archived"),
        ("scheduled", 'set "allowManual": true'),
    ],
)
async def test_what_cannot_be_started_is_told(world, word, said):
    await world.define("archived")
    world.workflows.heads["archived"] = replace(world.workflows.heads["archived"], archived_at=T0)
    await world.define("scheduled", trigger={"type": "periodic", "interval": "1h"})
    with pytest.raises(NotTriggered, match=said) as raised:
        await world.trigger({}, to=word)
    assert (raised.value.error_class, world.of_child) == ("not-startable", [])


async def test_one_whose_definition_this_runner_cannot_read_is_told(world):
    await world.define("child")
    head = world.workflows.heads["child"]
    document = {**head.definition, "actions": [{"type": "of-a-plug-in"}]}
    world.workflows.heads["child"] = replace(head, definition=document)
    with pytest.raises(NotTriggered, match="ACTION_PLUGINS in every service") as raised:
        await world.trigger({})
    assert (raised.value.error_class, world.of_child) == ("internal", [])


@pytest.mark.parametrize(
    ("word", "bad", "said"),
    [
        ("schema", {"n": "one"}, "input.n: "),
        ("size", {"n": 1, "text": "x" * 262_144}, "input: must be at most 262144 bytes"),
        ("number", {"n": 2**70}, "input.n: "),
    ],
)
async def test_one_bad_input_starts_nothing(world, word, bad, said):
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await world.define("child", overlap={"policy": "queue", "max": 9}, inputSchema=schema)
    with pytest.raises(NotTriggered) as raised:
        await world.trigger({"n": 1}, {"n": 2}, bad)
    error = raised.value
    assert (error.error_class, error.number, world.of_child) == ("bad-input", 2, [])
    assert str(error).startswith(said)


async def test_nothing_to_start_asks_nobody(world):
    assert await world.trigger(to="absent") == []


def outcome(index, status="ok", attempt=1, **output):
    return ActionOutcome(f"a{index}", index, attempt, status, T0, T0, output=output or None)


async def end_with(world, execution_id, status, *outcomes, total=2):
    found = world.executions.found[execution_id]
    world.executions.found[execution_id] = replace(
        found, status=status, total_actions=total, results={each.key: each for each in outcomes}, reason=f"it {status.value}"
    )


async def test_how_children_have_ended_is_known_when_all_have(world):
    await world.define("child", overlap={"policy": "allow", "max": 50})
    ids = [each.execution_id for each in await world.trigger(*({"n": number} for number in range(40)))]
    for execution_id in ids[1:]:
        await end_with(world, execution_id, Status.OK, outcome(0, a=1), outcome(1, b=2), outcome(2, c="of a handler"))
    assert await world.children.ends(ids) is None
    assert await world.children.ends(ids[:1]) is None, "there may be one alone"
    await end_with(world, ids[0], Status.FAILED, outcome(0, a=1), outcome(1, "failed", b=2))
    ends = await world.children.ends(ids)
    assert [each.execution_id for each in ends] == ids
    assert (ends[0].status, ends[0].reason, ends[0].result) == ("failed", "it failed", {"a": 1})
    assert {(each.status, tuple(each.result.items())) for each in ends[1:]} == {("ok", (("b", 2),))}
    del world.executions.found[ids[7]]
    await end_with(world, ids[8], Status.CANCELLED)
    await end_with(world, ids[9], Status.OK, outcome(0, a=1), outcome(1))
    ends = await world.children.ends(ids)
    assert (ends[7].status, ends[7].result) == ("gone", {})
    assert (ends[8].status, ends[8].result) == ("cancelled", {})
    assert (ends[9].status, ends[9].result) == ("ok", {})
    assert await world.children.ends([]) == []


async def test_results_that_do_not_fit_together_are_not_held(world):
    await world.define("child", overlap={"policy": "allow", "max": 50})
    ids = [each.execution_id for each in await world.trigger(*({"n": number} for number in range(3)))]
    for execution_id in ids:
        await end_with(world, execution_id, Status.OK, outcome(0, a="x" * 150_000))
    assert [each.result and len(each.result["a"]) for each in await world.children.ends(ids[:2])] == [150_000] * 2
    ends = await world.children.ends(ids)
    assert [(each.status, each.result) for each in ends] == [("ok", None)] * 3


async def test_reasons_take_of_the_room_for_results(world):
    await world.define("child", overlap={"policy": "allow", "max": 100})
    ids = [each.execution_id for each in await world.trigger(*({"n": number} for number in range(100)))]
    for execution_id in ids:
        await end_with(world, execution_id, Status.FAILED, outcome(0, a="x" * 3_800))
    assert (await world.children.ends(ids))[0].result is not None
    for execution_id in ids:
        world.executions.found[execution_id] = replace(world.executions.found[execution_id], reason="it failed " * 30)
    ends = await world.children.ends(ids)
    assert all(each.result is None for each in ends)
    assert {each.reason for each in ends} == {"it failed " * 30}


async def test_what_is_open_among_the_last_is_seen_without_a_look_at_the_others(world):
    """Each end of a thousand would look for all of them."""
    await world.define("child", overlap={"policy": "allow", "max": 100})
    ids = [each.execution_id for each in await world.trigger(*({"n": number} for number in range(100)))]
    looks = []
    states = world.executions.states

    async def counted(some):
        looks.append(len(some))
        return await states(some)

    world.executions.states = counted
    assert await world.children.ends(ids) is None
    assert looks == [32]
    looks.clear()
    for execution_id in ids[1:]:
        await world.end(execution_id)
    assert await world.children.ends(ids) is None, "the first is open"
    await world.end(ids[0])
    assert await world.children.ends(ids) is not None
    assert looks == [32, 32, 32, 4] * 2


async def test_the_end_of_the_last_child_wakes_its_parent_once(world):
    await world.define("child", overlap={"policy": "allow", "max": 2})
    ids = [each.execution_id for each in await world.trigger({"n": 1}, {"n": 2})]
    waits = ActionOutcome("start", 0, 1, AWAITING, T0, T0, output={"executionIds": ids})
    asked = admit(Admission(PARENT, "parent", 1, Cause.MANUAL, T0, 0, 1, 0, lock_key="parent"))
    world.executions.found[PARENT] = replace(asked, status=Status.WAITING, wake_at=T0, results={waits.key: waits})
    woken = []

    async def hand_out(execution):
        woken.append((execution.execution_id, execution.status, execution.attempt))

    waker = Waker(executions=world.executions, signals=FakeSignals(), hand_out=hand_out)
    parent = Parent(PARENT, "parent", "start")
    await world.end(ids[0])
    await waker.wake_parent(parent, T0)
    assert woken == []
    await world.end(ids[1])
    await waker.wake_parent(replace(parent, action_id="other"), T0)
    assert woken == [], "it waits in another action"
    for _ in range(2):
        await waker.wake_parent(parent, T0)
    assert woken == [(PARENT, Status.PENDING, 1)]


async def waiting_for(world, ids, status):
    waits = ActionOutcome("start", 0, 1, AWAITING, T0, T0, output={"executionIds": ids})
    asked = admit(Admission(PARENT, "parent", 1, Cause.MANUAL, T0, 0, 1, 0, lock_key="parent"))
    world.executions.found[PARENT] = replace(asked, status=status, results={waits.key: waits})


async def test_what_was_waited_for_ends_with_what_waited_for_it(world):
    await world.define("child", overlap={"policy": "allow", "max": 50})
    ids = [each.execution_id for each in await world.trigger(*({"n": number} for number in range(40)))]
    await world.end(ids[1])
    (other,) = await world.trigger({}, action_id="not-waited-for")
    del world.executions.found[ids[3]]
    end = world.executions.end

    async def after_its_own_end(asked):
        if asked.execution_id == ids[2]:
            await end(asked)
        return await end(asked)

    await waiting_for(world, ids, Status.WAITING)
    await world.children.cancel_awaited(PARENT)
    assert world.ended == [], "it waits still"
    await waiting_for(world, ids, Status.CANCELLED)
    world.executions.end = after_its_own_end
    await world.children.cancel_awaited(PARENT)
    cancelled = [ids[0], *ids[4:]]
    assert [each.execution_id for each in world.ended] == cancelled
    assert {each.status for each in world.ended} == {Status.CANCELLED}
    assert {each.reason for each in world.ended} == {f"execution {PARENT}, which waited for it, was ended"}
    assert world.executions.found[other.execution_id].status.is_open
    assert set(cancelled).isdisjoint(world.executions.ends_untold)
    await world.children.cancel_awaited(PARENT)
    assert len(world.ended) == len(cancelled)


@pytest.mark.parametrize("parent", ["unknown", "without a result", "past its wait"])
async def test_nothing_is_cancelled_where_nothing_was_waited_for(world, parent):
    await world.define("child")
    (child,) = await world.trigger({})
    if parent != "unknown":
        await waiting_for(world, [child.execution_id], Status.CANCELLED)
        found = world.executions.found[PARENT]
        done = outcome(0)
        results = {} if parent == "without a result" else {**found.results, done.key: done}
        world.executions.found[PARENT] = replace(found, results=results)
    await world.children.cancel_awaited(PARENT)
    assert world.ended == []


STARTS = {"type": "trigger-workflow", "actionId": "start", "workflowId": "child", "waitForEnd": "1h"}


async def starting(world, step=STARTS):
    """Have an execution of ``parent`` start a list of more than there are places for."""
    await world.define("parent", actions=[step])
    await world.define("child", overlap={"policy": "allow", "max": 35})
    world.run_parent()
    started = asyncio.ensure_future(world.trigger(*({"n": number} for number in range(50))))
    while len(world.handed_out) < 35:
        world.has_handed_out.clear()
        await world.has_handed_out.wait()
    return started


def end_parent(world, status=Status.CANCELLED, results=()):
    found = world.executions.found[PARENT]
    kept = {each.key: each for each in results}
    world.executions.found[PARENT] = replace(found, status=status, results=kept, finished_at=T0, lock_key=None)


async def stopped(started):
    started.cancel()
    with pytest.raises(asyncio.CancelledError):
        await started


async def settled():
    while others := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(others)


async def test_what_was_started_ends_with_what_was_still_starting_it(world):
    """Its runner need not live to see that."""
    await stopped(await starting(world))
    await settled()
    assert world.ended == []
    end_parent(world)
    for _ in range(2):
        await world.children.cancel_awaited(PARENT)
        assert [each.status for each in world.of_child] == [Status.CANCELLED] * 35
        assert {each.reason for each in world.ended} == {f"execution {PARENT}, which waited for it, was ended"}
        assert len(world.ended) == 35


@pytest.mark.parametrize(
    ("why", "became", "waits"),
    [
        pytest.param(Restart.TIMED_OUT, "has timed out", True, id="late, which it waited for"),
        pytest.param(Restart.TIMED_OUT, "has timed out", False, id="late, which it was starting"),
        pytest.param(Restart.GIVEN_UP, "was given up", False, id="given up, which it was starting"),
        pytest.param(Restart.CANCELLED, "was cancelled", False, id="cancelled, which it was starting"),
    ],
)
async def test_what_was_started_ends_with_the_step_at_which_its_parent_was_cut_short(world, why, became, waits):
    """The parent goes on with its handlers; whoever was at the step may see it later."""
    await stopped(await starting(world))
    await settled()
    ids = [each.execution_id for each in world.of_child]
    found = world.executions.found[PARENT]
    wait = outcome(0, AWAITING, executionIds=ids)
    cut = Restarted(T0, why, 1, 0)
    kept = {wait.key: wait} if waits else {}
    world.executions.found[PARENT] = replace(found, restarts=(cut,), results=kept)
    for _ in range(2):
        await world.children.cancel_awaited(PARENT)
        assert [each.status for each in world.of_child] == [Status.CANCELLED] * 35
        assert {each.reason for each in world.ended} == {f"execution {PARENT}, which waited for it, {became}"}
        assert len(world.ended) == 35


async def test_what_is_being_started_when_the_time_of_its_parent_is_over_ends_as_well(world):
    started = await starting(world)
    found = world.executions.found[PARENT]
    world.executions.found[PARENT] = replace(found, restarts=(Restarted(T0, Restart.TIMED_OUT, 1, 0),))
    await stopped(started)
    await settled()
    assert [each.status for each in world.of_child] == [Status.CANCELLED] * 35


async def test_so_does_what_is_being_started_when_its_runner_hears_of_that(world):
    """Somebody else has looked before it was there."""
    started = await starting(world)
    admit, go_on, is_asked = world.executions.admit, asyncio.Event(), asyncio.Event()

    async def slowly(admission):
        is_asked.set()
        await go_on.wait()
        return await admit(admission)

    world.executions.admit = slowly
    await world.end(world.of_child[0].execution_id)
    await is_asked.wait()
    end_parent(world)
    await world.children.cancel_awaited(PARENT)
    await stopped(started)
    go_on.set()
    await settled()
    assert [each.status for each in world.of_child] == [Status.CANCELLED] * 36


@pytest.mark.parametrize("word", ["its runner is stopped", "nobody waits for it", "another runner ended it", "unreadable"])
async def test_what_was_started_goes_on_where(world, word):
    step = {**STARTS}
    if word == "nobody waits for it":
        del step["waitForEnd"]
    started = await starting(world, step)
    if word == "another runner ended it":
        end_parent(world, Status.FAILED, [replace(outcome(0), status="failed", finished_at=T0)])
    elif word != "its runner is stopped":
        end_parent(world)
    if word == "unreadable":
        head = world.workflows.heads["parent"]
        document = {**head.definition, "actions": [{"type": "of-a-plug-in", "action_id": "start"}]}
        world.workflows.heads["parent"] = replace(head, definition=document)
    await stopped(started)
    await settled()
    assert world.ended == []


ORIGIN = "019ab5d0-0000-7000-8000-000000000000"
BEFORE_THAT = "019ab5d0-0000-7000-8000-00000000000f"


async def taking_up(world, *origins, takes_up=True):
    """Have the parent take up the last of ``origins``, each of which takes up the one before."""
    await world.define("parent", actions=[{**STARTS, "actionId": "start"}], **{"finally": [{**STARTS, "actionId": "last"}]})
    await world.define("child", overlap={"policy": "allow", "max": 100})
    before = None
    for execution_id in (*origins, PARENT):
        made = Admission(
            execution_id, "parent", 1, Cause.MANUAL, T0, 0, 1, 0, lock_key="parent",
            origin_id=before, takes_up=takes_up and before is not None,
        )  # fmt: skip
        world.executions.found[execution_id] = replace(admit(made), status=Status.RUNNING)
        before = execution_id


def in_the_place_of(world, execution_id):
    execution = world.executions.found[execution_id]
    takes_up = execution.origin_id if execution.takes_up else None
    world.context = replace(world.context, execution_id=execution_id, takes_up=takes_up)


async def of_origin(world, execution_id, *inputs, **more):
    in_the_place_of(world, execution_id)
    children = await world.trigger(*inputs, **more)
    in_the_place_of(world, PARENT)
    return [each.execution_id for each in children]


async def test_who_takes_up_an_execution_starts_of_its_list_only_what_has_failed(world):
    await taking_up(world, ORIGIN)
    inputs = [{"n": number} for number in range(5)]
    ok, failed, cancelled, running, other = await of_origin(world, ORIGIN, *inputs)
    await end_with(world, ok, Status.OK)
    await end_with(world, other, Status.OK)
    await end_with(world, failed, Status.FAILED)
    await world.end(cancelled)
    inputs[4] = {"n": "of another input"}
    world.handed_out.clear()
    children = await world.trigger(*inputs, {"n": "not started before"})
    ids = [each.execution_id for each in children]
    assert (ids[0], ids[3]) == (ok, running)
    assert [each.is_kept for each in children] == [True, False, False, True, False, False]
    assert [each.status for each in children] == [Status.OK, *[Status.PENDING] * 5]
    assert [each.execution_id for each in world.handed_out] == [ids[1], ids[2], ids[4], ids[5]]
    assert [each.input["n"] for each in world.handed_out] == [1, 2, "of another input", "not started before"]
    world.handed_out.clear()
    again = await world.trigger(*inputs, {"n": "not started before"})
    assert ([each.execution_id for each in again], world.handed_out) == (ids, []), "a later attempt finds them all"


async def test_what_was_kept_once_is_kept_by_whoever_takes_that_up(world):
    await taking_up(world, BEFORE_THAT, ORIGIN)
    first, second, third = await of_origin(world, BEFORE_THAT, {"n": 1}, {"n": 2}, {"n": 3})
    await end_with(world, first, Status.OK)
    for failed in (second, third):
        await end_with(world, failed, Status.FAILED)
    kept, ok, failed = await of_origin(world, ORIGIN, {"n": 1}, {"n": 2}, {"n": 3})
    assert kept == first
    await end_with(world, ok, Status.OK)
    await end_with(world, failed, Status.FAILED)
    children = await world.trigger({"n": 1}, {"n": 2}, {"n": 3})
    assert [each.execution_id for each in children[:2]] == [first, ok]
    assert children[2].execution_id not in (third, failed)


@pytest.mark.parametrize("word", ["run again", "in a handler", "another workflow", "gone"])
async def test_nothing_is_kept(world, word):
    await taking_up(world, ORIGIN, takes_up=word != "run again")
    action_id = "last" if word == "in a handler" else "start"
    (before,) = await of_origin(world, ORIGIN, {"n": 1}, action_id=action_id)
    await end_with(world, before, Status.OK)
    if word == "gone":
        del world.executions.found[ORIGIN]
    to = "child"
    if word == "another workflow":
        to = "sibling"
        await world.define(to)
    (child,) = await world.trigger({"n": 1}, action_id=action_id, to=to)
    assert (child.execution_id != before, child.is_kept) == (True, False)


async def test_what_is_kept_and_what_was_started_anew_end_with_what_is_cut_short_while_it_starts_them(world):
    """Of a list whose beginning is kept, it is not at its beginning that something was started."""
    await taking_up(world, ORIGIN)
    inputs = [{"n": number} for number in range(70)]
    before = await of_origin(world, ORIGIN, *inputs)
    for each in before[:-1]:
        await end_with(world, each, Status.OK)
    await end_with(world, before[-1], Status.FAILED)
    children = await world.trigger(*inputs, waits=True)
    assert [each.is_kept for each in children] == [True] * 69 + [False]
    end_parent(world)
    await world.children.cancel_awaited(PARENT)
    assert world.executions.found[children[-1].execution_id].status is Status.CANCELLED
