"""The values of variables: plain JSON, by name, for all to read; what differs between installations.

They are in the database alone, so that the API, which checks that they are set, and the runners, which use them, have the
same. A runner looks them up whenever it is about to run a step; see :mod:`vault.reading` for how fresh they are then.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from vault.interfaces import UnknownVariable
from vault.reading import Reading

LARGEST_VALUE: Final = 65_536  # bytes of JSON


class Variables:
    """The variables of one process."""

    def __init__(self, stored: Callable[[], Awaitable[Mapping[str, Any]]]) -> None:
        self._stored = stored
        self._values: Mapping[str, Any] = {}
        self._reading = Reading(self._read, "variables not read")

    async def get(self, name: str) -> Any:
        """Return the value of a variable.

        Raises:
            UnknownVariable: there is none of that name.
            StoreUnavailable: the database cannot be asked, and there was none when it was read last, or that is
                ``KEPT_FOR`` ago.
        """
        await self._reading.look_for(lambda: name in self._values)
        if name not in self._values:
            raise UnknownVariable(name)
        return self._values[name]

    async def _read(self) -> None:
        self._values = await self._stored()
