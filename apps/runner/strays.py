"""Strays: executions that MongoDB says this process runs, and that it does not run.

They come of what nobody can tell afterwards: a claim that was written although its answer was lost, a result that was in
Kafka when Kafka's data were lost, a run that broke off. Their owner is alive, so no scheduler looks for them. A stray that
has not moved for a while is handed back under a new epoch, and resumes at the first action without a recorded success.

The while is long in comparison with a write, because the last result of a run that is over may still be waiting for its
projection, here or in another runner: handing it back any sooner would turn that result away and repeat its action.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from mode import Service

from apps.runner.clock import now
from apps.runner.runs import Runs
from domain.execution import Execution, Restart
from events.topics import PARTITIONS
from store.interfaces import Executions, StoreUnavailable

log = structlog.get_logger(__name__)

INTERVAL = 5.0  # seconds between two looks
LOOKS = 5  # at an unmoved stray until it is handed back
ALL_SHARDS = frozenset(range(PARTITIONS))

State = tuple[int, int]  # epoch and sequence number


class Strays(Service):
    """Looks for strays of this process."""

    def __init__(
        self,
        executions: Executions,
        *,
        runs: Runs,
        runner: str,
        hand_back: Callable[[Execution], Awaitable[None]],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._executions = executions
        self._runs = runs
        self._runner = runner
        self._hand_back = hand_back
        self._seen: dict[str, tuple[State, int]] = {}

    @Service.task
    async def _keep_looking(self) -> None:
        while not self.should_stop:
            await self.sleep(INTERVAL)
            try:
                await self.look()
            except StoreUnavailable as error:
                self._seen.clear()  # results that could not be written meanwhile get their time
                log.warning("strays not looked for", error=str(error))

    async def look(self) -> None:
        """Look once.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        if self._runs.draining:
            return
        owned = (await self._executions.owned(ALL_SHARDS)).get(self._runner, ())
        seen: dict[str, tuple[State, int]] = {}
        for execution in owned:
            if execution.execution_id in self._runs.live:
                continue
            state = (execution.epoch, execution.seq)
            before, looks = self._seen.get(execution.execution_id, (state, 0))
            seen[execution.execution_id] = (state, looks + 1 if before == state else 1)
        self._seen = seen
        for execution in owned:
            if seen.get(execution.execution_id, ((0, 0), 0))[1] >= LOOKS:
                await self._give_back(execution)

    async def _give_back(self, execution: Execution) -> None:
        reissued = await self._executions.reissue(execution.execution_id, execution.epoch, now(), Restart.HANDED_BACK)
        self._seen.pop(execution.execution_id, None)
        if reissued is not None:
            log.warning("stray handed back", execution_id=execution.execution_id, epoch=reissued.epoch)
            await self._hand_back(reissued)
