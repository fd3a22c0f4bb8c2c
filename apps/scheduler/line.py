"""The line: executions that are queued behind an open one of their workflow.

A runner, or whoever ends an execution otherwise, tells that its place is free (``HolderEnded``); the one that has waited
longest is then released by a conditional update that takes the workflow's lock, and published. The pass looks at all that
wait, for what was not told.
"""

import structlog

from apps.admission import release_next
from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.clock import Clock
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.instants import instant
from store.interfaces import Executions, StoreUnavailable

log = structlog.get_logger(__name__)

KIND = "line"


class Line:
    """Releases what is queued."""

    def __init__(
        self,
        *,
        executions: Executions,
        publisher: Publisher,
        agenda: Agenda,
        clock: Clock,
        page: int,
        metrics: Metrics,
    ) -> None:
        self._executions = executions
        self._publisher = publisher
        self._agenda = agenda
        self._clock = clock
        self._page = page
        self._metrics = metrics

    async def read(self) -> None:
        """Look at every workflow with a line.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        waiting = {each.workflow_id: each for each in await self._executions.queued(self._agenda.shards, self._page)}
        for execution in waiting.values():
            self.announce(execution.workflow_id, execution.shard)

    def announce(self, workflow_id: str, shard: int) -> None:
        """Release the next of a workflow, if its place is free, as soon as there is room to do so."""
        self._agenda.arm(
            Entry(
                key=(KIND, workflow_id),
                workflow_id=workflow_id,
                shard=shard,
                due=self._clock(),
                act=lambda: self.release(workflow_id),
            )
        )

    async def release(self, workflow_id: str) -> None:
        """Release the next of a workflow, if its place is free."""
        try:
            released = await release_next(workflow_id, executions=self._executions, now=instant(self._clock()))
        except StoreUnavailable as error:
            log.warning("line left to the next pass", workflow_id=workflow_id, error=str(error))
            return
        if released is not None:
            self._metrics.restarts.labels("released").inc()
            await self._publisher.request(released)
