"""What ``/ready`` says is wrong."""

import asyncio
from types import SimpleNamespace
from typing import Any

from apps import health


async def test_a_database_that_is_silent_is_said_to_be() -> None:
    app: Any = SimpleNamespace(store=SimpleNamespace(ping=asyncio.Event().wait), settings=SimpleNamespace(mongodb_timeout=0))
    assert await health._mongodb(app) == "unreachable: no answer in time"
