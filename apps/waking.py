"""Waking what waits for a signal, or for the end of what it has triggered, once that is there.

Whoever sends a signal stores it first, and looks then whether the execution waits for it; a runner whose step finds no
signal (:mod:`actions.wait_for_signal`) writes that the execution waits first, and looks then whether there is one. So one of
the two sees what the other has done, however they interleave. Where a crash keeps both from it, the scheduler's pass looks.

So it is with the end of a child, which a runner has written before it looks for the parent. Here no pass looks: what was
not acknowledged before a crash is told again, and a parent goes on by itself from time to time, and looks
(:mod:`actions.trigger_workflow`).
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Final

import structlog

from domain.execution import Awaited, Execution, Parent, Restart
from store.interfaces import Executions, Signals

_AT_ONCE: Final = 32  # executions

log = structlog.get_logger(__name__)


class Waker:
    """Hands executions to the runners again that wait for what has come; ``hand_out`` publishes the request of one."""

    def __init__(
        self, *, executions: Executions, signals: Signals, hand_out: Callable[[Execution], Awaitable[object]]
    ) -> None:
        self._executions = executions
        self._signals = signals
        self._hand_out = hand_out

    async def wake(self, execution_id: str, name: str, at: datetime) -> Execution | None:
        """Wake an execution where it waits for a signal that was stored; return what it is then, None where there is none.

        Raises:
            StoreUnavailable: the store cannot be reached; asking again is safe.
        """
        found = await self._executions.get(execution_id)
        if found is None or not found.status.is_open:
            await self._signals.heed(execution_id, name, at)
            return found
        if found.awaited is None or found.awaited.signal != name:
            return found
        woken = await self._wake(found, at)
        if woken is None:  # somebody else did it, or it has ended
            return await self._executions.get(execution_id)
        await self._signals.heed(execution_id, name, at)
        return woken

    async def wake_parent(self, parent: Parent, at: datetime) -> None:
        """Wake the execution that has triggered one which has ended, where that is what it waits for.

        Raises:
            StoreUnavailable: the store cannot be reached; asking again is safe, and so it is of all that follow.
        """
        await self.look_again(parent.execution_id, at, action_id=parent.action_id)

    async def wake_parent_of(self, execution_id: str, at: datetime) -> None:
        """Do the same where only the one that has ended is known.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        found = await self._executions.get(execution_id)
        if found is not None and found.triggered_by is not None:
            await self.wake_parent(found.triggered_by, at)

    async def look_again(self, execution_id: str, at: datetime, *, action_id: str | None = None) -> None:
        """Wake an execution where what it waits for, in that action or any, is there already.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        found = await self._executions.get(execution_id)
        awaited = None if found is None else found.awaited
        if found is None or awaited is None or action_id not in (None, awaited.action_id):
            return
        if await self._is_there(found, awaited):
            await self._wake(found, at)

    async def _is_there(self, execution: Execution, awaited: Awaited) -> bool:
        if awaited.signal is not None:
            return await self._signals.get(execution.execution_id, awaited.signal) is not None
        return await have_ended(awaited.execution_ids, self._executions)

    async def _wake(self, found: Execution, at: datetime) -> Execution | None:
        woken = await self._executions.reissue(found.execution_id, found.epoch, at, Restart.WOKEN)
        if woken is not None:
            log.info("woken by what it has waited for", execution_id=woken.execution_id, epoch=woken.epoch)
            await self._hand_out(woken)
        return woken


async def have_ended(ids: Sequence[str], executions: Executions) -> bool:
    """Tell whether none of the executions is open.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    # The last ones first: as a rule they are the last to end, and as long as one is open nobody asks for the others.
    for end in range(len(ids), 0, -_AT_ONCE):
        states = await executions.states(ids[max(0, end - _AT_ONCE) : end])
        if any(status.is_open for _, status in states.values()):
            return False
    return True
