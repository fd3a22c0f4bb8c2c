"""The topics: names, key, record types, partition count, retention.

All topics share one partition count, because the Faust tables of the runner are partitioned like the topics that feed
them, and because the scheduler shares out workflows by the partition of their id.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, Final, cast

import faust
import structlog
from aiokafka.partitioner import murmur2
from aiokafka.structs import RecordMetadata
from faust.types import AppT, ProducerT

from events.records import (
    ActionResult,
    BackfillAsked,
    DeadLetter,
    Event,
    ExecutionEnded,
    ExecutionRequest,
    ExecutionSignal,
    HolderEnded,
    WakeUp,
    WorkflowChanged,
)
from events.retentions import Retentions
from events.wire import EventSchema

log = structlog.get_logger(__name__)

PARTITIONS: Final = 8
LARGEST_RECORD: Final = 3_145_728  # bytes; a dead letter holds a record of any other topic, of up to 1 MiB, in base64


class Topic(faust.Topic):
    """A topic of the contract as Faust has it, except for how a record is sent.

    Faust makes a promise, a message and a signal of each, and has it wait for a turn of the event loop lest the producer is
    started twice: more than half of what a send costs. Here nobody asks for any of that.
    """

    async def send(
        self, *, key: Any = None, value: Any = None, partition: int | None = None, **options: Any
    ) -> Awaitable[RecordMetadata]:
        """Send a record and return what waits for the broker's acknowledgement; text as a key is a workflow id."""
        producer = self.app.producer
        if options or not producer.started:
            return await super().send(key=key, value=value, partition=partition, **options)
        if partition is None and isinstance(key, str):
            partition = partition_of(key)
        raw_key, _ = self.schema.dumps_key(self.app, key, headers=None)
        raw_value, _ = self.schema.dumps_value(self.app, value, headers=None)
        name = self.get_topic_name()
        sensors: Any = self.app.sensors
        state = sensors.on_send_initiated(producer, name, None, len(raw_key or b""), len(raw_value or b""))
        sent = cast("asyncio.Future[RecordMetadata]", await producer.send(name, raw_key, raw_value, partition, None, None))
        sent.add_done_callback(partial(self._tell_sensors, producer, state))
        return sent

    def _tell_sensors(self, producer: ProducerT, state: Any, sent: "asyncio.Future[RecordMetadata]") -> None:
        if sent.cancelled():
            return
        error = sent.exception()
        if error is None:
            self.app.sensors.on_send_completed(producer, state, sent.result())
        else:
            log.warning("not acknowledged", topic=self.get_topic_name(), error=repr(error))
            self.app.sensors.on_send_error(producer, error, state)


@dataclass(frozen=True)
class TopicSpec:
    """One topic of the contract; the key is always the workflow id."""

    name: str
    records: tuple[type[Event], ...]
    purpose: str
    retention: Callable[[Retentions], timedelta] = lambda retentions: retentions.history
    is_large: bool = False  # whether its records may be larger than those of other topics
    is_timed_by_broker: bool = False  # whether records carry the instant at which they were appended

    def configuration(self, retentions: Retentions) -> Mapping[str, str]:
        """Return how the topic is set up, in Kafka's words."""
        milliseconds = self.retention(retentions) // timedelta(milliseconds=1)
        size = {"max.message.bytes": str(LARGEST_RECORD)} if self.is_large else {}
        times = {"message.timestamp.type": "LogAppendTime"} if self.is_timed_by_broker else {}
        return {"retention.ms": str(milliseconds), **size, **times}

    def bind(self, app: AppT) -> Topic:
        """Return the Faust topic of ``app``; it is created by :mod:`events.provision`, never by Faust."""
        return Topic(app, topics=(self.name,), schema=EventSchema(*self.records), partitions=PARTITIONS)


EXECUTION: Final = TopicSpec(
    "workflow.execution",
    (ExecutionRequest,),
    "Requests to run a workflow; consumed by the runners.",
    is_timed_by_broker=True,  # how a runner tells which were published promptly
)
ACTION_RESULT: Final = TopicSpec(
    "workflow.action-result",
    (ActionResult, ExecutionEnded),
    "What each action did, and ends without a result; consumed by the runners.",
)
SIGNAL: Final = TopicSpec(
    "workflow.signal",
    (ExecutionSignal,),
    "What others tell executions that wait for it; consumed by the runners.",
)
SCHEDULE: Final = TopicSpec(
    "workflow.schedule",
    (WakeUp, WorkflowChanged, HolderEnded, BackfillAsked),
    "What the scheduler must hear of at once: executions that wait, definitions that changed, places that are free, "
    "backfills.",
    retention=lambda _: timedelta(days=1),
)
DEAD_LETTER: Final = TopicSpec(
    "workflow.dead-letter",
    (DeadLetter,),
    "Records that no service could take, with the reason.",
    retention=lambda retentions: retentions.dead_letters,
    is_large=True,
)
ALL: Final = (EXECUTION, SIGNAL, ACTION_RESULT, SCHEDULE, DEAD_LETTER)

GROUP_OF_RUNNERS: Final = "runner"
GROUP_OF_SCHEDULERS: Final = "scheduler"
#: What each service consumes, under a consumer group of its name.
CONSUMED: Final[Mapping[str, tuple[TopicSpec, ...]]] = {
    GROUP_OF_RUNNERS: (EXECUTION, SIGNAL, ACTION_RESULT),
    GROUP_OF_SCHEDULERS: (SCHEDULE,),
}


@lru_cache(maxsize=100_000)
def partition_of(workflow_id: str) -> int:
    """Return the partition of a workflow id: murmur2 of the key, the default partitioner of every Kafka client."""
    return int(murmur2(workflow_id.encode()) & 0x7FFFFFFF) % PARTITIONS
