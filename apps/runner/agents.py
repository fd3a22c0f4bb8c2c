"""The agents: they decode, hand on, and write the tables."""

from collections.abc import Awaitable, Callable
from typing import Any

import faust
import structlog
from faust.types import EventT

from apps.runner.acknowledgement import Aside, OrderedAcks, Refuse, Ticket, see_to
from apps.runner.intake import Intake
from apps.runner.positions import Positions
from apps.runner.projection import Projection
from apps.runner.runs import Runs
from apps.runner.signals import ForeignSignals
from apps.runner.tables import Busy, Tables
from domain.execution import ActionFinished, Parent, Status
from events.folding import parent_of, result_transition
from events.records import ActionResult, ExecutionEnded
from events.topics import ACTION_RESULT, EXECUTION, SIGNAL
from events.wire import Malformed

log = structlog.get_logger(__name__)


class Results:
    """Folds what comes back into the tables and hands it to the projection."""

    def __init__(
        self,
        *,
        tables: Tables,
        projection: Projection,
        runs: Runs,
        positions: Positions,
        refuse: Refuse,
        announce_end: Callable[[str, int, Parent | None], Awaitable[None]],
        cancel_awaited: Callable[[str], Awaitable[None]],
    ) -> None:
        self.tables = tables
        self.projection = projection
        self.runs = runs
        self.refuse = refuse
        self.announce_end = announce_end
        self.cancel_awaited = cancel_awaited
        self.acks = OrderedAcks(on_ack=positions.written)
        self._aside = Aside(self._refuse)

    async def take(self, event: EventT[Any]) -> None:
        """Take one record."""
        ticket = self.acks.take(event)
        await see_to(ticket, self._take(ticket, event.value), self._refuse)

    async def _take(self, ticket: Ticket, record: Any) -> None:
        if isinstance(record, Malformed):
            await self._refuse(ticket, record.reason)
        elif isinstance(record, ExecutionEnded):
            # Not one of a later epoch: two runners may have had the same record in hand, and one of them skipped it.
            self.runs.cancel(record.execution_id, below_epoch=record.epoch)
            self.projection.followed.forget(record.execution_id)  # no result will end it
            self._show(record.workflow_id, lambda: self._forget(record.workflow_id, record.execution_id))
            await self.announce_end(record.workflow_id, record.version, parent_of(record))
            if record.ended == Status.SKIPPED.value:
                self.projection.add(ticket, None)
            else:  # beside the stream: there may be a thousand
                self._aside.see_to(ticket, self._end_awaited(ticket, record.execution_id))
        elif isinstance(record, ActionResult):
            try:
                result = result_transition(record)
            except (ValueError, OverflowError) as error:
                await self._refuse(ticket, str(error))
                return
            self._show(record.workflow_id, lambda: self._fold(result))
            self.projection.add(ticket, result)

    async def _end_awaited(self, ticket: Ticket, execution_id: str) -> None:
        await self.cancel_awaited(execution_id)
        self.projection.add(ticket, None)

    async def _refuse(self, ticket: Ticket, reason: str) -> None:
        await self.refuse(ticket, reason)
        self.projection.add(ticket, None)

    def _show(self, workflow_id: str, write: Callable[[], None]) -> None:
        """Write the tables, which only show: what is recorded must not depend on them."""
        try:
            write()
        except Exception:
            log.exception("tables not written", workflow_id=workflow_id)

    def _fold(self, result: ActionFinished) -> None:
        """Write the tables, unless the result is of a run that was given up."""
        workflow_id = result.workflow_id
        busy = self._busy(workflow_id)
        if busy is not None and busy.execution_id == result.execution_id and busy.epoch > result.epoch:
            return
        if result.status is Status.WAITING:
            self.tables.busy[workflow_id] = Busy(
                execution_id=result.execution_id,
                epoch=result.epoch,
                state="waiting",
                since=result.outcome.finished_at,
                wake_at=result.wake_at,
            )
            if not result.outcome.is_wait:
                self.tables.retries[workflow_id] = result.outcome.attempt
        elif result.status is not Status.RUNNING:
            self._forget(workflow_id, result.execution_id)

    def _forget(self, workflow_id: str, execution_id: str) -> None:
        busy = self._busy(workflow_id)
        if busy is not None and busy.execution_id == execution_id:
            self.tables.busy.pop(workflow_id)
        if workflow_id in self.tables.retries:
            self.tables.retries.pop(workflow_id)

    def _busy(self, workflow_id: str) -> Busy | None:
        # Most often nobody, for a short run is not shown. Faust counts each value that is asked for, also where none is.
        if workflow_id not in self.tables.busy:
            return None
        busy: Busy = self.tables.busy[workflow_id]
        return busy


def install(app: faust.App, intake: Intake, signals: ForeignSignals, results: Results) -> None:
    """Make the agents of ``app``."""

    @app.agent(EXECUTION.bind(app), name="execution_requests")
    async def execution_requests(stream: Any) -> None:
        """Starts an execution for each request, unless it is stale, overlapping or malformed."""
        async for event in stream.noack().events():
            await intake.take(event)

    @app.agent(SIGNAL.bind(app), name="execution_signals")
    async def execution_signals(stream: Any) -> None:
        """Keeps what executions are told, and wakes those that wait for it."""
        async for event in stream.noack().events():
            await signals.take(event)

    @app.agent(ACTION_RESULT.bind(app), name="action_results")
    async def action_results(stream: Any) -> None:
        """Folds results into the tables and projects them to MongoDB."""
        async for event in stream.noack().events():
            await results.take(event)
