"""Faust's recovery of tables, as it has to be for a Kafka that goes away meanwhile.

Every rebalance ends with it: it asks how far the changelogs go, reads them, and has the streams begin at what is committed.
For each answer Faust waits ninety seconds, as aiokafka does. Whose time is over first decides what becomes of an outage that
is as long: either the error ends the service, with all that is under way in it; or the recovery goes on as if it had been
answered, and tables count as recovered that nothing was read of, streams begin wherever they happen to stand.
"""

import logging
from typing import Any

from faust.tables import TableManager
from faust.tables import recovery as faust_recovery


class Recovery(faust_recovery.Recovery):
    """A recovery that waits for what it needs; the next rebalance and the end of the service break it off."""

    logger = logging.getLogger("faust.recovery")  # of Faust's level: it tells of each step of each rebalance

    async def _wait(self, coro: Any, timeout: Any = None) -> None:
        await super()._wait(coro)


class Tables(TableManager):
    """The tables of a service, whose recovery is :class:`Recovery`."""

    @property
    def recovery(self) -> faust_recovery.Recovery:
        """The recovery, made when it is asked for."""
        if self._recovery is None:
            self._recovery = Recovery(self.app, self, beacon=self.beacon, loop=self.loop)
        return self._recovery
