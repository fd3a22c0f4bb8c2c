"""Signals that nobody has heeded: the safety net below :mod:`apps.waking`.

Whoever sends a signal wakes its execution at once. A pass looks only at what is left for longer: sent early, or by somebody
who died before he could wake it. An execution that does not wait for its signal yet is looked at again later, the older the
signal is the seldomer: a step that is reached by then finds it by itself, and thousands may be kept for days.
"""

from datetime import timedelta
from typing import Final

from apps.scheduler.agenda import Agenda
from apps.scheduler.clock import Clock
from apps.waking import Waker
from domain.instants import instant
from store.interfaces import Signals

LEFT_FOR: Final = timedelta(seconds=2)
LOOK_AGAIN_AFTER: Final = timedelta(seconds=30)
_LATER: Final = 10  # of the time that it is kept


class Unheeded:
    """Wakes what was signalled and not woken."""

    def __init__(self, *, signals: Signals, waker: Waker, agenda: Agenda, clock: Clock, page: int) -> None:
        self._signals = signals
        self._waker = waker
        self._agenda = agenda
        self._clock = clock
        self._page = page

    async def read(self) -> None:
        """Look at every signal that is left, unless it was looked at a moment ago.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        now = instant(self._clock())
        for signal in await self._signals.unheeded(now - LEFT_FOR, self._agenda.shards, self._page):
            await self._waker.wake(signal.execution_id, signal.name, now)
            wait = max(LOOK_AGAIN_AFTER, (now - signal.at) / _LATER)
            await self._signals.look_again(signal.execution_id, signal.name, now + wait)
