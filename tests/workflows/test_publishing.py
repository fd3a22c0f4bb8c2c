"""What becomes of an event that Kafka takes, refuses, or says nothing about."""

import asyncio
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from apps.workflows import publishing
from apps.workflows.publishing import Publisher
from events.records import WorkflowChanged
from tests.workflows.fake_topic import FakeTopic

EVENT = WorkflowChanged(workflow_id="w", version=1)


@pytest.mark.parametrize(("broker", "certain"), [("well", True), ("refusing", False), ("failing", False), ("silent", False)])
async def test_whoever_waits_is_told_whether_the_broker_has_it(broker: Any, certain: bool) -> None:
    topic = FakeTopic()
    topic.broker = broker
    assert await Publisher(topic, 0.01)("w", EVENT) is certain  # type: ignore[arg-type]


@pytest.mark.parametrize(("broker", "complaint"), [("well", ""), ("refusing", "no broker"), ("failing", "went away")])
async def test_whoever_does_not_wait_has_a_failure_logged(broker: Any, complaint: str, monkeypatch: Any) -> None:
    topic = FakeTopic()
    topic.broker = broker
    # The logger itself: one that has been used before, as it was set up then, tells nobody who listens to structlog.
    logger = CapturingLogger()
    monkeypatch.setattr(publishing, "log", logger)
    assert await Publisher(topic, 10, waits=False)("w", EVENT) is False  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert [complaint in call.kwargs["error"] for call in logger.calls] == ([True] if complaint else [])


async def test_whoever_does_not_wait_is_not_held_by_a_silent_broker() -> None:
    topic = FakeTopic()
    topic.broker = "silent"
    await asyncio.wait_for(Publisher(topic, 3600, waits=False)("w", EVENT), 5)  # type: ignore[arg-type]
    assert topic.sent == [("w", EVENT)]
