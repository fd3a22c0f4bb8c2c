"""A topic that keeps what is sent."""

import asyncio
from collections.abc import Awaitable
from typing import Any, Literal

from events.records import Event


class FakeTopic:
    """Acknowledges, refuses to take the record, fails the acknowledgement, or never acknowledges."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Event]] = []
        self.broker: Literal["well", "refusing", "failing", "silent"] = "well"

    async def send(self, *, key: str, value: Event) -> Awaitable[Any]:
        if self.broker == "refusing":
            raise ConnectionError("no broker at 127.0.0.1:9092")
        self.sent.append((key, value))
        acknowledgement: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if self.broker == "failing":
            acknowledgement.set_exception(ConnectionError("the broker went away"))
        elif self.broker == "well":
            acknowledgement.set_result(None)
        return acknowledgement
