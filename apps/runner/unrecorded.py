"""Requests whose runs MongoDB does not know of yet.

A certainly new request starts without a word to MongoDB. It is acknowledged to Kafka only when MongoDB knows of the run:
by its start mark, by a result, or by its end. So whatever is acknowledged is recorded, and the scheduler can tell a request
that got lost from one that runs (:mod:`apps.scheduler.taken`), however slow the database is. Should this process die before,
the request is delivered again, and claimed.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class _Started:
    acknowledge: Callable[[], None]
    at: float  # loop time


class Unrecorded:
    """What was started here and is not recorded, the oldest first."""

    def __init__(self) -> None:
        self._started: dict[str, _Started] = {}

    def add(self, execution_id: str, acknowledge: Callable[[], None], at: float) -> None:
        """Note a run that was started at the loop time ``at``."""
        self.recorded(execution_id)  # an earlier one of the same execution, which can only have ended
        self._started[execution_id] = _Started(acknowledge, at)

    def recorded(self, execution_id: str) -> None:
        """Acknowledge the request of a run that MongoDB knows of."""
        started = self._started.pop(execution_id, None)
        if started is not None:
            started.acknowledge()

    def since_before(self, at: float) -> dict[str, float]:
        """Return when those were started that were so before the loop time ``at``."""
        found: dict[str, float] = {}
        for execution_id, started in self._started.items():
            if started.at >= at:
                break
            found[execution_id] = started.at
        return found
