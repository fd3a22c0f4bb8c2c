"""The Kafka that the topics are on: makes every client of it that is not Faust's own.

One place makes them, because a client that is made elsewhere forgets how to prove who it is: it works on everybody's own
machine and on no Kafka that asks for a password. A test sees to it that nobody else makes any.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import IllegalStateError, KafkaConnectionError, KafkaError
from aiokafka.protocol.group import LeaveGroupRequest

from events import batches, connection

batches.use()
connection.use()

log = structlog.get_logger(__name__)

T = TypeVar("T")
STOP_PATIENCE = 2.0  # seconds
RETRY_DELAY = 1.0  # seconds
_JOIN_PATIENCE = 0.3  # seconds


@dataclass(frozen=True)
class Broker:
    """Where Kafka is, and how to prove to it who we are."""

    bootstrap: str  # host:port[,host:port]
    security: Mapping[str, Any] = field(default_factory=dict, repr=False)  # in aiokafka's words: security_protocol and so on

    def admin(self) -> AIOKafkaAdminClient:
        """Return a client that creates and describes; the caller starts it and calls :func:`close`."""
        return AIOKafkaAdminClient(bootstrap_servers=self.bootstrap, **self.security)

    def producer(self) -> AIOKafkaProducer:
        """Return a producer that waits for every replica, as Faust's does; the caller starts and stops it."""
        return AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", **self.security)

    def consumer(self, *topics: str, **options: Any) -> AIOKafkaConsumer:
        """Return a consumer, which commits nothing by itself; the caller starts it and calls :func:`close`."""
        return AIOKafkaConsumer(
            *topics, bootstrap_servers=self.bootstrap, enable_auto_commit=False, **self.security, **options
        )


async def close(client: AIOKafkaAdminClient | AIOKafkaConsumer) -> None:
    """Close a client, and have it leave its group, but do not let the answers wait for long.

    Now and then aiokafka waits for ever for a connection to close that has to prove who it is. And it does not leave a group
    before it has joined it, which takes until the other members have looked for that: so it is taken out of the group, whose
    partitions it would be given otherwise, to read none of them until its session is over. While the broker is away, its end
    may break off as if it had been cancelled, with its connections open: it waits for a fetch that it has cancelled itself.
    """
    is_consumer = isinstance(client, AIOKafkaConsumer)
    closing = asyncio.get_running_loop().create_task(client.stop() if is_consumer else client.close())
    try:
        if is_consumer and isinstance(client._coordinator, GroupCoordinator):
            await asyncio.wait({closing}, timeout=_JOIN_PATIENCE)
            if not closing.done():
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(_take_out_of_group(client, client._coordinator), STOP_PATIENCE)
        await asyncio.wait({closing}, timeout=STOP_PATIENCE)
    finally:
        is_late = closing.cancel()
    if is_late:
        await asyncio.wait({closing}, timeout=STOP_PATIENCE)
    if is_late or closing.cancelled():
        await asyncio.wait({asyncio.ensure_future(client._client.close())}, timeout=STOP_PATIENCE)
    else:
        closing.result()


async def answered(ask: Callable[..., Awaitable[T]], *what: Any) -> T:
    """Return the answer to what has to be known at the start or after a rebalance, however long Kafka takes to give it.

    aiokafka gives up after ninety seconds. Faust would end the service then, whose runs would be begun anew elsewhere.

    Raises:
        aiokafka.errors.IllegalStateError: the partitions have been taken away.
    """
    while True:
        try:
            return await ask(*what)
        except IllegalStateError:
            raise
        except KafkaError as error:
            log.warning("kafka does not answer; asking again", error=repr(error))
            await asyncio.sleep(RETRY_DELAY)


async def bounded(what: str, waiting: Awaitable[object]) -> None:
    """Wait for what a service that stops asks Kafka for, but not for long: a Kafka that is away answers when it is back.

    What is left then is as after a kill: nothing counts as done that the broker has not acknowledged.
    """
    asked = asyncio.ensure_future(waiting)
    try:
        await asyncio.wait({asked}, timeout=STOP_PATIENCE)
    finally:
        is_late = asked.cancel()
    if not is_late:
        asked.result()
        return
    log.warning("kafka does not answer; stopping without", left=what)
    await asyncio.wait({asked}, timeout=STOP_PATIENCE)  # asyncio.wait_for() would wait for whoever does not heed it, too


async def _take_out_of_group(consumer: AIOKafkaConsumer, coordinator: GroupCoordinator) -> None:
    # On a connection of its own: on the coordinator's the broker answers in order, and the join is not answered yet.
    if coordinator.coordinator_id is None or not coordinator.member_id:
        return
    with suppress(KafkaError):
        request = LeaveGroupRequest(coordinator.group_id, coordinator.member_id)
        await consumer._client.send(coordinator.coordinator_id, request)


class Inquiries:
    """What is asked every few seconds, on connections that are kept, for to connect takes 20 ms of CPU.

    One question at a time. After one that failed, or that was given up, the connections are made anew.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._clients: tuple[AIOKafkaAdminClient, AIOKafkaConsumer] | None = None

    async def ask(self, question: Callable[[AIOKafkaAdminClient, AIOKafkaConsumer], Awaitable[T]]) -> T:
        """Return what ``question`` returns.

        Raises:
            aiokafka.errors.KafkaError: the broker cannot be reached or refuses, or the connections were closed meanwhile.
        """
        try:
            clients = self._clients
            if clients is None:
                self._clients = clients = self._broker.admin(), self._broker.consumer()
                await asyncio.gather(*(client.start() for client in clients))
                if self._clients is not clients:
                    raise KafkaConnectionError("the connections were closed while they were made")
            return await question(*clients)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connections; they are made anew for the next question."""
        clients, self._clients = self._clients, None
        if clients is not None:
            await asyncio.gather(*map(close, clients), return_exceptions=True)
