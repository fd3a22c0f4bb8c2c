"""Records of topics that workflows are subscribed to, with the stores replaced by fakes."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from actions.registry import WorkflowDefinition
from apps.runner import arrivals, places
from apps.runner.arrivals import Arrivals, Outcome, Unsubscribed
from apps.runner.definitions import Definitions
from apps.runner.startable import Starter
from domain.execution import Cause, Ended, Status
from domain.identifiers import arrival_execution_id
from store.interfaces import StoreUnavailable, Workflow
from tests.domain.test_subscription import Given
from tests.fakes.stores import FakeExecutions, FakeWorkflows

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)


class World:
    """A runner, and a workflow that is subscribed."""

    def __init__(self) -> None:
        self.executions = FakeExecutions()
        self.workflows = FakeWorkflows()
        self.handed_out = []
        self.ended = []
        self.letters = []
        self.arrivals = Arrivals(
            Starter(
                executions=self.executions,
                workflows=self.workflows,
                definitions=Definitions(self.workflows),
                hand_out=self.hand_out,
                tell_ended=self.tell_ended,
            ),
            turn_away=self.turn_away,
        )

    async def hand_out(self, *executions):
        self.handed_out += executions

    async def tell_ended(self, execution):
        self.ended.append(execution)

    async def turn_away(self, record, reason):
        self.letters.append((record.offset, reason))

    async def define(self, workflow_id="w", *, since=T0, version=1, **more: Any):
        body = {
            "workflowId": workflow_id,
            "trigger": {"type": "manual"},
            "kafka": {"topic": "orders"},
            "actions": [{"type": "log", "message": "x"}],
            **more,
        }
        workflow = Workflow(
            workflow_id=workflow_id,
            version=version,
            definition=WorkflowDefinition.model_validate(body).to_document(),
            total_actions=1,
            shard=0,
            created_at=T0,
            updated_at=T0,
            anchor=T0,
            subscribed_at=since,
        )
        await (self.workflows.create(workflow) if version == 1 else self.workflows.replace(workflow))
        return workflow.subscribed

    def end(self, execution):
        return self.executions.end(Ended(execution.execution_id, "w", Status.CANCELLED, "over", T0))


@pytest.fixture
def world():
    return World()


@pytest.fixture
def asked_again(monkeypatch):
    """Wait for nothing, and tell when something is waited for."""
    event = asyncio.Event()
    proper = asyncio.sleep

    async def sleep(_):
        event.set()
        await proper(0)

    monkeypatch.setattr(arrivals.asyncio, "sleep", sleep)
    return event


def take(world, subscribed, *records):
    return world.arrivals.take(subscribed, records)


async def test_a_record_is_admitted_as_an_event_and_published(world):
    subscribed = await world.define(timeout="1h", retries=2)
    await take(world, subscribed, Given(b'{"order": 17}', timestamp=1_767_225_601_000))
    (found,) = world.handed_out
    assert found == world.executions.found[found.execution_id]
    at = T0 + timedelta(seconds=1)
    assert found.execution_id == arrival_execution_id("w", "orders", 3, 17, at)
    assert (found.cause, found.created_at, found.retries_left, found.lock_key) == (Cause.EVENT, at, 2, "w")
    assert found.requested_at > at
    assert found.input["value"] == {"order": 17}


async def test_what_a_record_leaves_out_is_so_by_default(world):
    schema = {"properties": {"value": {"properties": {"region": {"default": "eu"}}}}}
    subscribed = await world.define(inputSchema=schema, overlap="allow", reference="{{ input.value.region }}")
    await take(world, subscribed, *(Given(b"{}", offset=offset) for offset in range(2)))
    assert [(each.input["value"], each.reference) for each in world.handed_out] == [({"region": "eu"}, "eu")] * 2


async def test_a_record_of_the_future_is_asked_for_now(world):
    await take(world, await world.define(), Given(timestamp=7_000_000_000_000))
    (found,) = world.handed_out
    assert found.created_at == found.requested_at


async def test_one_that_is_delivered_again_starts_nothing_and_each_workflow_has_its_own(world):
    first, second = await world.define("w"), await world.define("x")
    outcomes = [await take(world, subscribed, Given(b"1")) for subscribed in (first, first, second)]
    assert outcomes == [[Outcome.STARTED], [Outcome.KNOWN], [Outcome.STARTED]]
    assert [each.workflow_id for each in world.handed_out] == ["w", "x"]
    await world.end(world.handed_out[0])
    await take(world, first, Given(b"1"))
    assert len(world.handed_out) == 2


@pytest.mark.parametrize("is_heard", [True, False])
@pytest.mark.parametrize("overlap", ["skip", {"policy": "allow", "max": 1}, {"policy": "queue", "max": 1}])
async def test_where_there_is_no_place_it_waits_and_nothing_is_skipped(world, refused, monkeypatch, overlap, is_heard):
    monkeypatch.setattr(places, "_FIRST_PAUSE", 3600.0 if is_heard else 0.0)
    subscribed = await world.define(overlap=overlap)
    started = 2 if overlap == {"policy": "queue", "max": 1} else 1
    for offset in range(started):
        await take(world, subscribed, Given(offset=offset))
    waiting = asyncio.ensure_future(take(world, subscribed, Given(offset=7)))
    await refused.wait()
    assert len(world.executions.found) == started
    for found in list(world.executions.found.values()):
        await world.end(found)
    if is_heard:
        world.arrivals._starter.places.hear_of_end("w")
    await waiting
    assert len(world.executions.found) == started + 1
    assert {each.status for each in world.executions.found.values()} == {Status.CANCELLED, Status.PENDING}


def offsets(world):
    return [each.input["offset"] for each in world.handed_out]


async def test_where_several_may_run_those_that_have_a_place_are_started_in_one_go(world):
    subscribed = await world.define(overlap={"policy": "allow", "max": 4})
    records = [Given(offset=offset) for offset in range(6)]
    assert await take(world, subscribed, *records) == [Outcome.STARTED] * 4
    assert offsets(world) == [0, 1, 2, 3]
    await world.end(world.handed_out[1])
    assert await take(world, subscribed, *records[4:]) == [Outcome.STARTED]
    assert offsets(world) == [0, 1, 2, 3, 4]


async def test_one_that_is_wrong_is_a_dead_letter_in_its_turn_and_those_behind_it_follow(world):
    subscribed = await world.define(overlap="allow", inputSchema={"properties": {"value": {"type": "integer"}}})
    records = [Given(b"1", offset=0), Given(b'"x"', offset=1), Given(b"2", offset=2), Given(b"3", offset=3)]
    assert await take(world, subscribed, *records) == [Outcome.STARTED]
    assert world.letters == []
    assert await take(world, subscribed, *records[1:]) == [Outcome.DEAD_LETTER]
    assert await take(world, subscribed, *records[2:]) == [Outcome.STARTED] * 2
    assert offsets(world) == [0, 2, 3]


async def test_large_ones_are_started_in_smaller_numbers(world):
    subscribed = await world.define(overlap="allow")
    records = [Given(b"x" * 100_000, offset=offset) for offset in range(4)]
    assert await take(world, subscribed, *records) == [Outcome.STARTED] * 2


async def test_those_that_are_delivered_again_with_others_start_nothing(world):
    subscribed = await world.define(overlap="allow")
    records = [Given(offset=offset) for offset in range(4)]
    await take(world, subscribed, *records[:2])
    assert await take(world, subscribed, *records) == [Outcome.KNOWN] * 2 + [Outcome.STARTED] * 2
    assert offsets(world) == [0, 1, 2, 3]


async def test_none_is_started_before_one_whose_place_somebody_else_was_faster_at(world):
    subscribed = await world.define(overlap={"policy": "allow", "max": 3})
    proper, target = world.executions.holders, await world.arrivals._starter.find("w")

    async def holders(places):
        found, world.executions.holders = await proper(places), proper
        rival = replace(target.admission("rival", Cause.MANUAL, {}, T0), lock_key=places[1])
        await world.executions.admit(rival)
        return found

    world.executions.holders = holders
    records = [Given(offset=offset) for offset in range(3)]
    assert await take(world, subscribed, *records) == [Outcome.STARTED]
    assert offsets(world) == [0]
    assert await take(world, subscribed, *records[1:]) == [Outcome.STARTED]
    assert offsets(world) == [0, 1]


@pytest.mark.parametrize("overlap", ["skip", {"policy": "queue", "max": 5}, "cancel-running"])
async def test_under_every_other_policy_they_are_started_one_by_one(world, overlap):
    subscribed = await world.define(overlap=overlap)
    assert await take(world, subscribed, Given(offset=0), Given(offset=1)) == [Outcome.STARTED]
    assert offsets(world) == [0]


async def test_what_the_workflow_does_not_take_is_a_dead_letter(world):
    subscribed = await world.define(inputSchema={"properties": {"value": {"type": "object"}}})
    assert await take(world, subscribed, Given(b"1")) == [Outcome.DEAD_LETTER]
    assert await take(world, subscribed, Given(b'{"a": 1, "a": 2}', offset=18)) == [Outcome.DEAD_LETTER]
    assert world.letters == [
        (17, 'workflow w: input.value: 1 is not of type "object"'),
        (18, "workflow w: value: a is given twice in one object; keep one of them"),
    ]
    assert world.executions.found == {}


async def test_what_nobody_foresaw_is_a_dead_letter_as_well(world):
    subscribed = await world.define()

    async def fail(_):
        raise KeyError("a")

    world.executions.admit = fail
    await take(world, subscribed, Given(b"1"))
    assert world.letters == [(17, "workflow w: KeyError: 'a'")]


async def test_while_the_store_is_away_it_waits(world, monkeypatch):
    subscribed = await world.define()
    monkeypatch.setattr("apps.runner.patience.RETRY_DELAY", 0)
    proper = world.workflows.get

    async def away(_):
        world.workflows.get = proper
        raise StoreUnavailable("gone")

    world.workflows.get = away
    await take(world, subscribed, Given(b"1"))
    assert len(world.handed_out) == 1
    assert world.letters == []


async def test_while_this_runner_cannot_read_the_definition_it_waits(world, asked_again, logs):
    subscribed = await world.define()
    head = world.workflows.heads["w"]
    world.workflows.heads["w"] = replace(head, definition={**head.definition, "actions": [{"type": "from-a-plug-in"}]})
    waiting = asyncio.ensure_future(take(world, subscribed, Given(b"1")))
    await asked_again.wait()
    world.workflows.heads["w"] = head
    await waiting
    assert len(world.handed_out) == 1
    assert logs[0]["event"] == "records wait for a runner that can read their workflow"


@pytest.mark.parametrize("change", ["archived", "another topic", "anew", "none"])
async def test_one_that_comes_when_the_subscription_is_over_starts_nothing(world, change):
    subscribed = await world.define()
    if change == "archived":
        await world.workflows.archive(world.workflows.heads["w"], T0)
    else:
        kafka = None if change == "none" else {"topic": "others" if change == "another topic" else "orders"}
        await world.define(version=2, kafka=kafka, since=None if kafka is None else T0 + timedelta(seconds=1))
    with pytest.raises(Unsubscribed):
        await take(world, subscribed, Given(b"1"))
    assert world.executions.found == {}
    assert world.letters == []


async def test_another_version_with_the_same_subscription_is_what_is_started(world):
    subscribed = await world.define()
    await world.define(version=2)
    await take(world, subscribed, Given(b"1"))
    assert world.handed_out[0].version == 2


async def test_what_is_admitted_when_it_is_stopped_is_published_all_the_same(world):
    subscribed = await world.define()
    proper, admitted, go_on = world.executions.admit, asyncio.Event(), asyncio.Event()

    async def admit(admission):
        answer = await proper(admission)
        admitted.set()
        await go_on.wait()
        return answer

    world.executions.admit = admit
    taking = asyncio.ensure_future(take(world, subscribed, Given(b"1")))
    await admitted.wait()
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    go_on.set()
    await world.arrivals.settle()
    assert len(world.handed_out) == 1
