"""Creates the topics that are missing, and brings the settings of those that are there in line."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Final

import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaTimeoutError, TopicAlreadyExistsError, for_code

from events.broker import Broker, close
from events.retentions import Retentions
from events.topics import ALL, PARTITIONS

log = structlog.get_logger(__name__)


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

_SET_ON_THE_TOPIC: Final = 1  # where a value comes from, in Kafka's protocol

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
    retentions: Retentions | None = None,
) -> None:
    """Create what is missing of the topics. ``retentions`` count for topics that are there as well.

    ``changelogs`` are the changelog topics of the caller's Faust tables. They are made here, before any consumer asks for
    them, because Faust makes them while its consumer joins: one that is not yet in the cluster's metadata then counts as
    having no partitions, and every write to its table raises PartitionsMismatch until the next restart.

    Raises:
        WrongPartitionCount: a topic exists with another number of partitions.
        aiokafka.errors.KafkaError: the broker cannot be reached or refuses.
    """
    retentions = retentions or Retentions()
    admin = broker.admin()
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [
            NewTopic(
                spec.name,
                num_partitions=PARTITIONS,
                replication_factor=replication_factor,
                topic_configs=dict(spec.configuration(retentions)),
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
        await _configure(admin, {spec.name: spec.configuration(retentions) for spec in ALL if spec.name in existing})
    finally:
        await close(admin)


async def _configure(admin: AIOKafkaAdminClient, wanted: Mapping[str, Mapping[str, str]]) -> None:
    """Change the settings of topics where they are others. Who may not do that is told, and goes on."""
    if not wanted:
        return
    answers = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name) for name in wanted])
    changes = []
    for code, message, _, topic, entries in (resource for answer in answers for resource in answer.resources):
        if code:
            log.warning("topic settings not read", topic=topic, error=message or for_code(code).__name__)
            continue
        found = {name: value for name, value, *_ in entries}
        if any(found.get(name) != value for name, value in wanted[topic].items()):
            # The request replaces everything that is set on the topic: what somebody else has set stays in it.
            kept = {name: value for name, value, _, source, *_ in entries if source == _SET_ON_THE_TOPIC}
            log.info("topic settings change", topic=topic, settings=dict(wanted[topic]))
            changes.append(ConfigResource(ConfigResourceType.TOPIC, topic, configs={**kept, **wanted[topic]}))
    answers = await admin.alter_configs(changes) if changes else []
    for answer in answers:
        for code, message, _, topic in answer.resources:
            if code:
                log.warning("topic settings not changed", topic=topic, error=message or for_code(code).__name__)


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
