"""Where a consumer begins when its partitions are assigned, and that it passes nothing over."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError
from faust.transport.consumer import Consumer as FaustConsumer
from faust.transport.utils import DefaultSchedulingStrategy

from events.transport import Consumer, ConsumerThread

A, B, C, D = (TopicPartition("workflow.execution", number) for number in range(4))
CHANGELOG = TopicPartition("runner-busy-changelog", 0)


class Kafka:
    """A consumer of the driver's."""

    def __init__(self):
        self.committed = {A: 17, B: 17, C: None, D: 0, CHANGELOG: None}
        self.ends = {A: 17, B: 5}
        self.sought = {}

    async def seek_to_committed(self):
        return dict(self.committed)

    async def end_offsets(self, partitions):
        return {tp: self.ends[tp] for tp in partitions}

    async def beginning_offsets(self, partitions):
        return {tp: 3 if tp == D else 0 for tp in partitions}

    def seek(self, tp, offset):
        self.sought[tp] = offset


async def test_what_is_not_committed_or_beyond_the_end_is_read_from_the_beginning():
    """Faust drops records below what it takes for committed; aiokafka stays where it is when nothing is committed."""
    thread = ConsumerThread.__new__(ConsumerThread)
    thread._consumer = kafka = Kafka()
    thread.app = SimpleNamespace(tables=SimpleNamespace(changelog_topics={CHANGELOG.topic}))
    assert await thread._seek_to_committed() == {A: 17, B: 0, C: 0, D: 3, CHANGELOG: 0}
    assert kafka.sought == {B: 0, C: 0, D: 3}


class Log:
    """A log that is read on from a position; some offsets hold no record."""

    def __init__(self, consumer, offsets):
        self.consumer, self.offsets, self.position = consumer, offsets, 0
        self.went_back = []

    async def fetch(self):
        batch = [offset for offset in self.offsets if offset >= self.position]
        self.position = self.offsets[-1] + 1
        return {A: [SimpleNamespace(offset=offset) for offset in batch]}, {A}

    async def go_back(self, tp, offset):
        self.went_back.append(offset)
        self.position = offset


@pytest.fixture
def consumer(monkeypatch):
    """A consumer of which the records are numbers of their partitions."""
    monkeypatch.setattr(Consumer, "should_stop", False)
    monkeypatch.setattr(Consumer, "highwater", lambda self, tp: 9)
    monkeypatch.setattr(Consumer, "_to_message", lambda self, tp, record: record)
    found = Consumer.__new__(Consumer)
    found._holes, found._buffered_partitions = {}, set()
    found.scheduler = DefaultSchedulingStrategy()
    found.ends = []
    found.app = SimpleNamespace(
        consumer_generation_id=1,
        monitor=SimpleNamespace(track_tp_end_offset=lambda *end: found.ends.append(end)),
        topics=SimpleNamespace(),
    )
    return found


@pytest.fixture
def reading(consumer):
    consumer._next = {A: 0}
    log = Log(consumer, list(range(6)))
    consumer._thread = log
    consumer._wait_next_records = lambda timeout: log.fetch()

    async def read():
        return [message.offset async for _, message in consumer.getmany(1.0)]

    return log, read


async def test_what_was_passed_over_is_read_all_the_same(reading):
    log, read = reading
    log.position = 2  # two records were fetched, and dropped on their way
    assert await read() == []
    assert await read() == [0, 1, 2, 3, 4, 5]
    assert log.went_back == [0]


async def test_where_no_record_is_the_reading_goes_on(reading):
    """The markers of a producer's transactions are in the log, and are no records."""
    log, read = reading
    log.offsets = [0, 1, 3, 6]
    assert await read() == [0, 1]
    assert await read() == [3]
    assert await read() == [6]
    assert log.went_back == [2, 4]


@pytest.mark.parametrize(
    ("sought", "is_acknowledged", "went_back", "found"),
    [
        (None, True, [0], []),
        (1, True, [1], []),
        (2, True, [3], [2]),
        (None, False, [], [2, 4]),
    ],
    ids=["to the beginning", "to what is committed", "to what comes first", "in a changelog, which has holes"],
)
async def test_what_comes_first_is_what_was_sought(reading, monkeypatch, sought, is_acknowledged, went_back, found):
    log, read = reading

    async def seek(self):
        self._read_offset = {A: sought}

    monkeypatch.setattr(FaustConsumer, "perform_seek", seek)
    monkeypatch.setattr(Consumer, "stop_flow", lambda self: None)
    log.consumer.app.topics.acks_enabled_for = lambda topic: is_acknowledged
    await log.consumer.perform_seek()
    log.offsets = [2, 4]
    assert await read() == found
    assert log.went_back == went_back


def fetched(**partitions):
    """What was fetched, by partition, and that all of them are active."""
    records = {globals()[name]: [SimpleNamespace(offset=each) for each in found] for name, found in partitions.items()}
    return lambda timeout: asyncio.sleep(0, (records, set(records)))


async def test_what_was_passed_over_in_one_partition_holds_up_no_other(consumer):
    consumer._next = {A: 0, B: 0}
    consumer._thread = log = Log(consumer, [])
    consumer._wait_next_records = fetched(A=[2, 3, 4], B=[0, 1])
    assert [(tp, record.offset) async for tp, record in consumer.getmany(1.0)] == [(B, 0), (B, 1)]
    assert log.went_back == [0]
    assert sorted(consumer.ends) == [(A, 9), (B, 9)], "the lag is told of each, once for a fetch"


@pytest.mark.parametrize("what", ["stop_flow", "another generation", "pause"])
async def test_nothing_more_is_handed_on_of_what_was_fetched_before_a_rebalance(consumer, what):
    consumer._next = {}
    consumer.can_resume_flow, consumer.suspend_flow = asyncio.Event(), asyncio.Event()
    consumer._active_partitions, consumer._paused_partitions = {A}, set()
    records = {A: [SimpleNamespace(offset=each) for each in (0, 1, 2)]}
    consumer._wait_next_records = lambda timeout: asyncio.sleep(0, (records, consumer._active_partitions))
    found = []
    async for _, record in consumer.getmany(1.0):
        found.append(record.offset)
        if what == "stop_flow":
            consumer.stop_flow()
        elif what == "pause":
            consumer._active_partitions.discard(A)
        else:
            consumer.app.consumer_generation_id += 1
    assert found == [0]


async def test_what_was_fetched_while_nothing_flows_is_sought_again(consumer, monkeypatch):
    sought = []

    async def seek(self):
        sought.append(True)
        raise IllegalStateError("it was taken away")

    monkeypatch.setattr(Consumer, "perform_seek", seek)
    consumer.flow_active = False
    consumer._wait_next_records = fetched(A=[0])
    assert [record async for _, record in consumer.getmany(1.0)] == []
    assert sought


@pytest.mark.parametrize("is_assigned", [True, False], ids=["that is ours", "that was taken away meanwhile"])
async def test_a_partition_is_read_again_from_an_offset(is_assigned):
    kafka, thread = Kafka(), ConsumerThread.__new__(ConsumerThread)

    def seek(tp, offset):
        if not is_assigned:
            raise IllegalStateError(f"no {tp}")
        kafka.sought[tp] = offset

    kafka.seek = seek
    thread._consumer = kafka
    await thread._go_back(A, 7)
    assert kafka.sought == ({A: 7} if is_assigned else {})
