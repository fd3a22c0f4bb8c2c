"""Live updates: what happens, told to whoever watches, while it happens.

The feed reads the event topics as everybody else does, from their end on, without a consumer group: nothing is committed,
and however many API processes there are, each tells its own watchers everything. It reads only while somebody watches, and
for ``LINGER`` seconds longer, so that a watcher whose connection broke finds what it missed.

Each watcher has a queue of ``QUEUE`` updates. One that reads too slowly loses the oldest and is told so (``gap``): then it
reads from the API what it shows. The same is told to one that comes back too late, or to another process, with the
``Last-Event-ID`` of what it saw last.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from apps.workflows import representations
from domain.execution import AWAITING, Status
from domain.instants import instant
from events.folding import result_transition
from events.records import ActionResult, Event, ExecutionEnded, ExecutionRequest, WakeUp, WorkflowChanged
from events.topics import ACTION_RESULT, EXECUTION, PARTITIONS, SCHEDULE
from events.wire import Decoder, Malformed, json_bytes

log = structlog.get_logger(__name__)

TOPICS: Final = (EXECUTION, ACTION_RESULT, SCHEDULE)
QUEUE: Final = 500
KEPT: Final = 5_000  # updates that a returning watcher can be told
MOST_KEPT_BYTES: Final = 10_000_000  # of JSON of all of them: what is logged may make one of 40 kB
LINGER: Final = 30.0  # seconds
RETRY_DELAY: Final = 1.0
LONGEST_TEXT: Final = 2_000  # of a log line or a reason; the API has it in full
MOST_LINES: Final = 20


@dataclass(frozen=True)
class Update:
    """Something happened."""

    number: int
    name: str  # of the event
    workflow_id: str
    execution_id: str | None
    data: dict[str, Any]
    written: bytes  # the data, with what it is of, as watchers are told it


def describe(event: Event) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the content of the update that an event is; None where nobody needs to know."""
    if isinstance(event, ExecutionRequest):
        return _requested(event)
    if isinstance(event, ActionResult):
        return "action-result", _result(event)
    if isinstance(event, ExecutionEnded):
        return "execution-ended", {
            "status": event.ended,
            "finishedAt": representations.instant(instant(event.at)),
            "reason": _short(event.reason),
            "reference": event.reference,
        }
    if isinstance(event, WorkflowChanged):
        return "workflow-changed", {"version": event.version}
    if isinstance(event, WakeUp):
        return "wake-up", {"nextAttemptAt": representations.instant(instant(event.wake_at))}
    return None


def _requested(event: ExecutionRequest) -> tuple[str, dict[str, Any]] | None:
    if event.epoch < 1 or event.execution_id is None:
        return None  # published by hand: it is admitted first, and published again
    return "execution-requested", {
        "status": Status.PENDING.shown,
        "version": event.version,
        "cause": event.cause,
        "attempt": event.attempt,
        "retriesLeft": event.retries_left,
        "totalActions": event.total_actions,
        "createdAt": _instant(event.created_at),
        "dueAt": _instant(event.due_at),
        "requestedAt": _instant(event.requested_at),
        "originId": event.origin_id,
        "reference": event.reference,
        "epoch": event.epoch,
    }


def _result(event: ActionResult) -> dict[str, Any]:
    awaited = result_transition(event).outcome.awaited if event.status == AWAITING else None
    return {
        "status": Status(event.execution_status).shown,
        "version": event.version,
        "attempt": event.attempt,
        "retriesLeft": event.retries_left,
        "totalActions": event.total_actions,
        "nextAttemptAt": _instant(event.wake_at),
        "waitingFor": awaited and representations.waiting_for(awaited),
        "reason": _short(event.reason),
        "epoch": event.epoch,
        "action": {
            "actionId": event.action_id,
            "index": event.index,
            "attempt": event.attempt,
            "status": event.status,
            "startedAt": _instant(event.started_at),
            "finishedAt": _instant(event.finished_at),
            "logs": [_short(line) for line in event.logs[:MOST_LINES]],
            "error": event.error and {"class": event.error.get("class"), "message": _short(event.error.get("message"))},
        },
    }


def _instant(value: Any) -> str | None:
    return representations.instant(instant(value)) if value else None


def _short(text: Any) -> str | None:
    return text if text is None else str(text)[:LONGEST_TEXT]


class Watcher:
    """One who watches: everything, one workflow, or one execution."""

    def __init__(self, workflow_id: str | None, execution_id: str | None) -> None:
        self.workflow_id = workflow_id
        self.execution_id = execution_id
        self.missed = False
        self.closed = False
        self._updates: deque[Update] = deque(maxlen=QUEUE)
        self._wake = asyncio.Event()

    def wants(self, update: Update) -> bool:
        """Tell whether an update is for this watcher."""
        return self.workflow_id in (None, update.workflow_id) and self.execution_id in (None, update.execution_id)

    def put(self, update: Update) -> None:
        """Queue an update."""
        self.missed = self.missed or len(self._updates) == QUEUE
        self._updates.append(update)
        self._wake.set()

    def miss(self) -> None:
        """Say that updates were lost."""
        self.missed = True
        self._wake.set()

    def close(self) -> None:
        """Say that there will be no more."""
        self.closed = True
        self._wake.set()

    async def take(self, seconds: float) -> list[Update]:
        """Return what has come, as soon as there is something; nothing after ``seconds``."""
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._wake.wait(), seconds)
        self._wake.clear()
        updates = list(self._updates)
        self._updates.clear()
        return updates


class LiveFeed:
    """Tells watchers what the topics say; ``consumer`` makes the Kafka consumer."""

    def __init__(self, consumer: Callable[[], AIOKafkaConsumer], *, linger: float = LINGER) -> None:
        self._consumer = consumer
        self._linger = linger
        self._decoders = {spec.name: Decoder(*spec.records) for spec in TOPICS}
        self._watchers: set[Watcher] = set()
        self._kept: deque[Update] = deque()
        self._kept_bytes = 0
        self._number = 0
        self._session = ""  # changes whenever updates may have been missed
        self._task: asyncio.Task[None] | None = None
        self._idle: asyncio.TimerHandle | None = None
        self.positioned = asyncio.Event()  # reading: what happens from now on is told
        self.closed = False

    @asynccontextmanager
    async def watch(
        self, workflow_id: str | None = None, execution_id: str | None = None, last_id: str | None = None
    ) -> AsyncIterator[Watcher]:
        """Watch; ``last_id`` is the :meth:`id_of` what was seen last, if anything."""
        watcher = Watcher(workflow_id, execution_id)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._read())
        if last_id is not None:
            self._resume(watcher, last_id)
        self._watchers.add(watcher)
        if self.closed:
            watcher.close()
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            if not self._watchers and not self.closed:
                self._idle = asyncio.get_running_loop().call_later(self._linger, self._stop)

    def id_of(self, update: Update | None) -> str:
        """Return what a watcher sends as ``Last-Event-ID`` after ``update``, or after nothing."""
        return f"{self._session}-{update.number if update else self._number}"

    async def close(self) -> None:
        """End every watch, and the reading."""
        self.closed = True
        for watcher in self._watchers:
            watcher.close()
        task = self._task
        self._stop()
        if task is not None:
            with suppress(asyncio.CancelledError):
                await task

    def _resume(self, watcher: Watcher, last_id: str) -> None:
        session, _, number = last_id.rpartition("-")
        known = session == self._session and number.isascii() and number.isdigit()
        oldest = self._kept[0].number if self._kept else self._number + 1
        if not known or int(number[:18]) + 1 < oldest:
            watcher.miss()
            return
        for update in self._kept:
            if update.number > int(number[:18]) and watcher.wants(update):
                watcher.put(update)

    def _stop(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.positioned.clear()
        self._session = ""
        self._forget_kept()

    async def _read(self) -> None:
        while True:
            try:
                await self._read_on()
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                log.warning("live updates are interrupted", error=str(error) or type(error).__name__)
            except Exception:
                log.exception("live updates are interrupted")
            self.positioned.clear()
            await asyncio.sleep(RETRY_DELAY)

    async def _read_on(self) -> None:
        consumer = self._consumer()
        try:
            await consumer.start()
            partitions = [TopicPartition(spec.name, number) for spec in TOPICS for number in range(PARTITIONS)]
            consumer.assign(partitions)
            await consumer.seek_to_end(*partitions)
            # Those who watched before the reading began, or while it was interrupted, have missed what happened meanwhile.
            self._session = f"{id(consumer):x}{asyncio.get_running_loop().time():.3f}".replace(".", "")
            self._forget_kept()
            self.positioned.set()
            for watcher in self._watchers:
                watcher.miss()
            while True:
                batches = await consumer.getmany(timeout_ms=1_000, max_records=1_000)
                for tp, records in batches.items():
                    for record in records:
                        self._tell(self._decoders[tp.topic](record.value))
                # Thousands of records at once must not keep the API from answering.
                await asyncio.sleep(0)
        finally:
            with suppress(Exception):
                await consumer.stop()

    def _tell(self, event: Event | Malformed) -> None:
        if isinstance(event, Malformed):
            return  # dead-lettered by whoever it was meant for
        try:
            described = describe(event)
        except ValueError:
            return  # a status of a later version
        if described is None:
            return
        name, data = described
        self._number += 1
        execution_id = getattr(event, "execution_id", None)
        written = json_bytes({"workflowId": event.workflow_id, "executionId": execution_id, **data})
        update = Update(self._number, name, event.workflow_id, execution_id, data, written)
        self._keep(update)
        for watcher in self._watchers:
            if watcher.wants(update):
                watcher.put(update)

    def _keep(self, update: Update) -> None:
        self._kept.append(update)
        self._kept_bytes += len(update.written)
        while len(self._kept) > KEPT or self._kept_bytes > MOST_KEPT_BYTES:
            self._kept_bytes -= len(self._kept.popleft().written)

    def _forget_kept(self) -> None:
        self._kept.clear()
        self._kept_bytes = 0
