"""What the runner tells the scheduler is a courtesy: with Kafka away it must stop nothing."""

import asyncio
import gc
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from types import SimpleNamespace

import pytest
from faust.exceptions import ProducerSendError

from apps.runner import patience, places
from apps.runner.announcing import Announcer
from apps.runner.app import app
from apps.runner.places import Places
from apps.waking import Waker
from domain.execution import AWAITING, ActionFinished, ActionOutcome, Admission, Cause, Parent, Status, admit
from events.records import HolderEnded
from store.interfaces import Locked, StoreUnavailable
from tests.fakes.stores import FakeExecutions

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


class Schedule:
    """A topic of a Kafka that is away."""

    def __init__(self):
        self.asked = []

    async def send(self, *, key, value):
        self.asked.append((key, type(value).__name__))
        raise ProducerSendError("Error while sending: KafkaTimeoutError()")


def announcer(*, schedule=None, waker=None, waiting=None, spawn=None):
    queueing = SimpleNamespace(overlap=SimpleNamespace(policy="queue"))
    return Announcer(
        schedule=schedule or Schedule(),
        waker=waker,
        places=waiting or Places(),
        definitions=SimpleNamespace(cached=lambda *_: queueing),
        spawn=spawn,
    )


@pytest.mark.parametrize(("wakes_at", "told"), [(NOON + timedelta(hours=1), "WakeUp"), (None, "HolderEnded")])
async def test_what_cannot_be_announced_is_left_to_the_next_pass(wakes_at, told):
    outcome = ActionOutcome("a", 0, 1, "failed", NOON, NOON)
    status = Status.WAITING if wakes_at else Status.FAILED
    known = admit(Admission("e", "w", 1, Cause.MANUAL, NOON, 0, 1, 0))
    schedule = Schedule()
    await announcer(schedule=schedule).result(ActionFinished("e", "w", 1, 1, outcome, status, 0, wake_at=wakes_at), known)
    assert schedule.asked == [("w", told)]


async def test_what_waits_for_a_place_asks_again_when_its_runner_hears_of_an_end(monkeypatch):
    monkeypatch.setattr(places, "_FIRST_PAUSE", 3600.0)
    answers, refused = [Locked("e", Status.RUNNING), "a place"], asyncio.Event()

    async def ask():
        refused.set()
        return answers.pop(0)

    taken = Places()
    waiting = asyncio.ensure_future(taken.take("child", ask))
    await refused.wait()
    await announcer(waiting=taken).end("child", 1, None)
    assert await waiting == "a place"


PARENT, CHILD = "019ab5d0-0000-7000-8000-0000000000aa", "019ab5d0-0000-7000-8000-0000000000bb"


def ended(execution_id=CHILD):
    return ActionFinished(execution_id, "child", 1, 1, ActionOutcome("a", 0, 1, "ok", NOON, NOON), Status.OK, 0)


@pytest.fixture
def family(monkeypatch):
    """A parent that waits for a child which has ended; its ``woken`` are the ids of those that were handed out."""
    executions = FakeExecutions()
    monkeypatch.setattr(patience, "RETRY_DELAY", 0)
    waits = ActionOutcome("call", 0, 1, AWAITING, NOON, NOON, output={"executionIds": [CHILD]})
    parent = admit(Admission(PARENT, "parent", 1, Cause.MANUAL, NOON, 0, 1, 0, lock_key="parent"))
    executions.found[PARENT] = replace(parent, status=Status.WAITING, wake_at=NOON, results={waits.key: waits})
    asked = Admission(
        CHILD, "child", 1, Cause.WORKFLOW, NOON, 0, 1, 0, lock_key="c", triggered_by=Parent(PARENT, "parent", "call")
    )
    executions.found[CHILD] = replace(admit(asked), status=Status.OK)
    woken, futures = [], []

    async def hand_out(execution):
        woken.append(execution.execution_id)

    waker = Waker(executions=executions, signals=None, hand_out=hand_out)
    return SimpleNamespace(
        executions=executions,
        woken=woken,
        futures=futures,
        child=executions.found[CHILD],
        announcer=announcer(waker=waker, spawn=futures.append),
    )


@pytest.mark.parametrize("known", [True, False], ids=["begun here", "begun by another process"])
async def test_the_end_of_a_child_wakes_its_parent_whoever_has_begun_the_child(family, known):
    await family.announcer.result(ended(), family.child if known else None)
    for look in family.futures:
        await look
    assert family.woken == [PARENT]


async def test_a_parent_is_woken_when_the_database_is_back(family):
    get, away = family.executions.get, [StoreUnavailable("no answer")] * 2

    async def fail(execution_id):
        if away:
            raise away.pop()
        return await get(execution_id)

    family.executions.get = fail
    await family.announcer.result(ended(), family.child)
    await family.futures.pop()
    assert family.woken == [PARENT]


async def test_what_goes_wrong_with_a_look_ends_no_worker(family):
    async def fail(_):
        raise RuntimeError("a bug")

    family.executions.get = fail
    await family.announcer.result(ended(), family.child)
    await family.futures.pop()
    assert family.woken == []


async def test_who_is_stopped_while_he_publishes_leaves_nothing_that_complains_later():
    complaints, asked = [], asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(context["message"]))
    acknowledged = loop.create_future()

    def send(future, **_):
        asked.set()
        return asyncio.sleep(0, future)

    topic = SimpleNamespace(send=partial(send, acknowledged), get_topic_name=lambda: "results")
    publishing = asyncio.ensure_future(app.publish(topic, "w", HolderEnded(workflow_id="w")))
    await asked.wait()
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # it waits for the acknowledgement now
    publishing.cancel()
    await asyncio.wait([publishing])
    assert not acknowledged.cancelled(), "the driver sets its result when the broker answers at last"
    acknowledged.set_exception(ProducerSendError("nobody is there"))
    await asyncio.sleep(0)
    del publishing, acknowledged, topic
    gc.collect()
    assert complaints == []
