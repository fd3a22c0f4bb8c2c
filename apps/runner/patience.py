"""Outages of the database are waited for: what the runner has taken it deals with, however long that takes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import structlog

from store.interfaces import StoreUnavailable

log = structlog.get_logger(__name__)

T = TypeVar("T")
RETRY_DELAY: Final = 0.5  # seconds until what failed is tried again


async def stubbornly(call: Callable[[], Awaitable[T]]) -> T:
    """Return what ``call`` returns, trying again while the store is away; the record stays unacknowledged meanwhile."""
    while True:
        try:
            return await call()
        except StoreUnavailable as error:
            log.warning("store unavailable; trying again", error=str(error))
            await asyncio.sleep(RETRY_DELAY)
