"""Which topics are read and from where, with Kafka replaced by what it answers."""

import asyncio
from datetime import datetime, timezone
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import CommitFailedError, KafkaConnectionError, NoOffsetForPartitionError, OffsetOutOfRangeError

from apps.runner import subscriptions
from apps.runner.arrivals import Outcome, Unsubscribed
from apps.runner.metrics import SubscriptionCollector
from apps.runner.subscriptions import Reader, Subscriptions
from domain.instants import to_millis
from domain.subscription import Subscribed
from events.batches import UnreadableBatch

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
TP = TopicPartition("orders", 0)
SUBSCRIBED = Subscribed("w", "orders", T0)


class Consumer:
    """A consumer of one partition; ``given`` is what each poll returns or raises, after which it waits for ever."""

    def __init__(self, *given, first=0, end=100, since=None, fetched_end=100):
        self.given = list(given)
        self.first, self.end, self.since = first, end, since
        self.fetched_end = fetched_end
        self.place = 0
        self.assigned = {TP}
        self.commits = []
        self.sought = []
        self.paused_now, self.pauses = set(), []
        self.is_stopped = False
        self.polled_all = asyncio.Event()
        self._coordinator = SimpleNamespace(_do_commit_offsets=None, generation=1, member_id="a")

    async def start(self):
        pass

    async def stop(self):
        self.is_stopped = True

    def assignment(self):
        return frozenset(self.assigned)

    async def getmany(self, **_):
        if not self.given:
            self.polled_all.set()
            await asyncio.Event().wait()
        given = self.given.pop(0)
        if isinstance(given, Exception):
            raise given
        self.place = given[-1].offset + 1
        return {TP: given}

    def highwater(self, tp):
        return self.fetched_end

    async def position(self, tp):
        return self.place

    async def commit(self, offsets):
        self.commits.append(dict(offsets))

    async def committed(self, tp):
        return self.commits[-1][tp] if self.commits else None

    def pause(self, tp):
        self.paused_now.add(tp)
        self.pauses.append(tp)

    def paused(self):
        return self.paused_now

    def resume(self, *partitions):
        self.paused_now = self.paused_now - {*partitions}

    def seek(self, tp, offset):
        self.sought.append((tp, offset))

    async def beginning_offsets(self, partitions):
        return dict.fromkeys(partitions, self.first)

    async def end_offsets(self, partitions):
        self.asked_for_the_end = True
        return dict.fromkeys(partitions, self.end)

    async def offsets_for_times(self, times):
        assert self.asked_for_the_end, "what comes between the questions would be passed over"
        assert times == {TP: to_millis(T0)}
        return {TP: None if self.since is None else SimpleNamespace(offset=self.since)}


class Broker:
    def __init__(self, *consumers):
        self.consumers = list(consumers)
        self.options = []

    def consumer(self, *topics, **options):
        self.options.append((topics, options))
        return self.consumers.pop(0)


class Arrivals:
    """Takes records one by one, or as many at once as it is told."""

    def __init__(self):
        self.taken = []
        self.at_once = 1

    async def take(self, subscribed, records):
        some = [record.offset for record in records[: self.at_once]]
        self.taken += some
        return [Outcome.STARTED] * len(some)

    async def settle(self):
        pass


@pytest.fixture
def arrivals():
    return Arrivals()


@pytest.fixture(autouse=True)
def no_patience(monkeypatch):
    monkeypatch.setattr(subscriptions, "close", lambda consumer: consumer.stop())
    monkeypatch.setattr(subscriptions, "_PAUSE", 0)


def records(*offsets):
    return [SimpleNamespace(offset=offset) for offset in offsets]


async def read(arrivals, *consumers, subscribed=SUBSCRIBED):
    """Read all that the consumers have to give."""
    broker = Broker(*consumers)
    reading = asyncio.ensure_future(Reader(subscribed, arrivals, broker, 10.0).read())
    await consumers[-1].polled_all.wait()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert all(consumer.is_stopped for consumer in consumers)
    return broker


async def test_records_are_taken_in_order_and_committed_behind_them(arrivals):
    consumer = Consumer(records(0, 1, 4), records(5))
    broker = await read(arrivals, consumer)
    assert arrivals.taken == [0, 1, 4, 5]
    assert consumer.commits == [{TP: 5}, {TP: 6}]
    ((topics, options),) = broker.options
    assert (topics, options["group_id"]) == (("orders",), "workflow.w.2026-01-01T00:00:00.000Z")


async def test_those_that_are_taken_at_once_are_committed_together_and_none_is_left_out(arrivals):
    arrivals.at_once = 2
    consumer = Consumer(records(0, 1, 4, 5, 6))
    await read(arrivals, consumer)
    assert arrivals.taken == [0, 1, 4, 5, 6]
    assert consumer.commits == [{TP: 7}]


@pytest.mark.parametrize(
    ("word", "is_from_earliest", "since", "place"),
    [("at the first since then", False, 42, 42), ("at the end", False, None, 100), ("at the beginning", True, 42, 7)],
)
async def test_a_partition_is_begun_and_that_is_committed(arrivals, word, is_from_earliest, since, place):
    consumer = Consumer(NoOffsetForPartitionError(TP), records(place), first=7, since=since)
    await read(arrivals, consumer, subscribed=Subscribed("w", "orders", T0, is_from_earliest))
    assert consumer.sought == [(TP, place)]
    assert consumer.commits == [{TP: place}, {TP: place + 1}]


@pytest.mark.parametrize(
    ("at", "said"),
    [(3, "records were gone before they were read"), (200, "committed beyond the end; reading from the beginning")],
)
async def test_where_the_next_record_is_not_there_it_goes_on_with_what_is_left_and_says_so(arrivals, logs, at, said):
    consumer = Consumer(OffsetOutOfRangeError({TP: at}), records(7), first=7)
    await read(arrivals, consumer)
    assert consumer.sought == [(TP, 7)]
    assert arrivals.taken == [7]
    (line,) = [each for each in logs if each["event"] == said]
    assert line.get("lost") == (4 if at < 7 else None)


@pytest.mark.parametrize("joined", [{"generation": 2}, {"member_id": "b"}], ids=["rebalanced", "of-another-log"])
async def test_what_was_taken_away_meanwhile_is_left_to_whoever_has_it_now(arrivals, joined):
    consumer = Consumer(records(0, 1, 2))
    proper = arrivals.take

    async def take(*args):
        outcome = await proper(*args)
        vars(consumer._coordinator).update(joined)
        return outcome

    arrivals.take = take
    await read(arrivals, consumer)
    assert arrivals.taken == [0]
    assert consumer.commits == []


async def test_a_commit_that_comes_too_late_stops_nothing(arrivals):
    consumer = Consumer(records(0), records(1))

    async def refuse(_):
        raise CommitFailedError

    consumer.commit = refuse
    await read(arrivals, consumer)
    assert arrivals.taken == [0, 1]


async def test_while_a_record_waits_for_its_place_those_before_it_are_committed(arrivals, monkeypatch):
    monkeypatch.setattr(subscriptions, "_COMMIT_INTERVAL", 0.01)
    consumer, committed, place = Consumer(records(0, 1)), asyncio.Event(), asyncio.Event()
    take, commit = arrivals.take, consumer.commit

    async def wait(subscribed, records):
        if records[0].offset == 1:
            await place.wait()
        return await take(subscribed, records)

    async def note(offsets):
        await commit(offsets)
        committed.set()

    arrivals.take, consumer.commit = wait, note
    reading = asyncio.ensure_future(read(arrivals, consumer))
    await committed.wait()
    assert consumer.commits == [{TP: 1}]
    place.set()
    await reading
    assert consumer.commits == [{TP: 1}, {TP: 2}]


async def test_after_any_failure_it_begins_with_another_consumer(arrivals, logs):
    await read(arrivals, Consumer(records(0), KafkaConnectionError("gone")), Consumer(records(1)))
    assert arrivals.taken == [0, 1]
    assert [each["error"] for each in logs if each["event"] == "topic not read; trying again"] == [
        "KafkaConnectionError: gone"
    ]


async def test_it_ends_with_the_subscription_and_commits_what_was_taken(arrivals):
    async def refuse(subscribed, records):
        if records[0].offset == 1:
            raise Unsubscribed("it is archived")
        return [Outcome.STARTED]

    arrivals.take = refuse
    consumer = Consumer(records(0, 1))
    await Reader(SUBSCRIBED, arrivals, Broker(consumer), 10.0).read()
    assert consumer.commits == [{TP: 1}]
    assert consumer.is_stopped


def told(reader):
    """Return what Prometheus is told of a reader."""
    return {
        (sample.name, *list(sample.labels.values())[2:]): sample.value
        for family in SubscriptionCollector(lambda: [reader]).collect()
        for sample in family.samples
        if list(sample.labels.values())[:2] == ["w", "orders"]
    }


async def test_what_is_not_taken_yet_is_told_as_lag_however_far_it_was_fetched(arrivals, monkeypatch):
    monkeypatch.setattr(subscriptions, "_COMMIT_INTERVAL", 0.01)
    monkeypatch.setattr(subscriptions, "_ENDS_INTERVAL", 0)
    consumer, measured, place = Consumer(records(0, 1, 2), end=300), asyncio.Event(), asyncio.Event()
    reader = Reader(SUBSCRIBED, arrivals, Broker(consumer), 10.0)
    take, measure = arrivals.take, reader._measure

    async def wait(subscribed, records):
        if records[0].offset == 1:
            await place.wait()
        return await take(subscribed, records)

    async def note(consumer):
        await measure(consumer)
        measured.set()

    arrivals.take, reader._measure = wait, note
    assert told(reader)["runner_subscription_records_total", "started"] == 0
    reading = asyncio.ensure_future(reader.read())
    await measured.wait()
    assert told(reader)["runner_subscription_lag", "0"] == 299, "what came since is asked for"
    consumer.end = 3
    consumer.fetched_end = 5  # the last two are the marks of a transaction, say, which are passed
    place.set()
    await consumer.polled_all.wait()
    assert told(reader)["runner_subscription_lag", "0"] == 2
    assert told(reader)["runner_subscription_records_total", "started"] == 3
    consumer.assigned.clear()
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not [name for name in told(reader) if name[0] == "runner_subscription_lag"], "another runner tells of it"


async def test_the_lag_of_a_topic_that_cannot_be_read_is_told_meanwhile(arrivals, monkeypatch):
    consumer, proper = Consumer(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no")), asyncio.sleep
    reader, paused = Reader(SUBSCRIBED, arrivals, Broker(consumer), 10.0), asyncio.Event()

    async def pause(_):
        paused.set()
        await proper(3600)

    monkeypatch.setattr(subscriptions.asyncio, "sleep", pause)
    reading = asyncio.ensure_future(reader.read())
    await paused.wait()
    assert told(reader)["runner_subscription_lag", "0"] == 100
    reading.cancel()


async def test_a_partition_that_cannot_be_read_is_let_alone_and_told_until_it_goes_on(arrivals, logs, monkeypatch):
    monkeypatch.setattr(subscriptions, "_UNREADABLE_PAUSE", 0)
    other = TopicPartition("orders", 1)
    stopped = UnreadableBatch(other, 17, 20, ValueError("broken"))
    consumer = Consumer(records(0), stopped, stopped)
    reader = Reader(SUBSCRIBED, arrivals, Broker(consumer), 10.0)
    places = {TP: 1, other: 17}

    async def position(tp):
        return places[tp]

    consumer.assigned, consumer.position = {TP, other}, position
    reading = asyncio.ensure_future(reader.read())
    await consumer.polled_all.wait()
    assert consumer.pauses == [other, other], "it is asked for again"
    assert consumer.sought == [(TP, 1), (TP, 1)], "what was fetched of the other one is dropped"
    assert told(reader)["runner_subscription_unreadable_offset", "1"] == 17
    (line,) = [each for each in logs if each["event"] == "a partition stands still: its next batch cannot be read"]
    assert (line["topic"], line["partition"], line["offset"], line["following"]) == ("orders", 1, 17, 20)
    assert line["error"] == "broken"
    places[other] = 20
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert not [name for name in told(reader) if name[0] == "runner_subscription_unreadable_offset"]


class World:
    """What is subscribed, which topics there are, and which are read."""

    def __init__(self, arrivals, monkeypatch):
        self.wanted, self.topics, self.read = [], set(), []
        monkeypatch.setattr(subscriptions.Reader, "read", self._read)
        self.subscriptions = Subscriptions(self, arrivals=arrivals, broker=Broker(), session_timeout=10.0)
        monkeypatch.setattr(self.subscriptions._inquiries, "ask", self._ask)

    async def subscribed(self):
        return self.wanted

    async def _ask(self, _):
        return self.topics

    async def _read(self):
        self.read.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            self.read.append("over")

    async def look(self):
        await self.subscriptions.look()
        await asyncio.sleep(0)  # what was begun begins


@pytest.fixture
def world(arrivals, monkeypatch):
    return World(arrivals, monkeypatch)


async def test_each_subscription_is_read_once_its_topic_is_there_until_it_is_over(world, logs):
    world.wanted = [SUBSCRIBED]
    await world.look()
    await world.look()
    assert world.read == []
    assert [each["event"] for each in logs] == ["waiting for a topic: it is not there, or this service may not read it"]
    world.topics = {"orders"}
    await world.look()
    await world.look()
    assert world.read == ["begun"]
    world.wanted = [SUBSCRIBED, Subscribed("x", "orders", T0)]
    await world.look()
    assert world.read == ["begun", "begun"]
    world.wanted = world.wanted[1:]
    await world.look()
    assert world.read == ["begun", "begun", "over"]
    await world.subscriptions.on_stop()
    assert world.read == ["begun", "begun", "over", "over"]


async def test_a_runner_that_is_stopped_looks_no_more(world, monkeypatch):
    looked = []

    async def stopped_meanwhile(_):
        world.subscriptions._stopped.set()

    async def look():
        looked.append("again")

    monkeypatch.setattr(world.subscriptions, "sleep", stopped_meanwhile)
    monkeypatch.setattr(world.subscriptions, "look", look)
    await Subscriptions._keep_looking(world.subscriptions)
    assert not looked
