"""What Kafka knows of the services: who consumes, how far behind, and how many records nobody could take."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from events.broker import Broker, Inquiries
from events.topics import CONSUMED, DEAD_LETTER, PARTITIONS


@dataclass(frozen=True)
class GroupState:
    """One consumer group."""

    state: str  # as Kafka says it: Stable, PreparingRebalance, Empty, …
    members: Sequence[dict[str, str]]
    lag: dict[str, int] = field(default_factory=dict)  # by topic: records that are not acknowledged yet


@dataclass(frozen=True)
class KafkaState:
    """What was found."""

    groups: dict[str, GroupState]
    dead_letters: int


async def look(broker: Broker) -> KafkaState:
    """Ask Kafka.

    Raises:
        aiokafka.errors.KafkaError: it cannot be reached or refuses.
    """
    inquiries = Inquiries(broker)
    try:
        return await inquiries.ask(_look)
    finally:
        await inquiries.close()


async def _look(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer) -> KafkaState:
    groups = {name: await _group(admin, consumer, name) for name in CONSUMED}
    letters = [TopicPartition(DEAD_LETTER.name, number) for number in range(PARTITIONS)]
    first, last = await asyncio.gather(consumer.beginning_offsets(letters), consumer.end_offsets(letters))
    return KafkaState(groups, sum(last[each] - first[each] for each in letters))


async def _group(admin: AIOKafkaAdminClient, consumer: AIOKafkaConsumer, name: str) -> GroupState:
    described = await admin.describe_consumer_groups([name])
    _, _, state, _, _, members, *_ = described[0].groups[0]
    committed = await admin.list_consumer_group_offsets(name)
    lag: dict[str, int] = {}
    for spec in CONSUMED[name]:
        partitions = [TopicPartition(spec.name, number) for number in range(PARTITIONS)]
        first, last = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
        lag[spec.name] = sum(
            # What expired before it was read cannot be read any more.
            max(0, last[each] - max(committed[each].offset if each in committed else 0, first[each]))
            for each in partitions
        )
    return GroupState(state, [{"id": member[0], "host": member[2].lstrip("/")} for member in members], lag)


class Remembered:
    """Asks at most once in ``seconds``, however many ask it; concurrent callers share one answer."""

    def __init__(self, ask: Callable[[], Any], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._answer: asyncio.Future[Any] | None = None
        self._at = 0.0

    async def __call__(self) -> Any:
        """Return the answer, or raise what the asking raised."""
        now = asyncio.get_running_loop().time()
        if self._answer is None or (self._answer.done() and now - self._at > self._seconds):
            self._at = now
            self._answer = asyncio.ensure_future(self._ask())
        return await asyncio.shield(self._answer)
