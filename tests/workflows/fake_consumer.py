"""A Kafka consumer that is given its records by hand."""

import asyncio
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

from aiokafka import TopicPartition

from events.records import Event
from events.wire import encode


class FakeConsumer:
    """One topic of each kind; what comes is what :meth:`give` was called with."""

    def __init__(self) -> None:
        self.records: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
        self.running = 0
        self.fails = False
        self.stopped = asyncio.Event()

    def __call__(self) -> Any:
        return self

    async def start(self) -> None:
        if self.fails:
            raise OSError("no broker")
        self.running += 1

    async def stop(self) -> None:
        self.running -= 1
        self.stopped.set()

    def assign(self, partitions: Any) -> None:
        self.assigned = partitions

    async def seek_to_end(self, *partitions: Any) -> None:
        await asyncio.sleep(0)

    async def getmany(self, **_: Any) -> Any:
        batches: Any = defaultdict(list)
        topic, value = await self.records.get()
        batches[TopicPartition(topic, 0)].append(SimpleNamespace(value=value))
        return batches

    def give(self, topic: str, event: Event | bytes) -> None:
        self.records.put_nowait((topic, event if isinstance(event, bytes) else encode(event)))
