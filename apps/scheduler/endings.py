"""Executions that are cut short (:mod:`apps.cutting_short`): those that are given up, and those whose time is over.

Where that ends one, no result tells of it. MongoDB decides the end; the news goes to the runners on the topic of the
results, so that a run of it is cancelled and the tables forget it. Until Kafka has acknowledged the news the execution is
*untold* in the database, whoever ended it (the API cancels), and every pass publishes what is left: with the broker away an
end is late to be heard of, never lost.

Deadlines: an execution with a total timeout carries its deadline while it is open. It is armed like a tick, and at that
instant its actions are over, whatever it is doing: waiting, running, or lost with a runner that nobody has missed yet.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import structlog

from apps.cutting_short import cut_short, plan_of
from apps.scheduler.agenda import Agenda, Entry
from apps.scheduler.clock import Clock
from apps.scheduler.metrics import Metrics
from apps.scheduler.publishing import Publisher
from domain.execution import Execution, Restart
from domain.flow import Plan
from domain.instants import instant
from store.interfaces import Executions, StoreUnavailable, Workflows

log = structlog.get_logger(__name__)

_TRIES = 5  # while a runner writes what it does


class Endings:
    """Cuts executions short and sees to it that the runners hear of it."""

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

    async def give_up(self, execution: Execution, reason: str) -> None:
        """Cut an execution short that has lost too many runners, unless it has gone on since it was read.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        found = await self._executions.get(execution.execution_id)  # with its results: they tell where it stands
        if found is not None and (found.epoch, found.lost) == (execution.epoch, execution.lost):
            _, plan = await self._definition_of(found)
            await self._cut_short(found, plan, Restart.GIVEN_UP, reason)

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
            definition, plan = await self._definition_of(execution)
            if await self._cut_short(execution, plan, Restart.TIMED_OUT, _why_late(execution, definition, plan)):
                return

    async def _definition_of(self, execution: Execution) -> tuple[Mapping[str, Any], Plan]:
        definition = await self._workflows.get_version(execution.workflow_id, execution.version) or {}
        return definition, plan_of(execution, definition)

    async def _cut_short(self, execution: Execution, plan: Plan, why: Restart, reason: str) -> bool:
        found = await cut_short(self._executions, execution, plan, why, reason, instant(self._clock()))
        if found is None:
            return False
        self._metrics.restarts.labels(why.value if execution.is_at_actions else f"handlers-{why.value}").inc()
        log.warning(
            "cut short", execution_id=found.execution_id, workflow_id=found.workflow_id, reason=reason,
            status=found.status.value,
        )  # fmt: skip
        if found.status.is_open:
            await self._publisher.request(found)
        else:
            await self._tell(found)
        return True

    async def _tell(self, ended: Execution) -> None:
        if await self._publisher.ended(ended):
            await self._executions.told([ended.execution_id])


def _why_late(execution: Execution, definition: Mapping[str, Any], plan: Plan) -> str:
    """Return why an execution is cut short at its deadline, for people."""
    # When it was created says nothing: under an Idempotency-Key that may be hours before it was accepted.
    late = f"timed out after {definition['timeout']}" if "timeout" in definition else "timed out"
    if execution.is_at_actions:
        return late
    name, _ = plan.list_of(execution.step_index)
    cut = execution.cut_short
    if cut is not None and cut.why is Restart.TIMED_OUT:
        return f"{late}, and so did {name}"
    return f"{name} {late}" if cut is None else f"{cut.reason}; {name} {late}"
