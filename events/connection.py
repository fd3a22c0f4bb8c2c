"""aiokafka's connection to a broker, as it has to be on uvloop.

To write to a connection that the broker has just closed raises an ``OSError`` or nothing on asyncio's own loop, and aiokafka
expects no more than that. uvloop raises a ``RuntimeError``, which ends whatever task of aiokafka was writing: the one that
looks for the brokers, so that its client does not find them when they are back, and waits without a word; the one that
fetches; the one that sends. After an outage of the broker, services stood still until they were started anew.
"""

from collections.abc import Awaitable
from typing import Any

import aiokafka.conn
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError


class Connection(AIOKafkaConnection):  # type: ignore[misc]
    """A connection that is broken where it cannot be written to."""

    def send(self, request: Any, expect_response: bool = True) -> Awaitable[Any]:
        """Send a request and return what waits for its response.

        Raises:
            KafkaConnectionError: the connection is closed. So do all that wait for a response on it.
        """
        try:
            return super().send(request, expect_response)  # type: ignore[no-any-return]
        except RuntimeError as error:
            self.close(reason=CloseReason.CONNECTION_BROKEN)
            raise KafkaConnectionError(f"Connection at {self.host}:{self.port} broken: {error}") from error


def use() -> None:
    """Have every client of this process connect by :class:`Connection`: aiokafka offers no way to tell a client which."""
    aiokafka.conn.AIOKafkaConnection = Connection
