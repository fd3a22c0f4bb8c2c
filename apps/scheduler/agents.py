"""The agent: what the scheduler must hear of at once."""

from collections.abc import Awaitable, Callable
from typing import Any

import faust
import structlog
from faust.types import EventT

from apps.scheduler.backfills import Backfills
from apps.scheduler.line import Line
from apps.scheduler.metrics import Metrics
from apps.scheduler.retries import Retries
from apps.scheduler.ticks import Ticks
from domain.execution import Restart
from domain.identifiers import is_execution_id, is_workflow_id
from domain.instants import instant
from events.records import BackfillAsked, HolderEnded, WakeUp, WorkflowChanged
from events.topics import SCHEDULE, partition_of
from events.wire import Malformed

log = structlog.get_logger(__name__)


class Announcements:
    """Takes the records of ``workflow.schedule``. It does no I/O but dead letters: the agenda's entries do."""

    def __init__(
        self,
        *,
        ticks: Ticks,
        retries: Retries,
        line: Line,
        backfills: Backfills,
        dead_letter: Callable[[EventT[Any], str], Awaitable[None]],
        metrics: Metrics,
    ) -> None:
        self._ticks = ticks
        self._retries = retries
        self._line = line
        self._backfills = backfills
        self._dead_letter = dead_letter
        self._metrics = metrics

    async def take(self, event: EventT[Any]) -> None:
        """Take one record. Never raises: an exception would restart the agent and lose the event."""
        try:
            self._take(event.value)
        except ValueError as error:
            await self._refuse(event, str(error))
        except Exception:
            log.exception("record failed", topic=event.message.topic, offset=event.message.offset)
            await self._refuse(event, "the scheduler failed at it; its log says why")

    def _take(self, record: Any) -> None:
        if isinstance(record, Malformed):
            raise ValueError(record.reason)
        if not is_workflow_id(record.workflow_id):
            raise ValueError(f"workflow_id: {record.workflow_id[:200]!r} is not a workflow id")
        shard = partition_of(record.workflow_id)
        if isinstance(record, WorkflowChanged):
            self._ticks.announce(record.workflow_id, shard)
        elif isinstance(record, HolderEnded):
            self._line.announce(record.workflow_id, shard)
        elif isinstance(record, BackfillAsked):
            self._backfills.announce(record.workflow_id, shard)
        elif isinstance(record, WakeUp):
            if not is_execution_id(record.execution_id):
                raise ValueError(f"execution_id: {record.execution_id[:200]!r} is not an execution id")
            self._retries.announce(
                record.execution_id,
                record.workflow_id,
                shard,
                record.epoch,
                instant(record.wake_at),
                Restart.WOKEN if record.delay else Restart.RETRY,
            )

    async def _refuse(self, event: EventT[Any], reason: str) -> None:
        message = event.message
        self._metrics.dead_letters.inc()
        log.warning("dead letter", topic=message.topic, partition=message.partition, offset=message.offset, reason=reason)
        try:
            await self._dead_letter(event, reason)
        except Exception as error:
            log.error("dead letter not published", topic=message.topic, offset=message.offset, error=repr(error))


def install(app: faust.App, announcements: Announcements) -> None:
    """Make the agent of ``app``."""

    @app.agent(SCHEDULE.bind(app), name="announcements")
    async def announcements_agent(stream: Any) -> None:
        """Arms what is announced, at once."""
        async for event in stream.events():
            await announcements.take(event)
