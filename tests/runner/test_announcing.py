"""What the runner tells the scheduler is a courtesy: with Kafka away it must stop nothing."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
from faust.exceptions import ProducerSendError

from apps.runner.app import app
from domain.execution import ActionFinished, ActionOutcome, Status

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


class Schedule:
    """A topic of a Kafka that is away."""

    def __init__(self):
        self.asked = []

    async def send(self, *, key, value):
        self.asked.append((key, type(value).__name__))
        raise ProducerSendError("Error while sending: KafkaTimeoutError()")


@pytest.fixture
def schedule(monkeypatch):
    schedule = Schedule()
    monkeypatch.setattr(app, "event_topics", replace(app.event_topics, schedule=schedule))
    queueing = SimpleNamespace(overlap=SimpleNamespace(policy="queue"))
    monkeypatch.setattr(app.definitions, "cached", lambda *_: queueing)
    return schedule


@pytest.mark.parametrize(("wakes_at", "told"), [(NOON + timedelta(hours=1), "WakeUp"), (None, "HolderEnded")])
async def test_what_cannot_be_announced_is_left_to_the_next_pass(schedule, wakes_at, told):
    outcome = ActionOutcome("a", 0, 1, "failed", NOON, NOON)
    status = Status.WAITING if wakes_at else Status.FAILED
    await app._announce(ActionFinished("e", "w", 1, 1, outcome, status, 0, wake_at=wakes_at), None)
    assert schedule.asked == [("w", told)]
