"""Subscriptions: reads the topics that workflows are subscribed to, and hands each record to :mod:`apps.runner.arrivals`.

Life cycle: every runner looks into the store, every few seconds, which subscriptions there are. For each whose topic is
there it has one reader: a consumer in the subscription's own group, so that the runners share the partitions, no workflow
waits for another one, and Kafka's tools tell how far each is. A reader whose subscription is over leaves its group.

Where nothing is committed for a partition yet, it is begun at the first record since the subscription, or at its beginning,
and that place is committed at once. From then on it is read in order, and committed behind what is admitted durably or is a
dead letter. A runner that dies in between leaves the rest to the others, which find admitted what was.

A partition in which Kafka's client cannot read on is let alone for a while, and then asked for again; what comes before that
is taken, and the other partitions are read meanwhile. Passed over is nothing: the disk of another broker may have it whole.

How many records lie behind that place is told for each partition that is read here. While records wait for their place,
what comes behind them is not fetched, and so the end of the partition is asked for.
"""

import asyncio
from collections import Counter
from collections.abc import Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any, Final

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaError,
    NoOffsetForPartitionError,
    OffsetOutOfRangeError,
)
from mode import Service

from apps.runner.arrivals import Arrivals, Outcome, Unsubscribed
from domain.instants import to_millis, written
from domain.subscription import Subscribed
from events.batches import UnreadableBatch
from events.broker import Broker, Inquiries, close
from events.transport import commit_as_member_only
from store.interfaces import StoreUnavailable, Workflows

log = structlog.get_logger(__name__)

INTERVAL: Final = 2.0  # seconds between two looks
ASK_TIMEOUT: Final = 10.0
_COMMIT_INTERVAL: Final = 1.0  # seconds
_LAST_COMMIT_TIMEOUT: Final = 1.0  # what is not committed when it stops is found admitted
_PAUSE: Final = 2.0  # seconds until a topic is read again after something went wrong
_UNREADABLE_PAUSE: Final = 5.0  # seconds until a partition is read again in which that could not go on
_AT_ONCE: Final = 100  # records
_ENDS_INTERVAL: Final = 10.0  # seconds between two questions where the partitions end
_FOREVER_MS: Final = 2**31 - 1


class Subscriptions(Service):
    """Sees to it that each subscription has its reader."""

    def __init__(
        self, workflows: Workflows, *, arrivals: Arrivals, broker: Broker, session_timeout: float, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self._workflows = workflows
        self._arrivals = arrivals
        self._broker = broker
        self._session_timeout = session_timeout
        self._inquiries = Inquiries(broker)
        self._readers: dict[Subscribed, tuple[Reader, asyncio.Task[None]]] = {}
        self._awaited: set[Subscribed] = set()  # whose topic is not there yet

    @property
    def readers(self) -> "Sequence[Reader]":
        """Those that read now."""
        return [reader for reader, _ in self._readers.values()]

    @Service.task
    async def _keep_looking(self) -> None:
        while True:
            await self.sleep(INTERVAL)
            if self.should_stop:
                return  # it is woken by that, and would begin anew what is left
            try:
                await self.look()
            except (StoreUnavailable, KafkaError, OSError, asyncio.TimeoutError) as error:
                log.warning("subscriptions not looked for", error=str(error) or type(error).__name__)

    async def look(self) -> None:
        """Look once.

        Raises:
            StoreUnavailable: the store cannot be reached.
            aiokafka.errors.KafkaError, OSError, asyncio.TimeoutError: Kafka cannot.
        """
        wanted = set(await self._workflows.subscribed())
        over = {each for each, (_, reading) in self._readers.items() if each not in wanted or reading.done()}
        await self._leave(over)
        self._awaited &= wanted
        new = wanted - self._readers.keys()
        if not new:
            return
        topics = await asyncio.wait_for(self._inquiries.ask(_topics), ASK_TIMEOUT)
        if self.should_stop:
            return
        for each in new:
            if each.topic in topics:
                self._awaited.discard(each)
                reader = Reader(each, self._arrivals, self._broker, self._session_timeout)
                self._readers[each] = reader, asyncio.get_running_loop().create_task(reader.read())
            elif each not in self._awaited:
                self._awaited.add(each)
                log.warning(
                    "waiting for a topic: it is not there, or this service may not read it",
                    topic=each.topic,
                    workflow_id=each.workflow_id,
                )
        if not self._awaited:
            await self._inquiries.close()  # it may be long until there is another subscription

    async def on_stop(self) -> None:
        await self._leave(set(self._readers))
        await self._arrivals.settle()
        await self._inquiries.close()

    async def _leave(self, over: set[Subscribed]) -> None:
        left = [self._readers.pop(each)[1] for each in over]
        for reading in left:
            reading.cancel()
        await asyncio.gather(*left, return_exceptions=True)


class Reader:
    """Reads for one subscription, and tells how far it is."""

    def __init__(self, subscribed: Subscribed, arrivals: Arrivals, broker: Broker, session_timeout: float) -> None:
        self.subscribed = subscribed
        self.lags: dict[int, int] = {}  # by partition: records that are neither started nor dead letters yet
        self.unreadable: dict[int, UnreadableBatch] = {}  # by partition, where it stands still
        self.outcomes = Counter(dict.fromkeys(Outcome, 0))
        self._arrivals = arrivals
        self._broker = broker
        self._session_timeout_ms = round(session_timeout * 1000)
        self._done: dict[TopicPartition, int] = {}  # the next offset of each partition, to be committed
        self._member: tuple[int, str] | None = None  # of the group, as which that was read
        self._in_hand: dict[TopicPartition, int] = {}  # the next offset of those whose records are being taken
        self._ends: dict[TopicPartition, int] = {}  # as far as they were asked for
        self._ends_asked_at = 0.0
        self._unreadable_until = 0.0  # when what cannot be read is asked for again
        self._log = log.bind(workflow_id=subscribed.workflow_id, topic=subscribed.topic, group=subscribed.group)

    async def read(self) -> None:
        """Read until the subscription is over."""
        while True:
            try:
                await self._read()
            except Unsubscribed as error:
                self._log.info("subscription is over", why=str(error))
                return
            except Exception as error:  # the broker is away, or refuses: a record it cannot be
                self._log.warning("topic not read; trying again", error=str(error) or type(error).__name__)
            await asyncio.sleep(_PAUSE)

    async def _read(self) -> None:
        consumer = self._broker.consumer(
            self.subscribed.topic,
            group_id=self.subscribed.group,
            auto_offset_reset="none",
            isolation_level="read_committed",
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=round(self._session_timeout_ms / 3.5),
            # A record may wait for its place for days; that this process is alive, its heartbeats tell.
            max_poll_interval_ms=_FOREVER_MS,
            metadata_max_age_ms=60_000,  # by which new partitions are found
        )
        self._done, self._in_hand, self._ends = {}, {}, {}
        try:
            await consumer.start()
            commit_as_member_only(consumer._coordinator)
            self._log.info("reading a topic")
            while True:
                await self._read_some(consumer)
        finally:
            with suppress(KafkaError, asyncio.TimeoutError):
                await asyncio.wait_for(self._commit(consumer), _LAST_COMMIT_TIMEOUT)
            await self._measure(consumer)
            await close(consumer)

    async def _read_some(self, consumer: AIOKafkaConsumer) -> None:
        if (paused := consumer.paused()) and asyncio.get_running_loop().time() >= self._unreadable_until:
            consumer.resume(*paused)
        try:
            found = await consumer.getmany(timeout_ms=1000, max_records=_AT_ONCE)
        except NoOffsetForPartitionError as error:
            await self._begin(consumer, error.args[0])
            return
        except OffsetOutOfRangeError as error:
            for tp, offset in error.args[0].items():
                await self._go_on(consumer, tp, offset)
            return
        except UnreadableBatch as error:
            await self._let_alone(consumer, error)
            return
        self._member = _member(consumer)
        self._in_hand = {tp: records[0].offset for tp, records in found.items()}
        taking = asyncio.get_running_loop().create_task(
            _all_of(self._take(consumer, tp, records) for tp, records in found.items())
        )
        try:
            while not taking.done():
                await asyncio.wait({taking}, timeout=_COMMIT_INTERVAL)
                await self._commit(consumer)
                await self._ask_ends(consumer)
                await self._measure(consumer)
            taking.result()
        finally:
            taking.cancel()
            await asyncio.gather(taking, return_exceptions=True)
        self._in_hand = {}
        await self._measure(consumer)

    async def _take(self, consumer: AIOKafkaConsumer, tp: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        taken = 0
        while taken < len(records) and _member(consumer) == self._member:  # else whoever has it now is given them again
            outcomes = await self._arrivals.take(self.subscribed, records[taken:])
            self.outcomes.update(outcomes)
            taken += len(outcomes)
            self._done[tp] = self._in_hand[tp] = records[taken - 1].offset + 1

    async def _commit(self, consumer: AIOKafkaConsumer) -> None:
        done, self._done = self._done, {}
        # As another member it may be of another log: of a broker that has lost its data, where a record waited meanwhile.
        if not done or _member(consumer) != self._member:
            return
        try:
            await consumer.commit(done)
        except (CommitFailedError, IllegalGenerationError, IllegalStateError) as error:
            # The partitions are being shared out anew: what is delivered again is found admitted.
            self._log.info("not committed", error=str(error) or type(error).__name__)

    async def _ask_ends(self, consumer: AIOKafkaConsumer) -> None:
        asked = self._in_hand.keys() & consumer.assignment()
        now = asyncio.get_running_loop().time()
        if not asked or now < self._ends_asked_at + _ENDS_INTERVAL:
            return
        self._ends_asked_at = now
        with suppress(KafkaError, asyncio.TimeoutError):
            self._ends = await asyncio.wait_for(consumer.end_offsets(asked), ASK_TIMEOUT)

    async def _measure(self, consumer: AIOKafkaConsumer) -> None:
        """Note how far behind the partitions are that are read here, and which of them still stand still."""
        lags: dict[int, int] = {}
        unreadable: dict[int, UnreadableBatch] = {}
        for tp in consumer.assignment():
            fetched_end = consumer.highwater(tp)
            if fetched_end is not None:
                end = max(fetched_end, self._ends.get(tp, 0))
                # What is not given to anybody (it was taken back, say) is passed by the position alone.
                place = self._in_hand[tp] if tp in self._in_hand else await consumer.position(tp)
                lags[tp.partition] = max(0, end - place)
                if tp.partition in self.unreadable and place <= self.unreadable[tp.partition].offset:
                    unreadable[tp.partition] = self.unreadable[tp.partition]
        self.lags, self.unreadable = lags, unreadable

    async def _begin(self, consumer: AIOKafkaConsumer, tp: TopicPartition) -> None:
        """Go to where a partition begins of which nothing is committed yet, and commit that."""
        self._member = _member(consumer)
        if self.subscribed.is_from_earliest:
            place = (await consumer.beginning_offsets([tp]))[tp]
        else:
            # The end is asked for first: what is appended between the two questions is not passed over.
            end = (await consumer.end_offsets([tp]))[tp]
            found = (await consumer.offsets_for_times({tp: to_millis(self.subscribed.since)}))[tp]
            place = end if found is None else found.offset
        self._seek(consumer, tp, place)
        self._done[tp] = place
        await self._commit(consumer)
        self._log.info("beginning a partition", partition=tp.partition, offset=place, since=written(self.subscribed.since))

    async def _go_on(self, consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> None:
        """Go to the beginning of what is left of a partition, where the record to be read next is not there."""
        first = (await consumer.beginning_offsets([tp]))[tp]
        if offset < first:
            self._log.error(
                "records were gone before they were read",
                partition=tp.partition,
                at=offset,
                first=first,
                lost=first - offset,
            )
        else:
            self._log.warning("committed beyond the end; reading from the beginning", partition=tp.partition, at=offset)
        self._seek(consumer, tp, first)

    async def _let_alone(self, consumer: AIOKafkaConsumer, error: UnreadableBatch) -> None:
        """Read the other partitions for a while, each from where it was committed.

        What aiokafka had in hand of them, it drops when it raises. All that it gave before is done and committed.
        """
        tp = error.partition
        known = self.unreadable.get(tp.partition)
        if known is None or known.offset != error.offset:
            self._log.error(
                "a partition stands still: its next batch cannot be read",
                partition=tp.partition,
                offset=error.offset,
                following=error.following,
                error=str(error.why) or type(error.why).__name__,
            )
        self.unreadable[tp.partition] = error
        self._unreadable_until = asyncio.get_running_loop().time() + _UNREADABLE_PAUSE
        with suppress(IllegalStateError):  # it was taken away meanwhile
            consumer.pause(tp)
        for other in consumer.assignment() - {tp}:
            place = await consumer.committed(other)
            if place is not None:
                self._seek(consumer, other, place)

    def _seek(self, consumer: AIOKafkaConsumer, tp: TopicPartition, offset: int) -> None:
        self._ends.pop(tp, None)
        with suppress(IllegalStateError):  # it was taken away meanwhile
            consumer.seek(tp, offset)


def _member(consumer: AIOKafkaConsumer) -> tuple[int, str]:
    return consumer._coordinator.generation, consumer._coordinator.member_id


async def _all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Do all of it at once; where one fails, or this is cancelled, the others do not go on."""
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _topics(admin: AIOKafkaAdminClient, _: AIOKafkaConsumer) -> frozenset[str]:
    return frozenset(await admin.list_topics())
