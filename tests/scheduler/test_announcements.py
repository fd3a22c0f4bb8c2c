"""The agent: announcements are armed at once, and nothing escapes it."""

import asyncio
from types import SimpleNamespace

import pytest

from apps.scheduler.agents import Announcements
from domain.execution import Status
from domain.identifiers import tick_execution_id
from events.records import WakeUp, WorkflowChanged
from events.topics import SCHEDULE
from events.wire import Decoder, Malformed
from tests.scheduler.memory import START

EXECUTION = tick_execution_id("w", START)
decode = Decoder(*SCHEDULE.records)


class Letters:
    def __init__(self):
        self.sent = []
        self.error = None

    async def __call__(self, event, reason):
        if self.error:
            raise self.error
        self.sent.append((event.message.value, reason))


def event(value, raw=b"raw"):
    message = SimpleNamespace(topic=SCHEDULE.name, partition=1, offset=7, key=b"w", value=raw)
    return SimpleNamespace(value=value, message=message)


@pytest.fixture
def letters():
    return Letters()


@pytest.fixture
def announcements(scheduler, letters):
    return Announcements(
        ticks=scheduler.ticks,
        retries=scheduler.retries,
        line=scheduler.line,
        backfills=scheduler.backfills,
        dead_letter=letters,
        metrics=scheduler.metrics,
    )


async def test_a_wake_up_is_armed_at_once(world, scheduler, announcements):
    world.executions.put("w", EXECUTION, status=Status.WAITING, wake_at=START, epoch=2)
    raw = (
        f'{{"event": "wake-up", "workflow_id": "w", "execution_id": "{EXECUTION}", "epoch": 2, '
        '"wake_at": "2026-01-31T12:00:00Z"}'
    ).encode()
    await announcements.take(event(decode(raw), raw))
    await scheduler.release()
    assert world.requested == [EXECUTION]


async def test_a_changed_workflow_is_read_at_once(world, scheduler, announcements):
    world.workflows.put("w", "1s", next_run=START)
    await announcements.take(event(WorkflowChanged(workflow_id="w", version=1)))
    await scheduler.release()
    assert [e.due_at for e in world.published.requests] == [START]


@pytest.mark.parametrize(
    "value, reason",
    [
        pytest.param(decode(b"not json"), "Invalid JSON", id="no JSON"),
        pytest.param(decode(None), "no value", id="no value"),
        pytest.param(decode(b'{"event": "no-such"}'), "no-such", id="unknown kind"),
        pytest.param(WorkflowChanged(workflow_id="../w", version=1), "not a workflow id", id="bad workflow id"),
        pytest.param(
            WakeUp(workflow_id="w", execution_id="1", epoch=1, wake_at=START), "not an execution id", id="bad execution id"
        ),
        pytest.param(
            WakeUp(workflow_id="w", execution_id=EXECUTION, epoch=1, wake_at=START.replace(tzinfo=None)),
            "no time zone",
            id="local time",
        ),
    ],
)
async def test_what_is_not_understood_becomes_a_dead_letter(scheduler, announcements, letters, value, reason):
    await announcements.take(event(value))
    ((raw, told),) = letters.sent
    assert raw == b"raw"
    assert reason in told
    assert scheduler.metrics.dead_letters._value.get() == 1
    assert len(scheduler.agenda) == 0


@pytest.mark.parametrize("error", [RuntimeError("broker away"), asyncio.TimeoutError()], ids=["refused", "no answer"])
async def test_a_dead_letter_that_cannot_be_published_stops_nothing(announcements, letters, error):
    letters.error = error
    await announcements.take(event(Malformed(b"raw", "bad")))


async def test_a_defect_of_our_own_escapes_no_agent(announcements, letters, monkeypatch):
    def explode(*_):
        raise RuntimeError("boom")

    monkeypatch.setattr(announcements._ticks, "announce", explode)
    await announcements.take(event(WorkflowChanged(workflow_id="w", version=1)))
    assert len(letters.sent) == 1
