"""Acknowledges events in the order they came, each only when what it asked for is durable.

Faust's commit can pass an unfinished message when later ones are acknowledged first, so a finished event waits here for
those before it in its partition. An event that is never finished (the runner is stopping) holds back the commit, and is
delivered again to whoever gets the partition next.
"""

from collections import deque
from typing import Any

from faust.types import TP, EventT


class Ticket:
    """One event that waits for its acknowledgement."""

    __slots__ = ("_queue", "done", "event")

    def __init__(self, event: EventT[Any], queue: "deque[Ticket]") -> None:
        self.event = event
        self.done = False
        self._queue = queue

    def finish(self) -> None:
        """Say that the event is dealt with; acknowledges it and those behind it that are finished."""
        self.done = True
        queue = self._queue
        while queue and queue[0].done:
            queue.popleft().event.ack()


class OrderedAcks:
    """The unfinished events of one agent, by partition."""

    def __init__(self) -> None:
        self._queues: dict[TP, deque[Ticket]] = {}

    def take(self, event: EventT[Any]) -> Ticket:
        """Note an event that was received."""
        queue = self._queues.get(event.message.tp)
        if queue is None:
            queue = self._queues[event.message.tp] = deque()
        ticket = Ticket(event, queue)
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
