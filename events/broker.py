"""The Kafka that the topics are on: makes every client of it that is not Faust's own.

One place makes them, because a client that is made elsewhere forgets how to prove who it is: it works on everybody's own
machine and on no Kafka that asks for a password. A test sees to it that nobody else makes any.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

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

    def consumer(self, **options: Any) -> AIOKafkaConsumer:
        """Return a consumer of no group, which commits nothing; the caller starts it and calls :func:`close`."""
        return AIOKafkaConsumer(bootstrap_servers=self.bootstrap, enable_auto_commit=False, **self.security, **options)


async def close(client: AIOKafkaAdminClient | AIOKafkaConsumer) -> None:
    """Close a client that has been asked something, but do not let the answer wait for long.

    Now and then aiokafka waits for ever for a connection to close that has to prove who it is.
    """
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(client.stop() if isinstance(client, AIOKafkaConsumer) else client.close(), _CLOSE_TIMEOUT)
