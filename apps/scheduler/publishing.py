"""Publishes what the scheduler decided, waiting for the broker's acknowledgement, but never for long.

A request that was not acknowledged in time is no loss: its execution is in the database, and the pass over unclaimed
executions publishes it anew. The record may still go out after we stopped waiting; the runner turns the older epoch away.
"""

from typing import Protocol

import structlog
from async_timeout import timeout
from faust.types import TopicT

from domain.execution import Execution
from events.folding import ended_record, request_record
from events.producer import acknowledged
from events.records import Event

log = structlog.get_logger(__name__)


class Publisher(Protocol):
    """Where decisions go."""

    async def request(self, execution: Execution) -> bool:
        """Hand a pending execution to the runners; False where the broker did not acknowledge it."""

    async def ended(self, execution: Execution) -> bool:
        """Tell of an execution that ended without a result; False where the broker did not acknowledge it."""


class KafkaPublisher:
    """Publishes to the topics of the contract."""

    def __init__(self, *, execution: TopicT, action_result: TopicT, timeout: float) -> None:
        self._execution = execution
        self._action_result = action_result
        self._timeout = timeout

    async def request(self, execution: Execution) -> bool:
        """Publish an ``ExecutionRequest``."""
        return await self._publish(self._execution, execution, request_record(execution))

    async def ended(self, execution: Execution) -> bool:
        """Publish an ``ExecutionEnded``."""
        return await self._publish(self._action_result, execution, ended_record(execution))

    async def _publish(self, topic: TopicT, execution: Execution, record: Event) -> bool:
        try:
            async with timeout(self._timeout):
                await acknowledged(await topic.send(key=execution.workflow_id, value=record))
        except Exception as error:  # of Faust, aiokafka, or the time limit: all mean that a later pass sees to it
            log.warning(
                "not published; left to a later pass",
                topic=topic.get_topic_name(),
                execution_id=execution.execution_id,
                workflow_id=execution.workflow_id,
                epoch=execution.epoch,
                error=str(error) or type(error).__name__,
            )
            return False
        return True
