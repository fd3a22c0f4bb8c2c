"""Writes results to MongoDB.

A result is written at once when nothing is being written; whatever arrives during a write forms the next one. A record is
acknowledged to Kafka only after its result is durable, so a crash replays it, and the fence makes the replay harmless. While
the database is away, results wait here and unacknowledged in Kafka. A retry, or an end that others may be queued behind, is
announced to the scheduler only after its result is written: raising the epoch any earlier would turn that result away.

A result after which the run goes on waits for a moment, as the start mark does: most runs are over by then, and all their
results are one write. What this process has started it has also seen from the beginning, so the end of such a run is written
without reading the execution first; the fence (:meth:`store.interfaces.Executions.project`) decides all the same.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog
from mode import Service

from apps.runner.acknowledgement import Refuse, Ticket
from apps.runner.metrics import Metrics
from apps.runner.patience import RETRY_DELAY
from domain.execution import ActionFinished, Ended, Execution, Status, apply
from store.interfaces import Executions, StoreUnavailable, Unstorable

log = structlog.get_logger(__name__)

BATCH = 500
WRITTEN_WITHIN = 2.0  # seconds that published results have to come back and be written
_LONGEST_REASON = 500  # characters
FOLLOWED = 20_000  # executions, the oldest of which are forgotten: results may never come back to this process

Item = tuple[Ticket, ActionFinished | None]


class Followed:
    """Executions that were started here, as their results leave them: what is known of them without a look at MongoDB."""

    def __init__(self) -> None:
        self._executions: OrderedDict[str, Execution] = OrderedDict()

    def begin(self, execution: Execution) -> None:
        """Follow an execution from its start on."""
        self._executions[execution.execution_id] = execution
        if len(self._executions) > FOLLOWED:
            self._executions.popitem(last=False)

    def forget(self, execution_id: str) -> None:
        """Follow an execution no longer: something else than its results has changed it."""
        self._executions.pop(execution_id, None)

    def fold(self, results: Iterable[ActionFinished]) -> dict[str, Execution]:
        """Return those executions that are followed under the epoch of the results, with the results applied.

        One whose results do not follow those that are known is followed no longer: the ones between went to another
        process, which had the partition for a while.
        """
        folded: dict[str, Execution] = {}
        for result in results:
            known = folded.get(result.execution_id) or self._executions.get(result.execution_id)
            if known is None or known.epoch != result.epoch:
                continue
            if result.seq > known.seq + 1:
                folded.pop(result.execution_id, None)
                self.forget(result.execution_id)
            else:
                folded[result.execution_id] = apply(known, result)
        return folded

    def written(self, folded: Mapping[str, Execution]) -> None:
        """Note what MongoDB knows by now."""
        for execution_id, execution in folded.items():
            if execution_id in self._executions:
                self._executions[execution_id] = execution

    def seq(self, execution_id: str) -> int | None:
        """Return the sequence number of the last result that is written; None of an execution that is not followed."""
        known = self._executions.get(execution_id)
        return None if known is None else known.seq


class Projection(Service):
    """The one writer of this process's results."""

    def __init__(
        self,
        executions: Executions,
        *,
        followed: Followed,
        announce: Callable[[ActionFinished, Execution | None], Awaitable[None]],
        recorded: Callable[[str], None],
        refuse: Refuse,
        metrics: Metrics,
        patience: float,
        **kwargs: Any,
    ) -> None:
        """Prepare; a result after which its run goes on waits ``patience`` seconds for the next one.

        ``announce`` is told of each result after which its run does not go on, with the execution where that was followed;
        ``recorded`` of each execution that MongoDB has a result of; ``refuse`` dead-letters what it can never keep.
        """
        super().__init__(**kwargs)
        self.executions = executions
        self.followed = followed
        self.announce = announce
        self.recorded = recorded
        self.refuse = refuse
        self.metrics = metrics
        self.patience = patience
        self._waiting: list[Item] = []
        self._arrived = asyncio.Event()
        self._held: dict[str, list[Item]] = {}
        self._due: deque[tuple[float, str]] = deque()  # loop time
        self._wake: asyncio.TimerHandle | None = None

    def add(self, ticket: Ticket, result: ActionFinished | None) -> None:
        """Take a result that is to be written; its ticket is finished when it is.

        A record that asks for no write (None) waits its turn as well: what is behind it must not seem to be written while
        what is before it is not, nor must the partition seem to be behind for ever where such a record is its last.
        """
        if result is None:
            self._waiting.append((ticket, None))
        elif result.status is Status.RUNNING:
            self._hold(ticket, result)
            return
        else:
            self._release(result.execution_id)
            self._waiting.append((ticket, result))
        self._arrived.set()

    def _hold(self, ticket: Ticket, result: ActionFinished) -> None:
        held = self._held.get(result.execution_id)
        if held is not None:
            held.append((ticket, result))
            return
        self._held[result.execution_id] = [(ticket, result)]
        loop = asyncio.get_running_loop()
        self._due.append((loop.time() + self.patience, result.execution_id))
        if self._wake is None:
            self._wake = loop.call_later(self.patience, self._release_due)

    def _release(self, execution_id: str) -> None:
        self._waiting += self._held.pop(execution_id, ())
        self._arrived.set()

    def _release_due(self) -> None:
        self._wake = None
        loop = asyncio.get_running_loop()
        while self._due:
            due, execution_id = self._due[0]
            # What was released before its time leaves its entry behind, and may be held anew since.
            if execution_id in self._held and due > loop.time():
                self._wake = loop.call_later(due - loop.time(), self._release_due)
                return
            self._due.popleft()
            self._release(execution_id)

    def hurry(self) -> None:
        """Have everything written that waits for company."""
        for execution_id in list(self._held):
            self._release(execution_id)

    async def see_written(self, seqs: Mapping[str, int]) -> None:
        """Wait, for a while at most, until results of runs up to these sequence numbers are written.

        Runs that are to be handed back wait for that: a new epoch would turn the results away, and repeat their actions.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WRITTEN_WITHIN
        while loop.time() < deadline:
            self.hurry()
            known = ((self.followed.seq(execution_id), seq) for execution_id, seq in seqs.items())
            if all(written is None or written >= seq for written, seq in known):
                return
            await asyncio.sleep(0.01)

    @Service.task
    async def _write(self) -> None:
        while not self.should_stop:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            await self._write_batch(batch)

    async def _write_batch(self, batch: list[Item]) -> None:
        results = [result for _, result in batch if result is not None]
        self.metrics.batches.observe(len(batch))
        folded = self.followed.fold(results)
        while True:
            try:
                refused = await self.executions.project(results, folded=folded) if results else frozenset()
                break
            except Unstorable as error:
                await self._write_apart(batch, str(error))
                return
            except StoreUnavailable as error:
                log.warning("results not written; trying again", error=str(error), count=len(batch))
                await self.sleep(RETRY_DELAY)
                if self.should_stop:
                    return
        self.followed.written(folded)
        for ticket, result in batch:
            if result is not None:
                self.recorded(result.execution_id)
                await self._tell(result, folded.get(result.execution_id), is_refused=result.execution_id in refused)
            ticket.finish()

    async def _write_apart(self, batch: list[Item], reason: str) -> None:
        """Write record by record: one of them can never be kept. That one is refused, and its execution ends as failed."""
        if len(batch) > 1:
            for item in batch:
                await self._write_batch([item])
            return
        for ticket, result in batch:
            if result is not None:
                log.error("result cannot be kept", execution_id=result.execution_id, epoch=result.epoch, reason=reason)
                self.followed.forget(result.execution_id)
                ended = Ended(
                    result.execution_id,
                    result.workflow_id,
                    Status.FAILED,
                    f"the result of {result.outcome.action_id} cannot be kept: {reason}"[:_LONGEST_REASON],
                    result.outcome.finished_at,
                    result.epoch,
                )
                if not await self._end(ended):
                    return
            await self.refuse(ticket, reason)

    async def _end(self, ended: Ended) -> bool:
        """End an execution, which the scheduler tells; False where this service stops before that is written."""
        while not self.should_stop:
            try:
                await self.executions.end(ended)
            except StoreUnavailable as error:
                log.warning("execution not ended; trying again", execution_id=ended.execution_id, error=str(error))
                await self.sleep(RETRY_DELAY)
            else:
                return True
        return False

    async def _tell(self, result: ActionFinished, known: Execution | None, *, is_refused: bool) -> None:
        if is_refused:
            self.followed.forget(result.execution_id)
            self.metrics.refused.inc()
            log.info("result turned away", execution_id=result.execution_id, epoch=result.epoch, seq=result.seq)
        elif result.status is not Status.RUNNING:
            self.followed.forget(result.execution_id)
            await self.announce(result, known)
