"""What a process keeps of what it has read from the database: secrets, and variables.

It is read again after a second; what was set a moment ago is looked for at once when it is not there. While the database is
away, what it had is used for a quarter of an hour from when it was read. All who ask at the same time wait for one answer.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

FRESH_FOR: Final = 1.0  # seconds; a value that was changed is used after that time at the latest
KEPT_FOR: Final = 900.0  # seconds; how old a stored value that is used may be where the database cannot be asked


class Reading:
    """When ``read`` was called last, and what came of it; ``complaint`` is what the log says where that fails."""

    def __init__(self, read: Callable[[], Awaitable[None]], complaint: str) -> None:
        self._read = read
        self._complaint = complaint
        self._read_at: float | None = None
        self._failure: tuple[float, Exception] | None = None  # of the last time that the database was asked
        self._lock = asyncio.Lock()

    async def look_for(self, is_there: Callable[[], bool]) -> None:
        """Read what is not fresh, and what is not there.

        Raises:
            StoreUnavailable: the database cannot be asked, and it was not there when it was read last, or that is
                ``KEPT_FOR`` ago.
        """
        try:
            await self.refresh(FRESH_FOR)
            if not is_there():
                await self.refresh(0.0)
        except Exception:
            if not is_there() or not self._read_within(KEPT_FOR):
                raise

    async def refresh(self, fresh_for: float) -> None:
        """Read, unless that was done ``fresh_for`` seconds ago or later.

        Raises:
            StoreUnavailable: the database cannot be asked, or could not be ``fresh_for`` seconds ago or later.
        """
        loop = asyncio.get_running_loop()
        if self._read_within(fresh_for):
            return
        asked = loop.time()
        self._raise_failure_since(asked - fresh_for)
        async with self._lock:
            if self._read_at is not None and self._read_at >= asked:
                return
            # Whoever has waited meanwhile must not wait for as long again, one after the other.
            self._raise_failure_since(asked)
            began = loop.time()
            try:
                await self._read()
            except Exception as error:
                if self._failure is None:
                    log.warning(self._complaint, error=str(error))
                self._failure = (loop.time(), error)
                raise
            self._failure = None
            self._read_at = began

    def _read_within(self, seconds: float) -> bool:
        return self._read_at is not None and asyncio.get_running_loop().time() - self._read_at < seconds

    def _raise_failure_since(self, instant: float) -> None:
        if self._failure is not None and self._failure[0] > instant:
            raise self._failure[1].with_traceback(None)
