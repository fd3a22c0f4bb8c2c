"""Ends that no result tells of: executions that are given up, or whose time is over.

MongoDB decides the end; the news goes to the runners on the topic of the results, so that a run of it is cancelled and the
tables forget it. Until Kafka has acknowledged the news the execution is *untold* in the database, whoever ended it (the API
cancels), and every pass publishes what is left: with the broker away an end is late to be heard of, never lost.

Deadlines: an execution with a total timeout carries its deadline while it is open. It is armed like a tick and ended as
failed at that instant, whatever it is doing: waiting, running, or lost with a runner that nobody has missed yet.
"""

from datetime import timedelta

import structlog

from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.clock import Clock
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.execution import Ended, Execution, Status
from domain.instants import instant
from store.interfaces import Executions, StoreUnavailable, Workflows

log = structlog.get_logger(__name__)


class Endings:
    """Ends executions and sees to it that the runners hear of it."""

    def __init__(
        self,
        *,
        executions: Executions,
        workflows: Workflows,
        publisher: Publisher,
        agenda: Agenda,
        clock: Clock,
        lookahead: timedelta,
        page: int,
        metrics: Metrics,
    ) -> None:
        self._executions = executions
        self._workflows = workflows
        self._publisher = publisher
        self._agenda = agenda
        self._clock = clock
        self._lookahead = lookahead
        self._page = page
        self._metrics = metrics

    async def end(self, execution: Execution, reason: str, why: str) -> None:
        """End an execution as failed, unless it has ended by itself. ``why`` is what it is counted under.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        ended = await self._executions.end(
            Ended(execution.execution_id, execution.workflow_id, Status.FAILED, reason, instant(self._clock()))
        )
        if ended is not None:
            self._metrics.restarts.labels(why).inc()
            log.warning("ended", execution_id=ended.execution_id, workflow_id=ended.workflow_id, reason=reason)
            await self._tell(ended)

    async def read_untold(self) -> None:
        """Publish the ends that Kafka may not know of.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        for execution in await self._executions.untold(self._agenda.shards, self._page):
            self._arm("untold", execution)

    async def read_deadlines(self) -> None:
        """Arm the deadlines until a little after the next pass.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        for execution in await self._executions.expiring(self._clock() + self._lookahead, self._agenda.shards, self._page):
            self._arm("deadline", execution)

    def _arm(self, kind: str, execution: Execution) -> None:
        deadline = execution.deadline

        async def act() -> None:
            try:
                if deadline is None:
                    await self._tell(execution)
                else:
                    await self._time_out(execution)
            except StoreUnavailable as error:
                log.warning("end left to the next pass", execution_id=execution.execution_id, error=str(error))

        self._agenda.arm(
            Entry(
                key=(kind, execution.execution_id),
                workflow_id=execution.workflow_id,
                shard=execution.shard,
                due=deadline or self._clock(),
                act=act,
            )
        )

    async def _time_out(self, execution: Execution) -> None:
        # When it was created says nothing: under an Idempotency-Key that may be hours before it was accepted.
        definition = await self._workflows.get_version(execution.workflow_id, execution.version) or {}
        reason = f"timed out after {definition['timeout']}" if "timeout" in definition else "timed out"
        await self.end(execution, reason, "timed-out")

    async def _tell(self, ended: Execution) -> None:
        if await self._publisher.ended(ended):
            await self._executions.told([ended.execution_id])
