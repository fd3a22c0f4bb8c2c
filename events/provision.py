"""Creates the topics, once; a topic that is there is left as it is."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaTimeoutError, TopicAlreadyExistsError, for_code

from events.broker import Broker
from events.topics import ALL, PARTITIONS


class WrongPartitionCount(Exception):
    """A topic has another number of partitions than this version expects; tables and shards would not line up."""

    def __init__(self, topic: str, found: int) -> None:
        super().__init__(
            f"topic {topic} has {found} partitions, expected {PARTITIONS}; "
            "delete it (open executions are published anew) or point the services to another Kafka"
        )
        self.topic = topic
        self.found = found


READY_TIMEOUT = 15.0  # seconds that a new topic may take until all its partitions have leaders

COMPACTED: Final = {
    # Replayed at each start: small segments and quick compaction keep that short.
    "cleanup.policy": "compact",
    "segment.ms": "60000",
    "segment.bytes": "1048576",
    "min.cleanable.dirty.ratio": "0.1",
}


async def ensure_topics(
    broker: Broker,
    *,
    replication_factor: int = 1,
    changelogs: Sequence[str] = (),
) -> None:
    """Create what is missing of the topics.

    ``changelogs`` are the changelog topics of the caller's Faust tables. They are made here, before any consumer asks for
    them, because Faust makes them while its consumer joins: one that is not yet in the cluster's metadata then counts as
    having no partitions, and every write to its table raises PartitionsMismatch until the next restart.

    Raises:
        WrongPartitionCount: a topic exists with another number of partitions.
        aiokafka.errors.KafkaError: the broker cannot be reached or refuses.
    """
    admin = broker.admin()
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [
            NewTopic(
                spec.name,
                num_partitions=PARTITIONS,
                replication_factor=replication_factor,
                topic_configs={"retention.ms": str(spec.retention_hours * 3_600_000)},
            )
            for spec in ALL
            if spec.name not in existing
        ] + [
            NewTopic(name, num_partitions=PARTITIONS, replication_factor=replication_factor, topic_configs=COMPACTED)
            for name in changelogs
            if name not in existing
        ]
        if missing:
            answer = await admin.create_topics(missing)
            for topic, code, *_ in answer.topic_errors:
                error = for_code(code)
                # Another service may have created it in between.
                if code and error is not TopicAlreadyExistsError:
                    raise error(f"creating topic {topic}")
        await _wait_for_leaders(admin, [*(spec.name for spec in ALL), *changelogs])
    finally:
        await admin.close()


async def _wait_for_leaders(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> None:
    deadline = time.monotonic() + READY_TIMEOUT
    while True:
        waiting = []
        for description in await admin.describe_topics(list(topics)):
            partitions = description["partitions"]
            if len(partitions) not in (0, PARTITIONS):
                raise WrongPartitionCount(description["topic"], len(partitions))
            if not partitions or any(partition["leader"] < 0 for partition in partitions):
                waiting.append(description["topic"])
        if not waiting:
            return
        if time.monotonic() > deadline:
            raise KafkaTimeoutError(f"no leader for topics {', '.join(waiting)}")
        await asyncio.sleep(0.05)
