"""Sends events, bounded in time.

Nothing that the API publishes is lost for good when Kafka is away: the scheduler re-publishes executions that nobody
picked up, and reads the definitions on its timer. So a failure here is told to the caller as False, never raised.

For the same reason whoever triggers a workflow, or stores one, need not wait until the broker has acknowledged the event:
what he asked for is durable before it is sent.
"""

import asyncio
from collections.abc import Awaitable
from typing import Any, Protocol, cast

import structlog
from async_timeout import timeout

from events.producer import acknowledged
from events.records import Event
from events.topics import Topic
from events.transport import resumed

log = structlog.get_logger(__name__)


class Publish(Protocol):
    """Sends one event; tells whether the broker has it for certain."""

    async def __call__(self, workflow_id: str, event: Event) -> bool: ...


class Publisher:
    """Publishes on one topic, with ``workflow_id`` as the key; ``waits`` for the broker unless told otherwise."""

    def __init__(self, topic: Topic, seconds: float, *, waits: bool = True) -> None:
        self.topic = topic
        self.seconds = seconds
        self.waits = waits

    async def __call__(self, workflow_id: str | bytes | None, event: Event | bytes) -> bool:
        try:
            if not self.waits:
                sent = asyncio.ensure_future(await self._handed_on(workflow_id, event))
                sent.add_done_callback(lambda done: self._look_at(done, workflow_id))
                return False
            async with timeout(self.seconds):
                await acknowledged(await self.topic.send(key=workflow_id, value=event))
        except asyncio.TimeoutError:
            self._failed(workflow_id, f"no acknowledgement within {self.seconds:g} s")
        except Exception as failure:
            # Whatever it was, the work is recorded, and the scheduler publishes it again.
            self._failed(workflow_id, repr(failure))
        else:
            return True
        return False

    async def _handed_on(self, workflow_id: str | bytes | None, event: Event | bytes) -> Awaitable[Any]:
        """Hand an event to the producer; it hardly ever has to wait, and a timer for each costs as much as the rest."""
        sending = self.topic.send(key=workflow_id, value=event)
        try:
            waits_for = sending.send(None)
        except StopIteration as end:
            return cast("Awaitable[Any]", end.value)
        async with timeout(self.seconds):
            return cast("Awaitable[Any]", await resumed(sending, waits_for))

    def _look_at(self, acknowledgement: "asyncio.Future[Any]", workflow_id: str | bytes | None) -> None:
        if not acknowledgement.cancelled() and (failure := acknowledgement.exception()) is not None:
            self._failed(workflow_id, repr(failure))

    def _failed(self, workflow_id: str | bytes | None, error: str) -> None:
        log.warning("not published", topic=str(self.topic), workflow_id=str(workflow_id), error=error)
