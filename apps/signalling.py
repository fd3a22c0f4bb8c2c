"""Waking what waits for a signal, once the signal is stored.

Whoever sends a signal stores it first, and looks then whether the execution waits for it; a runner whose step finds no
signal (:mod:`actions.wait_for_signal`) writes that the execution waits first, and looks then whether there is one. So one of
the two sees what the other has done, however they interleave. Where a crash keeps both from it, the scheduler's pass looks.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime

import structlog

from domain.execution import Execution, Restart
from store.interfaces import Executions, Signals, StoreUnavailable

log = structlog.get_logger(__name__)


class Waker:
    """Hands executions to the runners again that wait for what has come; ``hand_out`` publishes the request of one."""

    def __init__(
        self, *, executions: Executions, signals: Signals, hand_out: Callable[[Execution], Awaitable[object]]
    ) -> None:
        self._executions = executions
        self._signals = signals
        self._hand_out = hand_out

    async def wake_if_signalled(self, execution_id: str, name: str, at: datetime) -> None:
        """Wake an execution that has just come to wait, where its signal is there already. Never raises."""
        try:
            if await self._signals.get(execution_id, name) is not None:
                await self.wake(execution_id, name, at)
        except StoreUnavailable as error:
            log.warning("signal left to the scheduler", execution_id=execution_id, signal=name, error=str(error))
        except Exception:
            log.exception("signal left to the scheduler", execution_id=execution_id, signal=name)

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
        woken = await self._executions.reissue(execution_id, found.epoch, at, Restart.WOKEN)
        if woken is None:  # somebody else did it, or it has ended
            return await self._executions.get(execution_id)
        log.info("woken by a signal", execution_id=execution_id, signal=name, epoch=woken.epoch)
        await self._hand_out(woken)
        await self._signals.heed(execution_id, name, at)
        return woken
