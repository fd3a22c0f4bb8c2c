"""The Kafka that the topics are on: makes every client of it that is not Faust's own.

One place makes them, because a client that is made elsewhere forgets how to prove who it is: it works on everybody's own
machine and on no Kafka that asks for a password. A test sees to it that nobody else makes any.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from events import connection

connection.use()

T = TypeVar("T")
_CLOSE_TIMEOUT = 1.0  # seconds


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
    """Close a client that has been asked something, but do not let the answer wait for long.

    Now and then aiokafka waits for ever for a connection to close that has to prove who it is.
    """
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(client.stop() if isinstance(client, AIOKafkaConsumer) else client.close(), _CLOSE_TIMEOUT)


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
            aiokafka.errors.KafkaError: the broker cannot be reached or refuses.
        """
        try:
            if self._clients is None:
                self._clients = self._broker.admin(), self._broker.consumer()
                await asyncio.gather(*(client.start() for client in self._clients))
            return await question(*self._clients)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the connections; they are made anew for the next question."""
        clients, self._clients = self._clients, None
        if clients is not None:
            await asyncio.gather(*map(close, clients), return_exceptions=True)
