"""The executions that this process is running.

A certainly new request starts without a word to MongoDB; if it has no final result after a short delay, a start mark
(running, owner) is written, together with those of its neighbours. Until then, or until a result is written, the request is
not acknowledged (:mod:`apps.runner.unrecorded`). A mark that does not apply means that somebody else
started the execution under another epoch: the run is a zombie and is cancelled. When a partition is taken away, the marks
of what runs are written at once, so that its next owner, to whom the request may be delivered again, finds it taken; the
run itself goes on and its results count.

Once a second, and at once when this process wakes from a suspension, what has run for longer than that is compared with
MongoDB: a run whose execution has ended (cancelled, out of time) or moved on to another epoch (this process was given up for
dead) is cancelled, whichever runner holds its partition now.

Stopping: nothing new is started, what runs may finish within the grace period, the rest is cancelled and handed back under
a new epoch, so that another runner resumes it at once rather than when this one's heartbeat has become stale.

A run that breaks off is handed back as well, or given up. In both cases the results that Kafka has of it are written first:
a new epoch would turn them away, and their actions be repeated.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from typing import Any

import faust
import structlog
from mode import Service

from apps.cutting_short import cut_short
from apps.runner.clock import now
from apps.runner.patience import RETRY_DELAY
from apps.runner.projection import WRITTEN_WITHIN
from apps.runner.run import Run
from apps.runner.unrecorded import Unrecorded
from domain.execution import Execution, Restart, Status
from domain.flow import Plan
from store.interfaces import Executions, Started, StoreUnavailable

log = structlog.get_logger(__name__)

LOOK_INTERVAL = 1.0  # seconds; a cancelled run stops within two of them
LOOK_BATCH = 1000
HAND_BACK_TIMEOUT = 5.0  # seconds
RECORDED_WITHIN = 10.0  # seconds after which is looked whether a run is recorded: its results may have gone elsewhere
GIVEN_UP_AFTER = 120.0  # seconds: no result of it can be under way any more
_LONGEST_REASON = 1000  # characters


@dataclass(eq=False)
class LiveRun:
    """A run and its task."""

    run: Run
    show: Callable[[], None]  # writes the table of who is busy
    context: Context
    event: Any  # what asked for it: the context refers to it weakly, and Faust writes no table without
    plan: Plan
    published: int = 0  # sequence number of the last result that Kafka has
    started: float = 0.0  # loop time
    mark_due: float = 0.0  # loop time
    is_over: bool = False  # it is being stopped, because somebody asked for that
    task: "asyncio.Task[None]" = field(init=False)


class Runs(Service):
    """Starts, marks, cancels and drains runs."""

    def __init__(
        self,
        executions: Executions,
        *,
        runner: str,
        limit: int,
        mark_delay: float,
        hand_back: Callable[[Execution], Awaitable[None]],
        tell_ended: Callable[[Execution], Awaitable[None]],
        see_written: Callable[[Mapping[str, int]], Awaitable[None]],
        max_lost_attempts: int,
        **kwargs: Any,
    ) -> None:
        """Prepare; ``see_written`` waits for a while until the results up to a number are written, by execution."""
        super().__init__(**kwargs)
        self.tell_ended = tell_ended
        self.see_written = see_written
        self.max_lost_attempts = max_lost_attempts
        self.executions = executions
        self.runner = runner
        self.mark_delay = mark_delay
        self.hand_back = hand_back
        self.live: dict[str, LiveRun] = {}
        self.unrecorded = Unrecorded()
        self.draining = False
        self._ended: deque[tuple[float, str, int]] = deque()  # of late: loop time, execution, number of its last result
        self._slots = asyncio.Semaphore(limit)
        self._to_mark: deque[LiveRun] = deque()
        self._wake_marker = asyncio.Event()

    async def slot(self) -> None:
        """Wait until one more execution may run; every slot is given back by the run that used it or :meth:`release`."""
        await self._slots.acquire()

    @property
    def is_full(self) -> bool:
        """Whether every slot is taken."""
        return self._slots.locked()

    def release(self) -> None:
        """Give back a slot that no run was started with."""
        self._slots.release()

    def start_run(
        self,
        run: Run,
        body: Callable[[], Awaitable[None]],
        *,
        plan: Plan,
        marked: bool,
        show: Callable[[], None],
        acknowledge: Callable[[], None],
    ) -> None:
        """Run ``body`` in a task of its own, in a slot that the caller has waited for.

        ``acknowledge`` is called once MongoDB knows of the run, at once where it is ``marked``.

        ``show`` writes the table of who is busy, in the context of the event that asked for the run. Like the start mark, it
        is left out for a run that is over before anybody could look: that spares two of three records to Kafka.
        """
        loop = asyncio.get_running_loop()
        live = LiveRun(run, show, copy_context(), faust.current_event(), plan, started=loop.time())
        self.live[run.execution_id] = live
        live.task = loop.create_task(self._keep(live, body))
        if marked:
            self.unrecorded.recorded(run.execution_id)
            acknowledge()
            show()
        else:
            self.unrecorded.add(run.execution_id, acknowledge, live.started)
            live.mark_due = loop.time() + self.mark_delay
            self._to_mark.append(live)
            self._wake_marker.set()

    async def _keep(self, live: LiveRun, body: Callable[[], Awaitable[None]]) -> None:
        try:
            await body()
            self._note_end(live)
        except (asyncio.CancelledError, Exception) as error:
            if live.is_over:
                log.info("run cancelled", execution_id=live.run.execution_id, epoch=live.run.epoch)
            else:
                # Nobody would miss it, for this process lives on: it counts as lost, like one whose runner has died. An
                # action can raise even CancelledError by itself.
                log.error("run broke off", execution_id=live.run.execution_id, epoch=live.run.epoch, exc_info=error)
                await self.see_written({live.run.execution_id: live.published})
                if live.run.lost < self.max_lost_attempts:
                    await self._hand_back(live.run, Restart.LOST)
                else:
                    await self._give_up(
                        live, f"given up: it broke off {live.run.lost + 1} times in a row, at last by {error!r}"
                    )
            if not self.draining:  # what is handed back then is delivered again, in case that fails
                self.unrecorded.recorded(live.run.execution_id)
        finally:
            if self.live.get(live.run.execution_id) is live:
                del self.live[live.run.execution_id]
            self._slots.release()

    def _note_end(self, live: LiveRun) -> None:
        now = asyncio.get_running_loop().time()
        self._ended.append((now, live.run.execution_id, live.published))
        while self._ended[0][0] < now - WRITTEN_WITHIN:
            self._ended.popleft()

    def published(self, execution_id: str, epoch: int, seq: int) -> LiveRun | None:
        """Note that Kafka has a result of a run, and return the run, if it lives here."""
        live = self.live.get(execution_id)
        if live is None or live.run.epoch != epoch:
            return None
        live.published = seq
        return live

    def cancel(self, execution_id: str, *, below_epoch: int | None = None) -> None:
        """Cancel the run of an execution, if it runs here (and, where given, under an epoch below ``below_epoch``)."""
        live = self.live.get(execution_id)
        if live is not None and (below_epoch is None or live.run.epoch < below_epoch):
            self._stop(live)

    def _stop(self, live: LiveRun) -> None:
        live.is_over = True
        live.task.cancel()

    async def intend(self, run: Run, key: str) -> bool:
        """Make it durable that the outcome ``key`` is about to be brought about; False where the run is not current."""
        while True:
            try:
                return await self.executions.intend(run.execution_id, run.epoch, key, self.runner, run.started_at or now())
            except StoreUnavailable as error:
                log.warning("intent not written; trying again", execution_id=run.execution_id, error=str(error))
                await asyncio.sleep(RETRY_DELAY)

    @Service.task
    async def _look_after(self) -> None:
        while not self.should_stop:
            await self.sleep(LOOK_INTERVAL)
            now = asyncio.get_running_loop().time()
            await self.give_up_stale([live for live in self.live.values() if live.started < now - LOOK_INTERVAL])
            await self.look_for_records(now)

    async def give_up_stale(self, lives: Sequence[LiveRun]) -> None:
        """Cancel those of the runs whose execution has ended or moved on. While the database is away, nothing is known."""
        for first in range(0, len(lives), LOOK_BATCH):
            batch = lives[first : first + LOOK_BATCH]
            try:
                states = await self.executions.states([live.run.execution_id for live in batch])
            except StoreUnavailable as error:
                log.warning("runs not looked after", error=str(error), count=len(lives))
                return
            for live in batch:
                epoch, status = states.get(live.run.execution_id, (live.run.epoch, Status.RUNNING))
                if epoch > live.run.epoch or not status.is_open:
                    self._stop_stale(live, status)

    async def look_for_records(self, now: float) -> None:
        """Acknowledge what is recorded without a word to us: it was written by another runner, or before a lost answer."""
        overdue = self.unrecorded.since_before(now - RECORDED_WITHIN)
        ids = [execution_id for execution_id in overdue if execution_id not in self.live][:LOOK_BATCH]
        if not ids:
            return
        try:
            states = await self.executions.states(ids)
        except StoreUnavailable as error:
            log.warning("not looked whether runs are recorded", error=str(error), count=len(ids))
            return
        for execution_id in ids:
            if states.get(execution_id) != (1, Status.PENDING):
                self.unrecorded.recorded(execution_id)
            elif overdue[execution_id] < now - GIVEN_UP_AFTER:
                log.error("run was never recorded; left to the scheduler", execution_id=execution_id)
                self.unrecorded.recorded(execution_id)

    def _stop_stale(self, live: LiveRun, status: Status) -> None:
        if not live.task.done():
            log.info(
                "run is over; stopping it", execution_id=live.run.execution_id, epoch=live.run.epoch, status=status.value
            )
            self._stop(live)

    @Service.task
    async def _mark(self) -> None:
        loop = asyncio.get_running_loop()
        while not self.should_stop:
            self._wake_marker.clear()
            while self._to_mark and self.live.get(self._to_mark[0].run.execution_id) is not self._to_mark[0]:
                self._to_mark.popleft()
            if not self._to_mark:
                await self._wake_marker.wait()
                continue
            wait = self._to_mark[0].mark_due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
                continue
            due = []
            while self._to_mark and self._to_mark[0].mark_due <= loop.time():
                due.append(self._to_mark.popleft())
            await self._write_marks(due)

    async def flush_marks(self) -> None:
        """Mark everything that runs unmarked, now."""
        due = list(self._to_mark)
        self._to_mark.clear()
        await self._write_marks(due)

    async def _write_marks(self, due: Iterable[LiveRun]) -> None:
        running = [live for live in due if self.live.get(live.run.execution_id) is live]
        if not running:
            return
        marks = [
            Started(live.run.execution_id, live.run.epoch, self.runner, live.run.started_at or now()) for live in running
        ]
        try:
            lost = await self.executions.mark_started(marks)
        except StoreUnavailable as error:
            log.warning("start marks not written; trying again", error=str(error), count=len(marks))
            later = asyncio.get_running_loop().time() + RETRY_DELAY
            for live in running:
                live.mark_due = later
            self._to_mark.extend(running)
            self._wake_marker.set()
            return
        for live in running:
            self.unrecorded.recorded(live.run.execution_id)
            if self.live.get(live.run.execution_id) is not live:
                continue
            if live.run.execution_id not in lost:
                live.context.run(live.show)
            else:
                log.warning("execution was started elsewhere; giving it up", execution_id=live.run.execution_id)
                self.cancel(live.run.execution_id)

    async def drain(self, grace: float) -> Sequence[LiveRun]:
        """Let what runs finish within ``grace`` seconds; cancel the rest, and return it to be handed back."""
        self.draining = True
        tasks = [live.task for live in self.live.values()]
        if tasks:
            await asyncio.wait(tasks, timeout=grace)
        left = list(self.live.values())
        for live in left:
            self._stop(live)
        if left:
            await asyncio.wait([live.task for live in left], timeout=1)
        return left

    async def hand_back_all(self, left: Sequence[LiveRun]) -> None:
        """Have others resume what :meth:`drain` has left, once what Kafka has of this runner is written.

        That of what has just ended, too: were it still to be written when this runner counts as dead, because it is not
        started again so soon, its execution would be under another epoch by then, and its last action be repeated.
        """
        since = asyncio.get_running_loop().time() - WRITTEN_WITHIN
        ended = {execution_id: seq for at, execution_id, seq in self._ended if at >= since}
        await self.see_written(ended | {live.run.execution_id: live.published for live in left})
        await asyncio.gather(*(self._hand_back(live.run) for live in left))

    async def _give_up(self, live: LiveRun, reason: str) -> None:
        execution_id = live.run.execution_id
        try:
            found = await self.executions.get(execution_id)
            if found is None or found.epoch != live.run.epoch:
                return  # it was ended, or has gone on, meanwhile
            if found.lost < live.run.lost:
                await self._hand_back(live.run, Restart.LOST)  # a result of this run lies in between
                return
            given_up = await cut_short(self.executions, found, live.plan, Restart.GIVEN_UP, reason[:_LONGEST_REASON], now())
            if given_up is not None and given_up.status.is_open:
                await asyncio.wait_for(self.hand_back(given_up), HAND_BACK_TIMEOUT)
            elif given_up is not None:
                await asyncio.wait_for(self.tell_ended(given_up), HAND_BACK_TIMEOUT)
                await self.executions.told([execution_id])
        except Exception as error:
            # Where it has moved on, the scheduler tells of it; where it has not, it is a stray.
            log.warning("execution not given up", execution_id=execution_id, error=repr(error))

    async def _hand_back(self, run: Run, why: Restart = Restart.HANDED_BACK) -> None:
        try:
            execution = await self.executions.reissue(run.execution_id, run.epoch, now(), why)
            if execution is not None:
                # Not for long: with Kafka away, the scheduler publishes what is pending when it is back.
                await asyncio.wait_for(self.hand_back(execution), HAND_BACK_TIMEOUT)
                log.info("execution handed back", execution_id=run.execution_id, epoch=execution.epoch)
        except Exception as error:
            # The scheduler finds it by our missing heartbeat.
            log.warning("execution not handed back", execution_id=run.execution_id, error=repr(error))
