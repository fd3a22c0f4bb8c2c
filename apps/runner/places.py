"""Places: how what cannot be refused waits for one in a busy workflow: records of topics, what actions trigger.

Whoever waits asks again when this runner hears that an execution of the workflow has ended; and by itself, with growing
pauses, for it may be another runner that hears of it, or a place in the line that becomes free, of which nobody tells.

An end makes room for one, so the one that has waited here for longest is told of it, and no other: hundreds that ask at once
would find one place. Whoever was told and leaves without having asked for it passes that on.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from store.interfaces import Locked

T = TypeVar("T")

# Seconds until a place is asked for again: at first, and at most.
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Places:
    """Those in this process that wait for a place, and what it hears of ends."""

    def __init__(self) -> None:
        self._waiting: dict[str, dict[asyncio.Event, None]] = {}  # by workflow, the one that waits longest first

    async def take(self, workflow_id: str, ask: Callable[[], Awaitable[T | Locked]], *, until: float = math.inf) -> T:
        """Return what ``ask`` answers when it is refused no more.

        It is asked ``until`` an instant of the loop's time, and at that as well: then it is to give up.
        """
        loop = asyncio.get_running_loop()
        waiting = self._waiting.setdefault(workflow_id, {})
        # From before it asks: an end that it hears of meanwhile may be that of the holder.
        end = asyncio.Event()
        waiting[end] = None
        pause = _FIRST_PAUSE
        try:
            while True:
                answer = await ask()
                if not isinstance(answer, Locked):
                    return answer
                again = loop.call_at(min(loop.time() + pause, until), end.set)
                try:
                    await end.wait()
                finally:
                    again.cancel()
                # Somebody else may have been faster, or the next one of the line is about to be released: it may be soon.
                pause = _FIRST_PAUSE if loop.time() < again.when() else min(2 * pause, _LONGEST_PAUSE)
                end.clear()
        finally:
            del waiting[end]
            if not waiting:
                del self._waiting[workflow_id]
            elif end.is_set():
                self.hear_of_end(workflow_id)

    def hear_of_end(self, workflow_id: str) -> None:
        """Have the one that has waited longest ask again: an execution of the workflow has ended."""
        for end in self._waiting.get(workflow_id, ()):
            if not end.is_set():
                end.set()
                return
