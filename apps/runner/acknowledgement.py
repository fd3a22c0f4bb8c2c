"""Acknowledges events in the order they came, each only when what it asked for is durable.

Faust's commit can pass an unfinished message when later ones are acknowledged first, so a finished event waits here for
those before it in its partition. An event that is never finished (the runner is stopping) holds back the commit, and is
delivered again to whoever gets the partition next.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from faust.types import TP, EventT

log = structlog.get_logger(__name__)

OnAck = Callable[[TP, int], None]


class Ticket:
    """One event that waits for its acknowledgement."""

    __slots__ = ("_on_ack", "_queue", "done", "event")

    def __init__(self, event: EventT[Any], queue: "deque[Ticket]", on_ack: OnAck | None) -> None:
        self.event = event
        self.done = False
        self._queue = queue
        self._on_ack = on_ack

    def finish(self) -> None:
        """Say that the event is dealt with; acknowledges it and those behind it that are finished."""
        self.done = True
        queue = self._queue
        while queue and queue[0].done:
            event = queue.popleft().event
            event.ack()
            if self._on_ack is not None:
                self._on_ack(event.message.tp, event.message.offset)


Refuse = Callable[[Ticket, str], Awaitable[None]]
"""Dead-letters the event of a ticket, for this reason, and finishes the ticket."""


async def see_to(ticket: Ticket, work: Awaitable[None], refuse: Refuse) -> None:
    """Do ``work``, which finishes the ticket; where it fails, refuse the event.

    Nothing may escape an agent, for Faust would acknowledge the event and lose it; and an event that is never acknowledged
    holds back all behind it.
    """
    try:
        await work
    except Exception as error:
        log.exception("record not taken", topic=ticket.event.message.topic, offset=ticket.event.message.offset)
        await refuse(ticket, f"{type(error).__name__}: {error}")


class Aside:
    """Sees to events beside their stream, in the context of the current event: the tables look there for its partition."""

    def __init__(self, refuse: Refuse) -> None:
        self._refuse = refuse
        self._tasks: set[asyncio.Task[None]] = set()

    def see_to(self, ticket: Ticket, work: Awaitable[None]) -> None:
        """Begin to see to one; see :func:`see_to`."""
        task = asyncio.get_running_loop().create_task(see_to(ticket, work, self._refuse))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class OrderedAcks:
    """The unfinished events of one agent, by partition; ``on_ack`` hears of each offset when it and all before are done."""

    def __init__(self, on_ack: OnAck | None = None) -> None:
        self._on_ack = on_ack
        self._queues: dict[TP, deque[Ticket]] = {}

    def take(self, event: EventT[Any]) -> Ticket:
        """Note an event that was received."""
        queue = self._queues.get(event.message.tp)
        if queue is None:
            queue = self._queues[event.message.tp] = deque()
        ticket = Ticket(event, queue, self._on_ack)
        queue.append(ticket)
        return ticket

    def forget(self, partitions: set[TP]) -> None:
        """Drop what was taken from partitions that are no longer ours: it is delivered again, elsewhere or here.

        A ticket finished later acknowledges nothing. Were its event acknowledged when the partition is ours again, the
        commit would pass those before it that are still to be delivered anew, and they would be lost.
        """
        for tp in partitions:
            queue = self._queues.pop(tp, None)
            if queue is not None:
                queue.clear()
