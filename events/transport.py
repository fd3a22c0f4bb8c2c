"""Faust's aiokafka driver, as it has to be for nothing to be late or lost.

The driver hard-codes ``fetch_max_wait_ms=1500``, and aiokafka keeps one fetch per broker under way: a partition whose
records were still being consumed when the long poll left is not in it, and its next record waits until that poll returns.
Measured on Apache Kafka 4.1 with 8 partitions: p99 from trigger to finish 250 ms with 1500, 25 ms with 30; below about
10 ms nothing was consumed at all. So the wait is a setting of the app; while every partition is asked for, nothing can be
late, and the poll is a longer one (:func:`wait_longer_while_idle`).

What else is otherwise than in Faust concerns rebalances: what is fetched, sought and acknowledged around one. Each is told
where it is done.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Set
from contextlib import suppress
from types import coroutine
from typing import Any, ClassVar

import aiokafka
import structlog
from aiokafka.consumer.fetcher import Fetcher
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import IllegalGenerationError, IllegalStateError
from faust.transport.consumer import ensure_TPset
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message
from mode.services import Service, WaitResults
from mode.threads import QueueServiceThread

from events import batches, connection
from events.broker import answered, bounded, close
from events.producer import Producer

batches.use()
connection.use()

log = structlog.get_logger(__name__)

IDLE_WAIT_MS = 1000


class _Active:
    """The partitions that are to be fetched from at each moment; true even where there are none."""

    def __init__(self, partitions: Set[TP], consumer: Any) -> None:
        self._partitions = partitions
        self._consumer = consumer

    def __contains__(self, tp: TP) -> bool:
        return self._consumer.flow_active and tp in self._partitions


def wait_longer_while_idle(fetcher: Fetcher, is_active: Callable[[TP], bool]) -> None:
    """Have ``fetcher`` wait for :data:`IDLE_WAIT_MS` where no active partition has records that are still to be consumed.

    Such a poll is for all of them, and ends with the first record of any. Short ones were four fifths of the CPU time of an
    idle runner. Not longer: a seek takes effect only when the poll under way is over. Nor does the fetcher look for what is
    to be asked for more often meanwhile; it is woken when there is something.
    """
    actions, wait_ms, look_s = fetcher._get_actions_per_node, fetcher._fetch_max_wait_ms, fetcher._fetcher_timeout

    def actions_with_wait(assignment: Any) -> Any:
        is_idle = not any(is_active(tp) for tp in fetcher._records)
        fetcher._fetch_max_wait_ms = max(wait_ms, IDLE_WAIT_MS) if is_idle else wait_ms
        fetcher._fetcher_timeout = max(look_s, IDLE_WAIT_MS / 1000) if is_idle else look_s
        return actions(assignment)

    fetcher._get_actions_per_node = actions_with_wait


def commit_as_member_only(coordinator: GroupCoordinator) -> None:
    """Have ``coordinator`` commit only while it is a member of its group, and only for the assignment that it is asked for.

    One that the broker no longer knows forgets its generation, and aiokafka sends what is to be committed all the same, and
    again after every failure: as somebody outside of any group, or under the generation that it has joined meanwhile. The
    former is accepted where the group has no members yet: the places in a log that is gone were committed to the one of a
    broker that had lost its data, and what was published there below them was skipped, and so lost.
    """
    commit = coordinator._do_commit_offsets

    async def commit_as_member(assignment: Any, offsets: Any) -> None:
        if coordinator.generation < 0 or not assignment.active:
            raise IllegalGenerationError("not a member of the group any more")
        await commit(assignment, offsets)

    coordinator._do_commit_offsets = commit_as_member


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Creates the aiokafka consumer with ``app.fetch_wait_ms``."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        # Read by AIOKafkaConsumer.start(), which makes the fetcher; there is no public way past the driver's constant.
        consumer._fetch_max_wait_ms = self.app.fetch_wait_ms  # type: ignore[attr-defined]
        return consumer

    async def _keepalive2(self) -> None:
        """Wake neither this thread nor the main one: whoever has something for them wakes them.

        Both are woken every second by mode, which took a tenth of the CPU time of an idle service.
        """

    @Service.task
    async def _thread_keepalive(self) -> None:
        """Do nothing; see :meth:`_keepalive2`."""

    async def on_start(self) -> None:
        """Start the consumer."""
        await super().on_start()
        consumer = self._ensure_consumer()
        wait_longer_while_idle(consumer._fetcher, self._is_active)
        coordinator = consumer._coordinator
        if isinstance(coordinator, GroupCoordinator):
            commit_as_member_only(coordinator)

    def _is_active(self, tp: TP) -> bool:
        """Tell whether a partition is read: the changelogs are not, once the tables are recovered, but fetched they are."""
        active: Set[TP] | None = self.consumer._active_partitions
        return active is None or tp in active

    async def seek_to_committed(self) -> dict[TP, int]:
        """Go to where this consumer group has committed to, or to the beginning where that lies beyond the end.

        A broker that has lost the end of its log (an older state of its disk, a leader that was not in sync) may know an
        offset that is yet to come. Faust would drop every record until then, without a word.

        Where nothing is committed yet, aiokafka would stay where it is: what was fetched before, and dropped because nothing
        was to flow, would be passed over. So that begins anew as well.
        """
        offsets: dict[TP, int] = await self.call_thread(self._seek_to_committed)
        return offsets

    async def _seek_to_committed(self) -> dict[TP, int]:
        consumer = self._ensure_consumer()
        offsets = {tp: offset or 0 for tp, offset in (await consumer.seek_to_committed()).items()}
        ends = await consumer.end_offsets([tp for tp, offset in offsets.items() if offset])
        beyond = [tp for tp, end in ends.items() if offsets[tp] > end]
        if beyond:
            log.warning("committed beyond the end; reading from the beginning", partitions=[str(tp) for tp in beyond])
        # The recovery of the tables goes to where it wants to in their changelogs, of which nothing is committed.
        changelogs = self.app.tables.changelog_topics
        anew = beyond + [tp for tp, offset in offsets.items() if not offset and tp.topic not in changelogs]
        if anew:
            offsets.update(await consumer.beginning_offsets(anew))
            for tp in anew:
                consumer.seek(tp, offsets[tp])
        return offsets

    async def go_back(self, tp: TP, offset: int) -> None:
        """Read a partition from ``offset`` on, unless it has been taken away."""
        await self.call_thread(self._go_back, tp, offset)

    async def _go_back(self, tp: TP, offset: int) -> None:
        with suppress(IllegalStateError):
            self._ensure_consumer().seek(tp, offset)

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, unless every partition has been taken away since it was asked for: Faust ends the service over that."""
        if self.assignment().isdisjoint(offsets):
            return False
        return await super()._commit(offsets)

    async def _fetch_records(
        self,
        consumer: aiokafka.AIOKafkaConsumer,
        active_partitions: Set[TP] | None,
        timeout: float | None = None,
        max_records: int | None = None,
    ) -> Any:
        """Fetch from the partitions that are active, while they are and records flow.

        Faust hands aiokafka the set that it keeps of them, and empties it for a rebalance. To aiokafka an empty set means
        all partitions. So a fetch that was under way in a rebalance took the records that the recovery of the tables had
        just sought for; they were dropped, for nothing was to flow, and the recovery waited for them for ever.
        """
        if active_partitions is not None:
            active_partitions = _Active(active_partitions, self.consumer)  # type: ignore[assignment]
        return await super()._fetch_records(consumer, active_partitions, timeout=timeout, max_records=max_records)  # type: ignore[arg-type]

    async def on_thread_stop(self) -> None:
        """Leave the group and close the consumer, but do not wait for a Kafka that is away.

        aiokafka would wait for as long as it is: for its coordinator to be found again, or to answer.
        """
        await QueueServiceThread.on_thread_stop(self)
        if self._consumer is not None:
            await close(self._consumer)

    async def committed_offsets(self, partitions: frozenset[TP]) -> dict[TP, int]:
        """Return the next offset of this consumer group in each partition; 0 where it has committed none."""
        consumer = self._ensure_consumer()
        return {tp: await consumer.committed(tp) or 0 for tp in partitions}

    async def positions(self, partitions: frozenset[TP]) -> dict[TP, int]:
        """Return the offset of the record that is to be fetched next in each partition."""
        consumer = self._ensure_consumer()
        return {tp: await consumer.position(tp) or 0 for tp in partitions}


class RebalanceListener(driver.ConsumerRebalanceListener):
    """Numbers the generations of this consumer by itself: each rebalance begins a new one, and none comes back.

    Kafka's number tells them apart only while its data last. A broker whose data are gone counts from one again, so what was
    fetched before could look as if it were of the present generation: it was taken, and its offset committed to a log that
    is another one. What was published there below that offset was skipped, and so lost. Nor does Faust change the number
    when partitions are taken away: what was acknowledged between that and their assignment stayed, to be committed after it.
    """

    def __init__(self, thread: driver.AIOKafkaConsumerThread) -> None:
        super().__init__(thread)
        self._numbers = itertools.count(1)

    def on_partitions_revoked(self, revoked: Iterable[Any]) -> Awaitable[Any]:
        """End the generation; called by the driver before it joins the group anew."""
        self._thread.app.consumer_generation_id = next(self._numbers)
        return super().on_partitions_revoked(revoked)

    async def on_partitions_assigned(self, assigned: Iterable[Any]) -> None:
        """Begin the next one."""
        generation = next(self._numbers)
        self._thread.app.consumer_generation_id = generation
        await self._thread.on_partitions_assigned(ensure_TPset(assigned), generation)


class Consumer(driver.Consumer):
    """A consumer whose thread is :class:`ConsumerThread`."""

    RebalanceListener: ClassVar[type[driver.ConsumerRebalanceListener]] = RebalanceListener

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._next: dict[TP, int] = {}  # offset of the record that is to be handed on next
        self._holes: dict[TP, tuple[int, int]] = {}  # the last of which is known that nothing is in there: from, to

    async def committed_offsets(self, partitions: frozenset[TP]) -> dict[TP, int]:
        """Return the next offset of this consumer group in each partition."""
        thread: Any = self._thread
        return await answered(thread.call_thread, thread.committed_offsets, partitions)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the end of each partition."""
        return await answered(super().highwaters, *partitions)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Return the beginning of each partition."""
        return await answered(super().earliest_offsets, *partitions)

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Go to what is committed; see :meth:`ConsumerThread.seek_to_committed`."""
        return await answered(super().seek_to_committed)

    async def positions(self, partitions: frozenset[TP]) -> dict[TP, int]:
        """Return the offset of the record that is to be fetched next in each partition.

        Raises:
            aiokafka.errors.IllegalStateError: one of them has been taken away.
        """
        offsets: dict[TP, int] = await self._thread.call_thread(self._thread.positions, partitions)  # type: ignore[attr-defined]
        return offsets

    async def perform_seek(self) -> None:
        """Seek to what is committed, while nothing flows; whoever asks for it resumes the flow afterwards.

        Faust lets records flow as it seeks, at the end of a recovery. What was fetched right behind the seek of its
        partition was thrown away with the queues of the streams when the flow was resumed, and the next record was taken for
        one behind a gap, which counts as acknowledged: what was published while a runner was suspended could be lost.
        """
        self.stop_flow()
        await super().perform_seek()
        self._next = {
            tp: offset or 0 for tp, offset in self._read_offset.items() if self.app.topics.acks_enabled_for(tp.topic)
        }

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Yield records in order, without one missing.

        Faust drops records in many places, when partitions come and go or nothing is to flow, and counts on a seek to what
        is committed; what is missing in front of a record, it takes for acknowledged. Should any be passed over all the
        same, the reading goes back there. Where nothing is on second sight either (a marker of a transaction), it goes on.

        This is in place of Faust's own, which asks for the end of the partition with each of its records.
        """
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if records is None or self.should_stop:
            return
        if not self.flow_active:
            await self._seek_while_stopped()
            return
        seen: set[TP] = set()
        behind: set[TP] = set()
        for tp, record in self.scheduler.iterate(records):
            if not self.flow_active or self.app.consumer_generation_id != generation:
                break
            if active is not None and tp not in active and tp not in self._buffered_partitions:
                continue
            if tp not in seen:
                seen.add(tp)
                self.app.monitor.track_tp_end_offset(tp, self.highwater(tp))
            if tp in behind:
                continue
            expected = self._next.get(tp)
            if expected is not None and record.offset > expected and self._holes.get(tp) != (expected, record.offset):
                self._holes[tp] = expected, record.offset
                behind.add(tp)
                log.warning(
                    "records were passed over, or none is there", partition=str(tp), at=expected, found=record.offset
                )
                await self._thread.go_back(tp, expected)  # type: ignore[attr-defined]
                continue
            if expected is not None:
                self._next[tp] = record.offset + 1
            yield tp, self._to_message(tp, record)

    async def _seek_while_stopped(self) -> None:
        try:
            await self.perform_seek()
        except Exception as error:
            log.warning("not sought while nothing flows", error=repr(error))

    def ack(self, message: Any) -> bool:
        """Acknowledge, unless the partitions were assigned anew since the message was fetched.

        Faust acknowledges what it skips because it is of an earlier generation. That offset is delivered again, and would
        count as done before it is: a commit passed records that nobody had taken, which were lost with the next crash.
        """
        if message.generation_id != self.app.consumer_generation_id:
            self._unacked_messages.discard(message)
            return False
        # Faust's sensors hear of it from streams that acknowledge by themselves only.
        self.app.sensors.on_message_out(message.tp, message.offset, message)
        return bool(super().ack(message))

    async def wait_first(self, *coros: Any, timeout: Any = None) -> Any:
        """Wait for the first of several things to happen, which the first of them may do at once.

        Faust hands on each message in a race against the suspension of the flow: four tasks a message, where a message
        waits only for room in a full queue. Here it is begun without any, which spared a runner a tenth of its CPU.
        """
        first, *others = coros
        if not isinstance(first, Coroutine):
            return await super().wait_first(*coros, timeout=timeout)
        try:
            waits_for = first.send(None)
        except BaseException as end:
            for other in others:
                if isinstance(other, Coroutine):
                    other.close()
            if isinstance(end, StopIteration):
                return WaitResults([first], [end.value], False)
            raise
        return await super().wait_first(resumed(first, waits_for), *others, timeout=timeout)

    async def maybe_wait_for_commit_to_finish(self) -> bool:
        """Wait for the commit that is under way, if one is, and tell whether there was one.

        Faust takes it for broken off when whoever waits for it is: it began one more instead, for which a service that was
        told to stop while Kafka was away waited until it was killed.
        """
        under_way = self._commit_fut
        if under_way is None:
            return False
        await asyncio.wait({under_way})
        return not under_way.cancelled()

    async def on_stop(self) -> None:
        """Commit what is done; what cannot be committed now is delivered again, and found done."""
        await bounded("the last commit", super().on_stop())

    @Service.task
    async def _commit_livelock_detector(self) -> None:
        """Leave it to :mod:`apps.liveness`, which judges what is read by what there is to read.

        Faust's look, at each partition in a task of its own, took a tenth of the CPU time of an idle runner.
        """

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)


async def resumed(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Any:
    """Go on with a coroutine that was begun by hand and waits for a future."""
    return await _steps(begun, waits_for)


@coroutine
def _steps(begun: Coroutine[Any, Any, Any], waits_for: Any) -> Generator[Any, Any, Any]:
    while True:
        failure: BaseException | None = None
        sent = None
        try:
            sent = yield waits_for
        except BaseException as error:
            failure = error
        try:
            waits_for = begun.send(sent) if failure is None else begun.throw(failure)
        except StopIteration as end:
            return end.value


class Transport(driver.Transport):
    """The transport of every service."""

    Consumer: ClassVar[Any] = Consumer
    Producer: ClassVar[Any] = Producer
