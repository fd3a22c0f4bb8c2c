"""Arrivals: records of topics that workflows are subscribed to, each of which starts one execution.

The execution's id derives from the workflow and the record, so one that is delivered again is found admitted. Its offset is
committed by :mod:`apps.runner.subscriptions` when it is admitted durably, or is a dead letter.

Where the overlap policy gives no place, the record waits for one, and so do those behind it in its partition: nothing is
recorded as skipped, for in Kafka it is safe. So it is where this runner cannot read the definition: that is no fault of the
record.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum
from functools import partial
from typing import Any, Final

import structlog

from apps.admission import Opened
from apps.runner.attempts import now
from apps.runner.startable import NotStartable, Startable, Starter
from apps.stored_definitions import UnreadableVersion
from domain.execution import Cause
from domain.identifiers import arrival_execution_id
from domain.inputs import BadInput
from domain.subscription import Arrival, BadRecord, Subscribed, input_of, timestamp_of
from domain.topic import Record
from store.interfaces import Locked

log = structlog.get_logger(__name__)

# Seconds until a busy workflow is asked for a place again: at first, and at most.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0
_UNREADABLE_PAUSE: Final = 5.0
_SETTLE_TIMEOUT: Final = 1.0


class Unsubscribed(Exception):
    """The workflow is not subscribed to the topic any more, or anew."""


class Outcome(str, Enum):
    """What has become of a record."""

    STARTED = "started"
    KNOWN = "known"  # it was delivered again: what it starts had been admitted before
    DEAD_LETTER = "dead-letter"


class Arrivals:
    """Starts executions by records."""

    def __init__(self, starter: Starter, *, turn_away: Callable[[Record, str], Awaitable[None]]) -> None:
        """Prepare; ``turn_away`` publishes a record as a dead letter."""
        self._starter = starter
        self._turn_away = turn_away

    async def take(self, subscribed: Subscribed, record: Arrival) -> Outcome:
        """Start an execution by a record; returns what has become of it when that is durable.

        Raises:
            Unsubscribed: it is not to be started any more.
        """
        try:
            return await self._start(subscribed, record, input_of(record))
        except (BadRecord, BadInput) as error:
            await self._turn_away(record, f"workflow {subscribed.workflow_id}: {error}")
        except Unsubscribed:
            raise
        except Exception as error:  # whatever it is, it must not hold up those behind it for ever
            log.exception("record not taken", topic=record.topic, partition=record.partition, offset=record.offset)
            reason = f"workflow {subscribed.workflow_id}: {type(error).__name__}: {error}"
            await self._turn_away(record, reason)
        return Outcome.DEAD_LETTER

    async def settle(self) -> None:
        """Wait for a moment until what is admitted is published."""
        await self._starter.settle(_SETTLE_TIMEOUT)

    async def _start(self, subscribed: Subscribed, record: Arrival, given: Mapping[str, Any]) -> Outcome:
        execution_id = arrival_execution_id(
            subscribed.workflow_id, record.topic, record.partition, record.offset, timestamp_of(record)
        )
        pause = _FIRST_PAUSE
        while True:
            target = await self._target(subscribed)
            target.check(given)
            asked_at = min(timestamp_of(record), now())
            asked = partial(target.admission, execution_id, Cause.EVENT, given, asked_at=asked_at)
            # Who is stopped in between would leave it to the scheduler to publish what is admitted.
            answer = await self._starter.admit_unbroken(target, asked)
            if not isinstance(answer, Locked):
                return Outcome.STARTED if isinstance(answer, Opened) else Outcome.KNOWN
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _target(self, subscribed: Subscribed) -> Startable:
        while True:
            try:
                target = await self._starter.find(subscribed.workflow_id)
            except NotStartable as error:
                raise Unsubscribed(str(error)) from None
            except UnreadableVersion as error:
                log.warning("records wait for a runner that can read their workflow", error=str(error))
                await asyncio.sleep(_UNREADABLE_PAUSE)
                continue
            if target.workflow.subscribed != subscribed:
                raise Unsubscribed(f"workflow {subscribed.workflow_id} has another subscription by now")
            return target
