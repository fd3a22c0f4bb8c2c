"""Waits for the end of an execution, on behalf of a client that would otherwise ask again and again.

The store is asked ever more slowly, at most a quarter of the time that has passed apart, so an end is told of promptly
whether it comes in milliseconds or in a minute; whoever waits at the same time shares one query. What was asked for only
just now is not asked about yet: no execution ends within that time, and the questions take it from those that end it.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from domain.execution import Execution
from domain.identifiers import asked_at, earliest_execution_id
from domain.instants import MILLISECOND
from store.interfaces import Executions

LONGEST_WAIT: Final = timedelta(minutes=1)
SOONEST_END: Final = timedelta(milliseconds=10)  # after it was asked for: twice through Kafka, three writes

_FIRST_PAUSE: Final = 0.005  # seconds
_LONGEST_PAUSE: Final = 1.0
_SHARE: Final = 0.25  # of the time that has passed


async def ended(
    execution_id: str, *, executions: Executions, within: timedelta, now: datetime, is_in_vain: Callable[[], bool]
) -> Execution | None:
    """Return an execution as soon as it has ended, or as it is after ``within``; None where there is none.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await asyncio.sleep(_too_soon(execution_id, within, now).total_seconds())
    while True:
        found = await executions.get(execution_id)
        passed = loop.time() - begun
        left = within.total_seconds() - passed
        if found is None or not found.status.is_open or left <= 0 or is_in_vain():
            return found
        await asyncio.sleep(min(max(_FIRST_PAUSE, _SHARE * passed), _LONGEST_PAUSE, left))


def _too_soon(execution_id: str, within: timedelta, now: datetime) -> timedelta:
    """Return how long there is no use in asking; nothing where the id does not tell when it was asked for."""
    if not earliest_execution_id(now - SOONEST_END) <= execution_id < earliest_execution_id(now + MILLISECOND):
        return timedelta()
    return min(within, SOONEST_END - (now - asked_at(execution_id)))
