"""Arrivals: records of topics that workflows are subscribed to, each of which starts one execution.

The execution's id derives from the workflow and the record, so one that is delivered again is found admitted. Its offset is
committed by :mod:`apps.runner.subscriptions` when it is admitted durably, or is a dead letter.

The records of a partition are taken one after the other, so that none overtakes one before it. Where the overlap policy lets
several run at once, as many of the first ones as there are places are admitted in one write, in their order: one that finds
its place taken meanwhile stops it. Under the other policies what becomes of one depends on the one before it.

Where the overlap policy gives no place, the record waits for one, and so do those behind it in its partition: nothing is
recorded as skipped, for in Kafka it is safe (:mod:`apps.runner.places`). It waits as well where this runner cannot read the
definition: that is no fault of the record.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from functools import partial
from typing import Any, Final

import structlog

from apps.admission import Opened
from apps.runner.startable import NotStartable, Startable, Starter
from apps.stored_definitions import UnreadableVersion
from domain.execution import Admission, Cause
from domain.identifiers import arrival_execution_id
from domain.inputs import BadInput
from domain.subscription import Arrival, BadRecord, Subscribed, input_of, timestamp_of
from domain.topic import Record
from store.interfaces import AlreadyAdmitted, Locked

log = structlog.get_logger(__name__)

_UNREADABLE_PAUSE: Final = 5.0  # seconds
_SETTLE_TIMEOUT: Final = 1.0
# What is admitted in one go, at most: its inputs are checked with nothing else done in between.
_TOGETHER: Final = 32
_TOGETHER_BYTES: Final = 262_144


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

    async def take(self, subscribed: Subscribed, records: Sequence[Arrival]) -> Sequence[Outcome]:
        """Start executions by the first one of some records of a partition, or by more of them at once.

        Returns what has become of as many of them, when that is durable.

        Raises:
            Unsubscribed: they are not to be started any more.
        """
        record = records[0]
        try:
            return await self._start(subscribed, records, input_of(record))
        except (BadRecord, BadInput) as error:
            await self._turn_away(record, f"workflow {subscribed.workflow_id}: {error}")
        except Unsubscribed:
            raise
        except Exception as error:  # whatever it is, it must not hold up those behind it for ever
            log.exception("record not taken", topic=record.topic, partition=record.partition, offset=record.offset)
            reason = f"workflow {subscribed.workflow_id}: {type(error).__name__}: {error}"
            await self._turn_away(record, reason)
        return [Outcome.DEAD_LETTER]

    async def settle(self) -> None:
        """Wait for a moment until what is admitted is published."""
        await self._starter.settle(_SETTLE_TIMEOUT)

    async def _start(
        self, subscribed: Subscribed, records: Sequence[Arrival], given: Mapping[str, Any]
    ) -> Sequence[Outcome]:
        async def ask() -> Sequence[Opened | AlreadyAdmitted] | Locked:
            target = await self._target(subscribed)
            complete = target.complete(given)
            # Who is stopped in between would leave it to the scheduler to publish what is admitted.
            if len(records) > 1 and target.definition.overlap.policy == "allow":
                asked_for = partial(_asked_for, target, records)
                answers = await self._starter.unbroken(self._starter.admit_side_by_side(target, asked_for))
                if answers:
                    return answers
            asked = partial(_admission, target, records[0], complete)
            answer = await self._starter.unbroken(self._starter.admit(target, asked))
            return answer if isinstance(answer, Locked) else [answer]

        answers = await self._starter.places.take(subscribed.workflow_id, ask)
        return [_outcome(answer) for answer in answers]

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


def _admission(target: Startable, record: Arrival, given: Mapping[str, Any], at: datetime) -> Admission:
    workflow_id, sent_at = target.workflow.workflow_id, timestamp_of(record)
    execution_id = arrival_execution_id(workflow_id, record.topic, record.partition, record.offset, sent_at)
    return target.admission(execution_id, Cause.EVENT, given, at, asked_at=min(sent_at, at))


def _asked_for(target: Startable, records: Sequence[Arrival], at: datetime) -> Iterator[Admission]:
    """Yield what records ask for, up to one that is wrong somehow: its turn comes when those before it are taken."""
    size = 0
    for record in records[:_TOGETHER]:
        size += len(record.value or b"")
        if size > _TOGETHER_BYTES:
            return
        try:
            yield _admission(target, record, target.complete(input_of(record)), at)
        except Exception:
            return


def _outcome(answer: Opened | AlreadyAdmitted) -> Outcome:
    return Outcome.STARTED if isinstance(answer, Opened) else Outcome.KNOWN
