"""Reads both topics from the beginning to where they ended when asked."""

from collections.abc import Callable, Iterable
from datetime import datetime

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from apps.projection.scratch import Row, Scratch
from domain.instants import from_millis
from events.broker import Broker
from events.records import Event
from events.topics import ACTION_RESULT, EXECUTION, PARTITIONS, partition_of
from events.wire import Decoder, Malformed

TOPICS = (EXECUTION, ACTION_RESULT)
_DECODERS = tuple(Decoder(*spec.records) for spec in TOPICS)
_BATCH = 2000
_FETCH_BYTES = 512 * 1024  # per partition: sixteen of them are read at once

Advance = Callable[[int], None]


class LogUnreachable(Exception):
    """Kafka lacks the topics."""


class Log:
    """The two topics, read once and then again from where the first reading ended."""

    def __init__(self, consumer: AIOKafkaConsumer, *, workflow_id: str | None = None) -> None:
        self._consumer = consumer
        self._workflow_id = workflow_id
        numbers = range(PARTITIONS) if workflow_id is None else [partition_of(workflow_id)]
        self._partitions = [TopicPartition(spec.name, number) for spec in TOPICS for number in numbers]
        self._next: dict[TopicPartition, int] = {}
        self._begins: dict[TopicPartition, datetime] = {}

    @classmethod
    def consumer(cls, broker: Broker) -> AIOKafkaConsumer:
        """Return a consumer that reads as this class needs it; the caller starts and stops it."""
        return broker.consumer(auto_offset_reset="earliest", max_partition_fetch_bytes=_FETCH_BYTES, check_crcs=False)

    async def assign(self) -> None:
        """Take the partitions.

        Raises:
            LogUnreachable: a topic does not exist there.
        """
        missing = {spec.name for spec in TOPICS} - await self._consumer.topics()
        if missing:
            raise LogUnreachable(f"Kafka has no topic {' and no topic '.join(sorted(missing))}; start the services once")
        self._consumer.assign(self._partitions)

    async def read(self, scratch: Scratch, *, total: Callable[[int], None], advance: Advance) -> int:
        """Put the records up to the present ends into ``scratch`` and return how many were read.

        ``total`` is told how many there are, ``advance`` how many more are done.
        """
        ends = await self._consumer.end_offsets(self._partitions)
        if not self._next:
            self._next = await self._consumer.beginning_offsets(self._partitions)
        left = {tp for tp in self._partitions if self._next[tp] < ends[tp]}
        total(sum(ends[tp] - self._next[tp] for tp in left))
        self._consumer.pause(*(tp for tp in self._partitions if tp not in left))
        self._consumer.resume(*left)
        for tp in left:
            self._consumer.seek(tp, self._next[tp])
        read = 0
        while left:
            fetched = await self._consumer.getmany(*left, timeout_ms=1000, max_records=_BATCH)
            for tp in list(left):
                messages = [message for message in fetched.get(tp, ()) if message.offset < ends[tp]]
                if messages:
                    self._begins.setdefault(tp, from_millis(messages[0].timestamp))
                    rows = [self._row(tp.topic, message, scratch) for message in messages]
                    scratch.add([row for row in rows if row is not None])
                    read += len(messages)
                # The position also passes what holds no record, such as the markers of transactions.
                position = min(await self._consumer.position(tp), ends[tp])
                advance(position - self._next[tp])
                self._next[tp] = position
                if position >= ends[tp]:
                    left.discard(tp)
                    self._consumer.pause(tp)
        return read

    def begin(self, shard: int) -> datetime | None:
        """Return since when the log is whole for a partition; None where it is empty."""
        found = [self._begins[tp] for tp in self._partitions if tp.partition == shard and tp in self._begins]
        return max(found, default=None)

    def _row(self, topic: str, message: object, scratch: Scratch) -> Row | None:
        value: bytes | None = message.value  # type: ignore[attr-defined]
        try:
            record = orjson.loads(value or b"null")
            execution_id = record["execution_id"]
            if not isinstance(execution_id, str) or (topic == EXECUTION.name and record.get("epoch", 0) < 1):
                return None
            if self._workflow_id is not None and record["workflow_id"] != self._workflow_id:
                return None
            scratch.refers = scratch.refers or bool(record.get("carried"))
        except (ValueError, TypeError, KeyError):
            return None  # no service could take it either: it was dead-lettered, or asks for an execution to come
        number = 0 if topic == EXECUTION.name else 1
        return execution_id, number, message.offset, value or b""  # type: ignore[attr-defined]


def decode(values: Iterable[tuple[int, bytes]]) -> list[Event]:
    """Return the records among ``values`` that a service would have taken."""
    return [record for topic, value in values if not isinstance(record := _DECODERS[topic](value), Malformed)]
