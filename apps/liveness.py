"""Notices when this process can go on no longer, and has it started anew.

Things befall consumers that nothing raises for:

- They stop. After a broker outage a Faust consumer may read nothing more, without a word; or it reads on and what it has
  read is never acknowledged; or a rebalance, or the recovery of its tables, never ends. So every few seconds this is looked
  at: the place that this worker has read to, beside the end of each of its partitions, asked for on a connection of its own;
  the offset that is committed, where there is something to commit; how far the recovery is. What has something to do, and
  does not move for a whole window, makes ``/health`` answer 503. An idle partition is never behind; while Kafka or the
  database is away, or the service says that it is full, that is excused.
- Kafka is another one. When its data are gone (a lost disk, a new cluster, deleted topics), or it is an older state of
  itself (a backup), then neither the consumers nor the tables of a living process can be brought in line. What matters is
  in MongoDB: topics that are missing are made anew, and the process stops as it does on SIGTERM, but fails, so that its
  supervisor starts it afresh.
- The event loop is blocked, by an action that never lets go of it, say. A thread notices that the loop does not turn, and
  ends the process: it could not stop by itself.

A stalled process, too, stops once it has been stalled for another window. One that does not even manage to stop is ended;
so is one that stops because of an error that nobody foresaw.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import IllegalStateError, KafkaError
from faust.types import TP
from mode import Service

from events.broker import Inquiries
from events.topics import ALL
from store.interfaces import StoreError

if TYPE_CHECKING:
    from apps.service import ServiceApp

log = structlog.get_logger(__name__)

NAMES = frozenset(spec.name for spec in ALL)
ASK_TIMEOUT = 10.0
STOP_TIMEOUT = 10.0  # seconds until a process that fails is ended if it does not stop, beside what its work may take
LOOP_LOOK = 1.0  # seconds between two looks at the event loop
EXIT_CODE = 70

_DONE = {"read": "read", "acknowledge": "acknowledged", "settle": "settled"}


@dataclass(frozen=True)
class Reach:
    """How far one partition has been read and acknowledged, and how far it goes."""

    position: int  # of the next record to read
    end: int
    committed: int | None = None
    is_pending: bool = False  # whether something that was read waits to be acknowledged, or committed


Task = tuple[str, TP | None]


def tasks(reaches: Mapping[TP, Reach]) -> dict[Task, object]:
    """Return what there is to do, and how far each of it is."""
    found: dict[Task, object] = {}
    for tp, reach in reaches.items():
        if reach.position < reach.end:
            found["read", tp] = reach.position
        if reach.is_pending:
            found["acknowledge", tp] = reach.committed
    return found


class Progress:
    """Judges from what it is shown, now and then, whether anything that is to be done is being done."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._since: dict[Task, tuple[object, float]] = {}  # how far each is, and since when

    def look(self, tasks: Mapping[Task, object], now: float) -> None:
        """Take note of what there is to do at the monotonic instant ``now``, and how far it is."""
        before, self._since = self._since, {}
        for task, state in tasks.items():
            known, since = before.get(task, (state, now))
            self._since[task] = (state, since if known == state else now)

    def forgive(self) -> None:
        """Begin anew: nothing could have been done."""
        self._since = {}

    def stalled(self, now: float) -> dict[Task, float]:
        """Return what stands still, and for how many seconds."""
        return {task: now - since for task, (_, since) in self._since.items() if now - since >= self.window}


class LoopWatch:
    """Ends the process when its event loop does not turn for ``limit`` seconds.

    It counts its own looks rather than the time: a process that was suspended as a whole is not to blame.
    """

    def __init__(self, limit: float, *, end: Callable[[], None]) -> None:
        self._most = max(2, round(limit / LOOP_LOOK))
        self._end = end
        self._turned = True
        self._misses = 0
        self._over = threading.Event()

    def turn(self) -> None:
        """Say, in the loop, that it turns."""
        self._turned = True

    def look(self) -> None:
        """Look once, from elsewhere."""
        self._misses = 0 if self._turned else self._misses + 1
        self._turned = False
        if self._misses >= self._most:
            self._end()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Look on, in a thread, until :meth:`stop`; each look asks the loop to say by the next one that it turns."""

        def keep_looking() -> None:
            while not self._over.wait(LOOP_LOOK):
                self.look()
                with suppress(RuntimeError):  # it is closed
                    loop.call_soon_threadsafe(self.turn)

        threading.Thread(target=keep_looking, name="loop-watch", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()


class Liveness(Service):
    """Looks, and has the process stopped where it cannot go on."""

    def __init__(self, app: "ServiceApp", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app
        self._inquiries = Inquiries(app.kafka)
        self.progress = Progress(app.settings.stall_after)
        self.loop_watch = LoopWatch(2 * app.settings.stall_after, end=_end_blocked)
        self.problem: str | None = None
        self._cluster: str | None = None
        self._ends: dict[TP, int] = {}
        self.has_given_up = False
        self._watchdog: threading.Timer | None = None

    async def on_start(self) -> None:
        self.loop_watch.start(asyncio.get_running_loop())

    async def on_stop(self) -> None:
        self.loop_watch.stop()
        await self._inquiries.close()

    @Service.task
    async def _look(self) -> None:
        while True:
            await self.sleep(self.app.settings.liveness_interval)
            if self._is_stopping:
                return  # it is woken by that, and there may be no consumer any more
            try:
                await asyncio.wait_for(self._look_once(), ASK_TIMEOUT)
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                self.progress.forgive()
                log.warning("kafka does not answer", error=str(error) or type(error).__name__)
            except Exception:  # whatever it is, it must not end the service that it looks after
                if not self._is_stopping:
                    log.exception("liveness not judged")

    @property
    def _is_stopping(self) -> bool:
        return self.should_stop or self.has_given_up or bool(self.app.should_stop)

    async def _look_once(self) -> None:
        cluster, topics = await self._kafka()
        if self._cluster is None:
            self._cluster = cluster
        if cluster != self._cluster or not topics >= self._topics():
            await self._start_over(cluster, self._topics() - topics)
            return
        if self.app.producer_only:
            return
        if self.app.rebalancing or self.app.in_recovery:
            # It may take its time, as long as it goes on.
            tables: Any = self.app.tables
            restored = sum(offset or 0 for offset in tables.recovery.active_offsets.values())  # None: not looked up yet
            self.progress.look({("settle", None): (self.app.in_recovery, restored)}, time.monotonic())
        else:
            reaches = await self._reaches()
            ends = {tp: reach.end for tp, reach in reaches.items()}
            shrunk = [tp for tp, end in ends.items() if end < self._ends.get(tp, 0)]
            self._ends |= ends  # also of those that are with another worker for a while
            if shrunk:
                log.error("kafka's log is shorter than it was", partitions=[f"{tp.topic}[{tp.partition}]" for tp in shrunk])
                self.give_up("Kafka is an older state of itself")
                return
            self.progress.look(tasks(reaches), time.monotonic())
        stalled = self.progress.stalled(time.monotonic())
        if stalled and (self.app.is_full() or not await self._database_answers()):
            self.progress.forgive()
            stalled = {}
        self._judge(stalled)

    def _judge(self, stalled: Mapping[Task, float]) -> None:
        if not stalled:
            self.problem = None
            return
        (task, tp), seconds = max(stalled.items(), key=lambda item: item[1])
        place = "" if tp is None else f" of {tp.topic}[{tp.partition}]"
        self.problem = f"nothing {_DONE[task]}{place} for {seconds:.0f} s, though there is something to {task}"
        log.error("consumer stalled", problem=self.problem)
        if seconds >= 2 * self.app.settings.stall_after:
            self.give_up(self.problem)

    async def _start_over(self, cluster: str, missing: frozenset[str]) -> None:
        why = f"topics are gone: {', '.join(sorted(missing))}" if cluster == self._cluster else "Kafka is another one"
        log.error(
            "kafka's data are gone; making the topics that are missing anew",
            cluster=cluster,
            cluster_before=self._cluster,
            missing=sorted(missing),
        )
        await self.app.ensure_topics()
        self._cluster = cluster
        if not self.app.producer_only:
            self.give_up(why)

    def give_up(self, why: str) -> None:
        """Stop this process, which then ends with ``EXIT_CODE``, so that its supervisor starts it anew."""
        if self.has_given_up:
            return
        self.has_given_up = True
        self.problem = f"stopping: {why}"
        log.critical("stopping to be started anew", why=why)
        self.end_unless_stopped()
        os.kill(os.getpid(), signal.SIGTERM)

    def end_unless_stopped(self) -> None:
        """Have this process ended, should it not have stopped by itself in time: something may wait in it for ever."""
        if self._watchdog is None:
            self._watchdog = threading.Timer(self.app.stop_grace + STOP_TIMEOUT, _end_stuck)
            self._watchdog.daemon = True
            self._watchdog.start()

    # -- asking ---------------------------------------------------------------------------------------------------------

    def _topics(self) -> frozenset[str]:
        return NAMES | self.app.changelogs

    async def _kafka(self) -> tuple[str, frozenset[str]]:
        async def find(admin: AIOKafkaAdminClient, _: AIOKafkaConsumer) -> tuple[str, frozenset[str]]:
            return str((await admin.describe_cluster())["cluster_id"]), frozenset(await admin.list_topics())

        return await self._inquiries.ask(find)

    async def _reaches(self) -> dict[TP, Reach]:
        ours: Any = self.app.consumer
        partitions = [tp for tp in ours.assignment() if tp.topic in NAMES]
        if not partitions:
            return {}
        asked = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        ends = await self._inquiries.ask(lambda _, consumer: consumer.end_offsets(asked))
        positions = await self._positions(frozenset(partitions))
        # Faust has no public names for what it has yet to commit.
        pending = {message.tp for message in list(ours._unacked_messages)} | {tp for tp in partitions if ours._acked.get(tp)}
        return {
            tp: Reach(
                position=positions.get(tp, 0),
                end=ends[there],
                committed=ours._committed_offset.get(tp),
                is_pending=tp in pending,
            )
            for tp, there in zip(partitions, asked, strict=True)
        }

    async def _positions(self, partitions: frozenset[TP]) -> dict[TP, int]:
        """Return how far our own consumer has read, or nothing where it does not even answer."""
        ours: Any = self.app.consumer
        try:
            # The position also passes what holds no record, such as the markers of transactions.
            found: dict[TP, int] = await asyncio.wait_for(ours.positions(partitions), ASK_TIMEOUT / 2)
        except (asyncio.TimeoutError, IllegalStateError):  # the latter where a rebalance has taken them away meanwhile
            return {}
        return found

    async def _database_answers(self) -> bool:
        try:
            await self.app.store.ping()
        except StoreError:
            return False
        return True


def _end_stuck() -> None:
    log.critical("did not stop in time; ending this process, to be started anew")
    os._exit(EXIT_CODE)


def _end_blocked() -> None:
    log.critical("the event loop is blocked; ending this process, to be started anew")
    os._exit(EXIT_CODE)
