"""Tells whoever may wait for what this runner has recorded: the scheduler, executions that wait, those that ask for a place.

Whoever is not told finds it out by himself: the scheduler by its next pass, an execution by the scheduler, who asks for a
place by asking again. So nothing here waits for Kafka or fails, whatever goes wrong.
"""

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from faust.types import TopicT

from apps.runner.clock import now
from apps.runner.definitions import Definitions
from apps.runner.patience import stubbornly
from apps.runner.places import Places
from apps.waking import Waker
from domain.execution import AWAITING, ActionFinished, Execution, Parent
from events.records import Event, HolderEnded, WakeUp

log = structlog.get_logger(__name__)


class Announcer:
    """Announces results and ends; ``spawn`` lets a coroutine go on beside what is under way."""

    def __init__(
        self,
        *,
        schedule: TopicT,
        waker: Waker,
        places: Places,
        definitions: Definitions,
        spawn: Callable[[Coroutine[Any, Any, None]], object],
    ) -> None:
        self._schedule = schedule
        self._waker = waker
        self._places = places
        self._definitions = definitions
        self._spawn = spawn

    async def result(self, result: ActionFinished, known: Execution | None) -> None:
        """Announce a result after which its execution waits or has ended; ``known`` as this process has followed it."""
        if result.outcome.status == AWAITING:
            # It may have come between the step's look for it and this record.
            self._wake(lambda: self._waker.look_again(result.execution_id, now()))
        if result.wake_at is not None:
            await self._tell_scheduler(
                result.workflow_id,
                WakeUp(
                    workflow_id=result.workflow_id,
                    execution_id=result.execution_id,
                    epoch=result.epoch,
                    wake_at=result.wake_at,
                    delay=result.outcome.is_wait or None,
                ),
            )
        else:
            if known is None:  # another process has begun it, or this one before it was killed
                self._wake(lambda: self._waker.wake_parent_of(result.execution_id, now()))
            await self.end(result.workflow_id, result.version, None if known is None else known.triggered_by)

    async def end(self, workflow_id: str, version: int, parent: Parent | None) -> None:
        """Announce an end to who asks for its place, to the execution that has triggered it, and to the scheduler.

        The scheduler hears of it where others may be queued for the place.
        """
        self._places.hear_of_end(workflow_id)
        if parent is not None:
            self._wake(lambda: self._waker.wake_parent(parent, now()))
        definition = self._definitions.cached(workflow_id, version)
        if definition is not None and definition.overlap.policy == "queue":
            await self._tell_scheduler(workflow_id, HolderEnded(workflow_id=workflow_id))

    def _wake(self, look: Callable[[], Awaitable[None]]) -> None:
        """Look for what is to be woken, beside what is under way: others wait to be told."""

        async def wake() -> None:
            try:
                await stubbornly(look)
            except Exception:  # it would end the whole worker
                log.exception("not woken; left to the next look")

        self._spawn(wake())

    async def _tell_scheduler(self, workflow_id: str, record: Event) -> None:
        """Publish, without waiting for the broker; whatever goes wrong must stop neither the projection nor a stream."""
        try:
            await self._schedule.send(key=workflow_id, value=record)
        except Exception as error:
            log.warning("not announced; left to the scheduler's next pass", workflow_id=workflow_id, error=repr(error))
