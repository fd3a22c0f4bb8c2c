"""Decides what becomes of an ``ExecutionRequest``.

- *Not admitted* (epoch 0: published straight to Kafka): see :mod:`apps.runner.foreign`.
- *Certainly new* (first epoch, promptly published, requested after its partition was assigned, and above its end then):
  started at once, without a read; but where it has waited in a backlog, only after a look whether it still stands: it may
  have been cancelled.
- *Doubtful* (everything else): claimed first, by a conditional update that raises the epoch. A stale one finds another epoch
  or a terminal state, and is dropped.

Promptly published is what Kafka appended soon after it was requested. The scheduler counts on that when it judges which
requests got lost and are to be published anew (see :mod:`apps.scheduler.taken`), so no execution starts under two epochs,
however long its request has waited. What was started is remembered here for as long: a producer whose acknowledgement was
lost sends it a second time, and the copy looks certainly new as well.
"""

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from faust.types import TP, EventT, Message, TopicT

from actions.registry import WorkflowDefinition
from actions.running import Resources
from apps.runner.acknowledgement import Aside, OrderedAcks, Ticket, see_to
from apps.runner.attempts import Abandon, Publish, run_attempt
from apps.runner.clock import now
from apps.runner.definitions import Definitions, UnknownVersion
from apps.runner.foreign import ForeignRequests, execution_id_of, stamp
from apps.runner.isolation import Isolation
from apps.runner.metrics import Metrics
from apps.runner.patience import RETRY_DELAY, stubbornly
from apps.runner.positions import Positions
from apps.runner.projection import Followed
from apps.runner.run import Run
from apps.runner.runs import Runs
from apps.runner.startable import NotStartable
from apps.runner.tables import Busy, Tables
from apps.stored_definitions import UnreadableVersion
from domain.execution import Ended, Execution, Status
from domain.identifiers import is_workflow_id
from domain.inputs import BadInput
from domain.instants import instant
from domain.topic import Record
from events.dead_letters import send_dead_letter
from events.folding import requested_execution
from events.records import ExecutionRequest
from events.wire import Malformed
from store.interfaces import Executions

log = structlog.get_logger(__name__)

_REMEMBERED: Final = 20_000  # claims: many times as many as may run at once
_LOG_APPEND_TIME: Final = 1  # in Kafka's protocol


class Intake:
    """Takes requests from the agent."""

    def __init__(
        self,
        *,
        runner: str,
        executions: Executions,
        definitions: Definitions,
        runs: Runs,
        positions: Positions,
        followed: Followed,
        tables: Tables,
        foreign: ForeignRequests,
        dead_letter: TopicT,
        publish_result: Publish,
        resources: Callable[[], Resources],
        abandon: Abandon,
        isolation: Isolation,
        republish_after: float,
        metrics: Metrics,
    ) -> None:
        self.runner = runner
        self.executions = executions
        self.definitions = definitions
        self.runs = runs
        self.positions = positions
        self.followed = followed
        self.tables = tables
        self.foreign = foreign
        self.dead_letter = dead_letter
        self.publish_result = publish_result
        self.resources = resources
        self.abandon = abandon
        self.isolation = isolation
        self.metrics = metrics
        self.acks = OrderedAcks()
        self._soon = timedelta(seconds=republish_after / 2)
        self._started: dict[TP, dict[str, datetime]] = defaultdict(dict)  # taken as certainly new; appended when, in order
        self._claiming: set[tuple[str, int]] = set()  # execution and epoch
        self._claimed: OrderedDict[str, int] = OrderedDict()  # by execution: the epoch that was claimed last, and begun here
        self._aside = Aside(self.refuse)

    async def take(self, event: EventT[Any]) -> None:
        """Take one record; returns when it is under way, so that order and back-pressure hold."""
        if self.runs.draining:
            return  # not acknowledged: the next owner of the partition gets it
        ticket = self.acks.take(event)
        await see_to(ticket, self._take(ticket, event.value), self.refuse)

    async def _take(self, ticket: Ticket, request: Any) -> None:
        if isinstance(request, Malformed):
            await self.refuse(ticket, request.reason)
        elif not is_workflow_id(request.workflow_id):
            await self.refuse(ticket, f"workflow_id: {request.workflow_id[:200]!r} is not a workflow id")
        elif request.epoch != 0 and (request.execution_id is None or request.requested_at is None):
            await self.refuse(ticket, "epoch: is set by the services when they admit an execution; leave it out")
        elif request.epoch == 0:
            await self._take_foreign(ticket, request)
        else:
            await self._take_admitted(ticket, request)

    async def refuse(self, ticket: Ticket, reason: str) -> None:
        """Dead-letter a record that cannot be taken."""
        await self.turn_away(ticket.event.message, reason)
        ticket.finish()

    # -- admitted requests ---------------------------------------------------------------------------------------------

    async def _take_admitted(self, ticket: Ticket, request: ExecutionRequest) -> None:
        await self.positions.settle()
        await self.runs.slot()
        begun = False
        try:
            begun = not self.runs.draining and self._begin(ticket, request)
        finally:
            if not begun:
                self.runs.release()

    def _begin(self, ticket: Ticket, request: ExecutionRequest) -> bool:
        """Start what is certainly new, or begin to look at it; False where there is nothing to do."""
        message = ticket.event.message
        appended_at = _appended_at(message)
        certain = self.positions.take(message.tp, message.offset) and self._is_certainly_new(message, request, appended_at)
        if certain and self._is_started(message.tp, request, appended_at):
            log.info("request was sent twice", execution_id=request.execution_id)
            ticket.finish()
            return False
        definition = self.definitions.cached(request.workflow_id, request.version)
        if certain and definition is not None and self._is_young(request):
            self._start(ticket, requested_execution(request), definition, marked=False)
        else:
            self._aside.see_to(ticket, self._start_carefully(ticket, request, certain))
        return True

    def _is_certainly_new(self, message: Message, request: ExecutionRequest, appended_at: datetime) -> bool:
        return (
            request.epoch == 1
            # What was taken over from another execution stands in the document alone.
            and not request.carried
            and request.requested_at is not None
            and appended_at - (requested_at := instant(request.requested_at)) < self._soon
            and self.positions.is_new(message.tp, message.offset, requested_at)
        )

    def _is_young(self, request: ExecutionRequest) -> bool:
        return request.requested_at is not None and now() - instant(request.requested_at) < self._soon

    def _is_started(self, tp: TP, request: ExecutionRequest, appended_at: datetime) -> bool:
        """Tell whether a certainly new request was taken before, and remember it for as long as a copy would seem new."""
        started = self._started[tp]
        while started and next(iter(started.values())) < appended_at - self._soon:
            del started[next(iter(started))]
        execution_id = request.execution_id or ""
        if execution_id in started:
            return True
        started[execution_id] = appended_at
        return False

    async def _start_carefully(self, ticket: Ticket, request: ExecutionRequest, certain: bool) -> None:
        """Read what is missing, claim what is doubtful, then start; gives the slot back where nothing is started."""
        started = False
        try:
            definition = await stubbornly(lambda: self.definitions.get(request.workflow_id, request.version))
            execution = await (self._as_requested(request) if certain else self._claim(ticket, request))
            if execution is None:
                log.info("request is stale", execution_id=request.execution_id, epoch=request.epoch)
                ticket.finish()
                return
            self._start(ticket, execution, definition, marked=not certain)
            started = True
        except (UnknownVersion, UnreadableVersion) as error:
            await self._end_unstartable(request, str(error))
            await self.refuse(ticket, str(error))
        finally:
            if not started:
                self.runs.release()

    async def _end_unstartable(self, request: ExecutionRequest, reason: str) -> None:
        """End an execution that nobody can start, unless it has gone on since it was requested like this."""
        found = await stubbornly(lambda: self.executions.get(request.execution_id or ""))
        asked = (request.workflow_id, request.version, request.epoch, Status.PENDING)
        if found is not None and (found.workflow_id, found.version, found.epoch, found.status) == asked:
            reason = f"not started: {reason}"
            ended = Ended(found.execution_id, found.workflow_id, Status.FAILED, reason, now(), found.epoch)
            await stubbornly(lambda: self.executions.end(ended))  # the scheduler tells it

    async def _as_requested(self, request: ExecutionRequest) -> Execution | None:
        """Return what is certainly new; None where it is not as it was admitted any more."""
        if not self._is_young(request):
            found = await stubbornly(lambda: self.executions.get(request.execution_id or ""))
            if found is None or (found.epoch, found.status) != (1, Status.PENDING):
                return None
        return requested_execution(request)

    async def _claim(self, ticket: Ticket, request: ExecutionRequest) -> Execution | None:
        """Claim what is doubtful; None where it is stale, or under way here already."""
        await self.positions.caught_up(ticket.event.message.partition)
        execution_id, epoch = request.execution_id or "", request.epoch
        live = self.runs.live.get(execution_id)
        # Under another epoch it is another request: a later one is not to be lost over an old one that is delivered again.
        claiming = (execution_id, epoch)
        if claiming in self._claiming or (live is not None and live.run.epoch >= epoch):
            return None
        asked_before = False

        async def ask() -> Execution | None:
            nonlocal asked_before
            again, asked_before = asked_before, True
            claimed = await self.executions.claim(execution_id, epoch, self.runner, now())
            return await self._claimed_before(execution_id, epoch) if claimed is None and again else claimed

        self._claiming.add(claiming)
        try:
            claimed = await stubbornly(ask)
        finally:
            self._claiming.discard(claiming)
        if claimed is not None:
            self.runs.cancel(execution_id, below_epoch=claimed.epoch)
            self._claimed[execution_id] = claimed.epoch
            self._claimed.move_to_end(execution_id)
            if len(self._claimed) > _REMEMBERED:
                self._claimed.popitem(last=False)
        return claimed

    async def _claimed_before(self, execution_id: str, epoch: int) -> Execution | None:
        """Return the execution where a claim was written although its answer was lost.

        Unless it was begun here: then the same request came before, and what became of it may not be written yet.
        """
        if self._claimed.get(execution_id, 0) > epoch:
            return None
        found = await self.executions.get(execution_id)
        ours = (Status.RUNNING, epoch + 1, self.runner, 0)
        return found if found and (found.status, found.epoch, found.owner, found.seq) == ours else None

    def _start(self, ticket: Ticket, execution: Execution, definition: WorkflowDefinition, *, marked: bool) -> None:
        run = run_of(execution)
        self.followed.begin(execution)
        self.metrics.starts_by("claimed" if marked else "certain").inc()
        self.runs.start_run(
            run,
            lambda: run_attempt(
                run,
                definition,
                runner=self.runner,
                resources=self.resources(),
                publish=self.publish_result,
                intend=self.runs.intend,
                abandon=self.abandon,
                isolation=self.isolation,
            ),
            plan=definition.plan,
            marked=marked,
            show=lambda: self._show(run),
            acknowledge=ticket.finish,
        )

    def _show(self, run: Run) -> None:
        try:
            self.tables.busy[run.workflow_id] = Busy(
                execution_id=run.execution_id, epoch=run.epoch, state="running", since=now()
            )
        except Exception:  # the tables only show; what runs must not depend on them
            log.exception("tables not written", workflow_id=run.workflow_id)

    # -- requests that nobody has admitted -----------------------------------------------------------------------------

    async def _take_foreign(self, ticket: Ticket, request: ExecutionRequest) -> None:
        try:
            execution_id = execution_id_of(ticket.event.message, request)
        except NotStartable as error:
            await self.refuse(ticket, str(error))
            return
        await self.runs.slot()
        self._aside.see_to(ticket, self._admit_foreign(ticket, request, execution_id))

    async def _admit_foreign(self, ticket: Ticket, request: ExecutionRequest, execution_id: str) -> None:
        try:
            await self.foreign.admit(request, execution_id, stamp(ticket.event.message))
            ticket.finish()
        except (NotStartable, UnreadableVersion, BadInput) as error:
            await self.refuse(ticket, str(error))
        finally:
            self.runs.release()

    # -- both ----------------------------------------------------------------------------------------------------------

    async def turn_away(self, message: Record, reason: str) -> None:
        """Publish a record as a dead letter; returns when Kafka has it."""
        await self._publish_dead_letter(message, reason)
        self.metrics.dead_letters.inc()
        log.warning("dead letter", topic=message.topic, offset=message.offset, reason=reason)

    async def _publish_dead_letter(self, message: Record, reason: str) -> None:
        while True:
            try:
                return await asyncio.wait_for(send_dead_letter(self.dead_letter, message, reason), timeout=10)
            except Exception as error:
                log.warning("dead letter not published; trying again", error=str(error) or type(error).__name__)
                await asyncio.sleep(RETRY_DELAY)


def _appended_at(message: Message) -> datetime:
    """Return when a record was appended to its topic, or now where the topic does not tell that."""
    return stamp(message) if message.timestamp_type == _LOG_APPEND_TIME else now()


def run_of(execution: Execution) -> Run:
    """Return what is left to run of an execution that has just been started."""
    recorded = bool(execution.results)
    return Run(
        execution_id=execution.execution_id,
        workflow_id=execution.workflow_id,
        version=execution.version,
        epoch=execution.epoch,
        attempt=execution.attempt,
        retries_left=execution.retries_left,
        resume_index=execution.resume_index if recorded else 0,
        cause=execution.cause.value,
        failures=execution.failures if recorded or execution.restarts else {},
        started_at=execution.started_at or now(),
        recorded=len(execution.results),
        deadline=execution.deadline,
        cut_short=execution.cut_short,
        in_doubt=execution.in_doubt if execution.intents else frozenset(),
        lost=execution.lost,
        created_at=execution.created_at,
        due_at=execution.due_at,
        reference=execution.reference,
        input=execution.input or {},
        outcomes=tuple(execution.ordered_results) if recorded else (),
        triggered_by=execution.triggered_by,
        takes_up=execution.origin_id if execution.takes_up else None,
    )
