"""What the API can know of the whole system: its own dependencies, the runners' heartbeats, and what Kafka tells of the
consumers.

A runner is judged alive by its heartbeat changing between two looks of this process, so that no clocks are compared. The
scheduler's lateness is that of the work it has not released yet: the earliest tick or retry that is overdue.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Final

from aiokafka.errors import KafkaError

from apps.workflows import representations
from apps.workflows.kafka_state import KafkaState, Remembered
from events.topics import PARTITIONS
from store.client import MongoStore
from store.interfaces import Heartbeat, StoreUnavailable

SILENT_AFTER: Final = 15.0  # seconds without a new heartbeat
KAFKA_REMEMBERED: Final = 3.0
KAFKA_TIMEOUT: Final = 5.0
EVERYWHERE: Final = frozenset(range(PARTITIONS))


class System:
    """Gathers the state of the system."""

    def __init__(
        self, ask_kafka: Callable[[], Awaitable[KafkaState]], *, timeout: float, clock: Callable[[], float]
    ) -> None:
        self._kafka = Remembered(lambda: asyncio.wait_for(ask_kafka(), KAFKA_TIMEOUT), KAFKA_REMEMBERED)
        self._timeout = timeout
        self._clock = clock
        self._beats: dict[str, tuple[int, float, bool]] = {}  # beat, since when, whether it was seen to change

    async def look(self, store: MongoStore, now: datetime) -> dict[str, Any]:
        """Return the state; what cannot be reached is told, never raised."""
        database, kafka = await asyncio.gather(self._database(store, now), self._ask_kafka())
        return {"now": representations.instant(now), **database, **kafka}

    async def _database(self, store: MongoStore, now: datetime) -> dict[str, Any]:
        try:
            heartbeats, due, waking = await asyncio.wait_for(
                asyncio.gather(
                    store.runners.all(), store.workflows.overdue_since(now), store.executions.waking(now, EVERYWHERE, 1)
                ),
                self._timeout * 2,
            )
        except (StoreUnavailable, asyncio.TimeoutError):
            return {"database": "unreachable", "runners": None, "scheduler": None}
        overdue = [each for each in (due, *(found.wake_at for found in waking)) if each is not None and each <= now]
        late = max(((now - each).total_seconds() for each in overdue), default=0.0)
        return {
            "database": "ok",
            "runners": self.runners(heartbeats),
            "scheduler": {"latenessSeconds": round(late, 3)},
        }

    def runners(self, heartbeats: Sequence[Heartbeat]) -> list[dict[str, Any]]:
        """Return what is to be told of the runners, and remember how they beat."""
        self._beats = {each.runner: self._beat(each) for each in heartbeats}
        return [self._runner(heartbeat) for heartbeat in heartbeats]

    def _beat(self, heartbeat: Heartbeat) -> tuple[int, float, bool]:
        at = self._clock()
        beat, since, changed = self._beats.get(heartbeat.runner, (heartbeat.beat, at, False))
        return (beat, since, changed) if beat == heartbeat.beat else (heartbeat.beat, at, True)

    def _runner(self, heartbeat: Heartbeat) -> dict[str, Any]:
        _, since, changed = self._beats[heartbeat.runner]
        silent = self._clock() - since
        started_at = heartbeat.info.get("started_at")
        return {
            "runner": heartbeat.runner,
            "host": heartbeat.info.get("host"),
            "pid": heartbeat.info.get("pid"),
            "startedAt": representations.instant(started_at) if isinstance(started_at, datetime) else None,
            "status": "silent" if silent > SILENT_AFTER else "alive" if changed else "seen",
            "silentSeconds": round(silent, 1),
        }

    async def _ask_kafka(self) -> dict[str, Any]:
        try:
            found: KafkaState = await self._kafka()
        except (KafkaError, OSError, asyncio.TimeoutError):
            return {"kafka": "unreachable", "consumers": None, "deadLetters": None}
        return {
            "kafka": "ok",
            "consumers": {
                name: {"state": group.state, "members": list(group.members), "lag": group.lag}
                for name, group in found.groups.items()
            },
            "deadLetters": found.dead_letters,
        }
