"""Ends that no result tells of: executions that are given up, or whose time is over.

MongoDB decides the end; the news goes to the runners on the topic of the results, so that a run of it is cancelled and the
tables forget it. Until Kafka has acknowledged the news the execution is *untold* in the database, whoever ended it (the API
cancels), and every pass publishes what is left: with the broker away an end is late to be heard of, never lost.

Deadlines: an execution with a total timeout carries its deadline while it is open. It is armed like a tick, and at that
instant its actions are over, whatever it is doing: waiting, running, or lost with a runner that nobody has missed yet. Where
its definition has handlers (``onFailure``, ``finally``) it is handed to the runners under a new epoch, which fences whoever
still runs it; a runner lets the step at which it stood fail, and goes on with the handlers. These have a time of their own,
from when they begin: late, because nobody was there to run them, is better than never. Where there are none, where it is
queued still, or where the time of the handlers is over, it is ended.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.clock import Clock
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.execution import Ended, Execution, Restart, Status
from domain.flow import Plan
from domain.instants import instant
from store.interfaces import Executions, StoreUnavailable, Workflows

log = structlog.get_logger(__name__)

_TRIES = 5  # while a runner writes what it does


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

    async def end(self, execution: Execution, reason: str, why: str, *, expired: bool = False) -> bool:
        """End an execution as failed, unless it has ended by itself. ``why`` is what it is counted under.

        An ``expired`` one only where it is under the same epoch, and its deadline over, still.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        at, epoch = instant(self._clock()), execution.epoch if expired else None
        ended = await self._executions.end(
            Ended(execution.execution_id, execution.workflow_id, Status.FAILED, reason, at, epoch, expired)
        )
        if ended is not None:
            self._metrics.restarts.labels(why).inc()
            log.warning("ended", execution_id=ended.execution_id, workflow_id=ended.workflow_id, reason=reason)
            await self._tell(ended)
        return ended is not None

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
                    await self._time_out(execution.execution_id)
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

    async def _time_out(self, execution_id: str) -> None:
        at = instant(self._clock())
        for _ in range(_TRIES):
            # It may have moved on since it was armed, also to handlers, which have a time of their own.
            execution = await self._executions.get(execution_id)
            if execution is None or execution.deadline is None or execution.deadline > at:
                return
            # When it was created says nothing: under an Idempotency-Key that may be hours before it was accepted.
            definition = await self._workflows.get_version(execution.workflow_id, execution.version) or {}
            plan = Plan(execution.total_actions, *(len(definition.get(name) or ()) for name in ("on_failure", "finally_")))
            if not execution.may_time_out or plan.total == plan.actions:
                if await self.end(execution, *_why(execution, definition, plan), expired=True):
                    return
                continue
            reissued = await self._executions.reissue(execution_id, execution.epoch, at, Restart.TIMED_OUT)
            if reissued is not None:
                self._metrics.restarts.labels("timed-out").inc()
                log.warning("timed out", execution_id=execution_id, workflow_id=execution.workflow_id)
                await self._publisher.request(reissued)
                return

    async def _tell(self, ended: Execution) -> None:
        if await self._publisher.ended(ended):
            await self._executions.told([ended.execution_id])


def _why(execution: Execution, definition: Mapping[str, Any], plan: Plan) -> tuple[str, str]:
    """Return why an execution is ended at its deadline, for people and for the metrics."""
    late = f"timed out after {definition['timeout']}" if "timeout" in definition else "timed out"
    if execution.timed_out is None and execution.step_index < plan.actions:
        return late, "timed-out"
    name, _ = plan.list_of(execution.step_index)
    return f"{name} {late}" if execution.timed_out is None else f"{late}, and so did {name}", "handlers-timed-out"
