"""What becomes of an event that Kafka takes, refuses, or says nothing about."""

import asyncio
from typing import Any

import pytest
from structlog.typing import EventDict

from apps.workflows import publishing
from apps.workflows.publishing import Publisher
from events.records import WorkflowChanged
from tests.workflows.fake_topic import FakeTopic

EVENT = WorkflowChanged(workflow_id="w", version=1)


@pytest.mark.parametrize(("broker", "certain"), [("well", True), ("refusing", False), ("failing", False), ("silent", False)])
async def test_whoever_waits_is_told_whether_the_broker_has_it(broker: Any, certain: bool) -> None:
    topic = FakeTopic()
    topic.broker = broker
    seconds = 0.01 if broker == "silent" else 3600
    assert await Publisher(topic, seconds)("w", EVENT) is certain  # type: ignore[arg-type]


@pytest.mark.parametrize(("broker", "complaint"), [("well", ""), ("refusing", "no broker"), ("failing", "went away")])
async def test_whoever_does_not_wait_has_a_failure_logged(logs: list[EventDict], broker: Any, complaint: str) -> None:
    topic = FakeTopic()
    topic.broker = broker
    assert await Publisher(topic, 10, waits=False)("w", EVENT) is False  # type: ignore[arg-type]
    await asyncio.sleep(0)
    assert [complaint in entry["error"] for entry in logs] == ([True] if complaint else [])


async def test_whoever_does_not_wait_is_not_held_by_a_silent_broker() -> None:
    topic = FakeTopic()
    topic.broker = "silent"
    await asyncio.wait_for(Publisher(topic, 3600, waits=False)("w", EVENT), 5)  # type: ignore[arg-type]
    assert topic.sent == [("w", EVENT)]


async def test_what_is_taken_at_once_costs_neither_a_timer_nor_a_turn_of_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "timeout", lambda _: pytest.fail("it sets a timer"))
    begun = Publisher(FakeTopic(), 3600, waits=False)("w", EVENT)  # type: ignore[arg-type]
    with pytest.raises(StopIteration):
        begun.send(None)


class FullTopic(FakeTopic):
    """Has room for a record only when there is some: aiokafka waits for it, as for its first look at the cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.room = asyncio.Event()

    async def send(self, *, key: str, value: Any) -> Any:
        await self.room.wait()
        return await super().send(key=key, value=value)


async def test_whoever_does_not_wait_for_the_broker_waits_for_room() -> None:
    topic = FullTopic()
    begun = asyncio.create_task(Publisher(topic, 3600, waits=False)("w", EVENT))  # type: ignore[arg-type]
    await asyncio.sleep(0)
    topic.room.set()
    assert await begun is False
    assert topic.sent == [("w", EVENT)]


async def test_nobody_waits_for_room_for_ever(logs: list[EventDict]) -> None:
    assert await Publisher(FullTopic(), 0.01, waits=False)("w", EVENT) is False  # type: ignore[arg-type]
    assert [entry["error"] for entry in logs] == ["no acknowledgement within 0.01 s"]
