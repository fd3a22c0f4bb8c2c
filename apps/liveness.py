"""Notices when this process can go on no longer, and has it started anew.

Two things befall consumers that nothing raises for:

- They stop. After a broker outage a Faust consumer may read nothing more, without a word. So every few seconds the place
  that this worker has read to is compared with the end of each of its partitions, asked for on a connection of its own.
  Where records lie beyond it for a whole window and not one is read in all that time, ``/health`` answers 503. An idle
  partition is never behind; while Kafka or the database is away, or the service says that it is full, that is excused.
- Kafka is another one. When its data are gone (a lost disk, a new cluster), topics, groups and offsets are gone too, and
  neither the consumers nor the tables of a living process can be brought in line. What matters is in MongoDB: the
  topics are made anew, and the process stops as it does on SIGTERM, so that its supervisor starts it afresh.

A stalled process, too, stops in that way once it has been stalled for another window. One that does not even manage to stop
is ended.
"""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog
from aiokafka import TopicPartition
from aiokafka.errors import KafkaError
from faust.types import TP
from mode import Service

from events.provision import ensure_topics
from events.topics import ALL
from store.interfaces import StoreError

if TYPE_CHECKING:
    from apps.service import ServiceApp

log = structlog.get_logger(__name__)

NAMES = frozenset(spec.name for spec in ALL)
ASK_TIMEOUT = 10.0
STOP_TIMEOUT = 10.0  # seconds until a process that was told to stop is ended, beside what its work may take to finish


@dataclass(frozen=True)
class Reach:
    """How far one partition has been read, and how far it goes."""

    position: int  # of the next record to read
    end: int

    @property
    def is_behind(self) -> bool:
        """Whether there is something to read."""
        return self.position < self.end


class Progress:
    """Judges from what it is shown, now and then, whether anything is being read."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._since: dict[TP, tuple[int, float]] = {}  # position of one that is behind, and since when it is there

    def look(self, reaches: Mapping[TP, Reach], now: float) -> None:
        """Take note of the partitions of this worker at the monotonic instant ``now``."""
        before, self._since = self._since, {}
        for tp, reach in reaches.items():
            if reach.is_behind:
                position, since = before.get(tp, (reach.position, now))
                self._since[tp] = (position, since) if position == reach.position else (reach.position, now)

    def forgive(self) -> None:
        """Begin anew: nothing could have been read."""
        self._since = {}

    def stalled(self, now: float) -> dict[TP, float]:
        """Return the partitions that stand still, and for how many seconds."""
        return {tp: now - since for tp, (_, since) in self._since.items() if now - since >= self.window}


class Liveness(Service):
    """Looks, and has the process stopped where it cannot go on."""

    def __init__(self, app: "ServiceApp", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.app = app
        self.progress = Progress(app.settings.stall_after)
        self.problem: str | None = None
        self._cluster: str | None = None
        self._stopping = False

    @Service.task
    async def _look(self) -> None:
        while not self.should_stop:
            await self.sleep(self.app.settings.liveness_interval)
            try:
                await asyncio.wait_for(self._look_once(), ASK_TIMEOUT)
            except (KafkaError, OSError, asyncio.TimeoutError) as error:
                self.progress.forgive()
                log.warning("kafka does not answer", error=str(error) or type(error).__name__)
            except Exception:  # whatever it is, it must not end the service that it looks after
                log.exception("liveness not judged")

    async def _look_once(self) -> None:
        cluster, topics = await self._kafka()
        if self._cluster is None:
            self._cluster = cluster
        if cluster != self._cluster or not topics >= self._topics():
            await self._start_over(cluster, self._topics() - topics)
            return
        if self.app.producer_only:
            return
        self.progress.look(await self._reaches(), time.monotonic())
        stalled = self.progress.stalled(time.monotonic())
        if stalled and (self.app.is_full() or not await self._database_answers()):
            self.progress.forgive()
            stalled = {}
        self._judge(stalled)

    def _judge(self, stalled: Mapping[TP, float]) -> None:
        if not stalled:
            self.problem = None
            return
        tp, seconds = max(stalled.items(), key=lambda item: item[1])
        self.problem = f"nothing read of {tp.topic}[{tp.partition}] for {seconds:.0f} s, though there are records"
        log.error("consumer stalled", topic=tp.topic, partition=tp.partition, seconds=round(seconds))
        if seconds >= 2 * self.app.settings.stall_after:
            self.give_up("its consumer has stopped reading")

    async def _start_over(self, cluster: str, missing: frozenset[str]) -> None:
        log.error(
            "kafka's data are gone; making the topics anew",
            cluster=cluster,
            cluster_before=self._cluster,
            missing=sorted(missing),
        )
        await ensure_topics(
            self.app.kafka,
            replication_factor=self.app.settings.kafka_replication_factor,
            changelogs=sorted(self._topics() - NAMES),
        )
        self._cluster = cluster
        if not self.app.producer_only:
            self.give_up("Kafka's data are gone")

    def give_up(self, why: str) -> None:
        """Stop this process, so that its supervisor starts it anew."""
        if self._stopping:
            return
        self._stopping = True
        self.problem = f"stopping: {why}"
        log.critical("stopping to be started anew", why=why)
        watchdog = threading.Timer(self.app.stop_grace + STOP_TIMEOUT, os._exit, args=(70,))
        watchdog.daemon = True
        watchdog.start()
        os.kill(os.getpid(), signal.SIGTERM)

    # -- asking ---------------------------------------------------------------------------------------------------------

    def _topics(self) -> frozenset[str]:
        return NAMES | {table.changelog_topic.get_topic_name() for table in self.app.tables.values()}

    async def _kafka(self) -> tuple[str, frozenset[str]]:
        admin = self.app.kafka.admin()
        await admin.start()
        try:
            return str((await admin.describe_cluster())["cluster_id"]), frozenset(await admin.list_topics())
        finally:
            await admin.close()

    async def _reaches(self) -> dict[TP, Reach]:
        if self.app.rebalancing or self.app.in_recovery:
            return {}
        ours: Any = self.app.consumer
        partitions = [tp for tp in ours.assignment() if tp.topic in NAMES]
        if not partitions:
            return {}
        asked = [TopicPartition(tp.topic, tp.partition) for tp in partitions]
        consumer = self.app.kafka.consumer()
        await consumer.start()
        try:
            begins, ends = await consumer.beginning_offsets(asked), await consumer.end_offsets(asked)
        finally:
            await consumer.stop()
        reaches = {}
        for tp, there in zip(partitions, asked, strict=True):
            read = ours._read_offset[tp]  # Faust has no public name for it
            reaches[tp] = Reach(position=begins[there] if read is None else max(read + 1, begins[there]), end=ends[there])
        return reaches

    async def _database_answers(self) -> bool:
        try:
            await self.app.store.ping()
        except StoreError:
            return False
        return True
