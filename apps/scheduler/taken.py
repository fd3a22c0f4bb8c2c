"""Until when runners have taken what was requested: tells a request that got lost from one that waits its turn.

A pending execution that is older than usual may be one whose request was never published, or got lost; or its request waits
in Kafka, behind others. Only the first is to be published anew: repeated requests would make a backlog grow by itself.

So every second the ends of the partitions of ``workflow.execution`` are noted. A request that was published promptly lies
below the end that is noted a while after it was made. Once the runners have acknowledged everything up to there, it was
taken, or it is not in Kafka; and what they acknowledge is recorded (see :mod:`apps.runner.unrecorded`), so whoever is
pending still has been lost. A request that was not published promptly is claimed in the database by whoever takes it (see
:mod:`apps.runner.intake`), so that it does no harm if it turns up later.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from mode import Service

from apps.scheduler.clock import Clock
from events.broker import Broker, Inquiries
from events.topics import EXECUTION, GROUP_OF_RUNNERS, PARTITIONS

log = structlog.get_logger(__name__)

_ASK_TIMEOUT = 5.0  # seconds


class LogUnavailable(Exception):
    """Kafka does not tell."""


@dataclass(frozen=True)
class Reach:
    """One partition of the requests."""

    end: int  # offset of the next record to be published
    acknowledged: int  # offset of the first record that the runners have not acknowledged


class RequestLog(Protocol):
    """The requests in Kafka."""

    async def reaches(self) -> Mapping[int, Reach]:
        """Return the reach of each partition.

        Raises:
            LogUnavailable: it cannot be told.
        """


class KafkaRequestLog(Service):
    """Asks Kafka, on connections that are kept."""

    def __init__(self, broker: Broker, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._inquiries = Inquiries(broker)
        self._partitions = [TopicPartition(EXECUTION.name, number) for number in range(PARTITIONS)]
        self._acknowledged: dict[TopicPartition, int] = {}

    async def reaches(self) -> Mapping[int, Reach]:
        """See :class:`RequestLog`."""
        try:
            return await asyncio.wait_for(self._inquiries.ask(self._find), _ASK_TIMEOUT)
        except (KafkaError, OSError, asyncio.TimeoutError) as error:
            raise LogUnavailable(str(error) or type(error).__name__) from error

    async def _find(self, admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> Mapping[int, Reach]:
        ends = await consumer.end_offsets(self._partitions)
        # What was acknowledged to its end is, as long as nothing is added: a log at rest is half as dear to look at.
        moved = [each for each in self._partitions if self._acknowledged.get(each) != ends[each]]
        if moved:
            found = await admin.list_consumer_group_offsets(GROUP_OF_RUNNERS, partitions=moved)
            self._acknowledged |= {each: max(0, found[each].offset) if each in found else 0 for each in moved}
        return {each.partition: Reach(ends[each], self._acknowledged[each]) for each in self._partitions}

    async def on_stop(self) -> None:
        await self._inquiries.close()


@dataclass(frozen=True)
class _Mark:
    at: datetime  # by our clock
    end: int


class Taken:
    """Compares how far the requests go with how far the runners are."""

    def __init__(self, requests: RequestLog, *, clock: Clock, republish_after: float) -> None:
        """Prepare; what waits for longer than ``republish_after`` seconds may be lost."""
        self._requests = requests
        self._clock = clock
        # A fifth longer than a request may take to Kafka and still count as published promptly: clocks differ a little.
        self._published_within = timedelta(seconds=republish_after * 0.6)
        self._ends: dict[int, int] = {}
        self._ahead: dict[int, deque[_Mark]] = {}  # not acknowledged yet
        self._until: dict[int, datetime] = {}

    @property
    def until(self) -> Mapping[int, datetime]:
        """For each shard, until which instant nothing waits for a runner any more; shards not known are missing."""
        return self._until

    @property
    def resting_at(self) -> Mapping[int, int] | None:
        """How far the requests of each shard go, where runners have taken all of them; None where they have not."""
        return None if any(self._ahead.values()) else dict(self._ends)

    async def look(self) -> None:
        """Look how far the requests go, and how far the runners are; to be called every second or so.

        Raises:
            LogUnavailable: Kafka does not tell.
        """
        at = self._clock()
        reaches = await self._requests.reaches()
        for shard, reach in reaches.items():
            ahead = self._ahead.setdefault(shard, deque())
            if reach.end < self._ends.get(shard, 0):
                ahead.clear()  # it is another log, or an older state of it
            self._ends[shard] = reach.end
            if ahead and ahead[-1].end == reach.end:
                ahead.pop()
            ahead.append(_Mark(at, reach.end))
            while ahead and ahead[0].end <= reach.acknowledged:
                self._until[shard] = ahead.popleft().at - self._published_within
