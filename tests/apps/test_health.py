"""What ``/ready`` says is wrong."""

import asyncio
from types import SimpleNamespace
from typing import Any

from apps import health
from store.interfaces import StoreRefused


async def test_a_database_that_is_silent_is_said_to_be() -> None:
    app: Any = SimpleNamespace(store=SimpleNamespace(ping=asyncio.Event().wait), settings=SimpleNamespace(mongodb_timeout=0))
    assert await health._mongodb(app) == "unreachable: no answer in time"


async def test_a_database_that_answers_and_cannot_read_is_said_to_be_refusing() -> None:
    async def refuse() -> None:
        raise StoreRefused("internal server error")

    app: Any = SimpleNamespace(store=SimpleNamespace(ping=refuse), settings=SimpleNamespace(mongodb_timeout=1))
    assert await health._mongodb(app) == "refuses to read, its disk may be full: internal server error"
