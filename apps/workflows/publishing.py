"""Sends events, bounded in time.

Nothing that the API publishes is lost for good when Kafka is away: the scheduler re-publishes executions that nobody
picked up, and reads the definitions on its timer. So a failure here is told to the caller as False, never raised.
"""

import asyncio
from typing import Protocol

import structlog
from async_timeout import timeout
from faust.types import TopicT

from events.records import Event

log = structlog.get_logger(__name__)


class Publish(Protocol):
    """Sends one event; tells whether the broker has it for certain."""

    async def __call__(self, workflow_id: str, event: Event) -> bool: ...


class Publisher:
    """Publishes on one topic, with ``workflow_id`` as the key."""

    def __init__(self, topic: TopicT, seconds: float) -> None:
        self.topic = topic
        self.seconds = seconds

    async def __call__(self, workflow_id: str | bytes | None, event: Event | bytes) -> bool:
        try:
            async with timeout(self.seconds):
                acknowledgement = await self.topic.send(key=workflow_id, value=event)
                # Shielded: the record stays in the producer's buffer, and Faust's callback cannot take a cancelled future.
                await asyncio.shield(acknowledgement)
        except asyncio.TimeoutError:
            error = f"no acknowledgement within {self.seconds:g} s"
        except Exception as failure:
            # Whatever it was, the work is recorded, and the scheduler publishes it again.
            error = repr(failure)
        else:
            return True
        log.warning("publish_failed", topic=str(self.topic), workflow_id=str(workflow_id), error=error)
        return False
