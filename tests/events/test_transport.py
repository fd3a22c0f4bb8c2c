"""What the transport does otherwise than Faust's own."""

import asyncio
from contextlib import nullcontext
from types import SimpleNamespace
from unittest.mock import AsyncMock, Mock

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer.fetcher import Fetcher, FetchResult
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import (
    CommitFailedError,
    IllegalGenerationError,
    IllegalStateError,
    KafkaTimeoutError,
    NodeNotReadyError,
)
from faust.transport.drivers import aiokafka as driver
from faust.types import TP
from mode import Service

from events import broker
from events.transport import IDLE_WAIT_MS, Consumer, ConsumerThread, commit_as_member_only, wait_longer_while_idle


@pytest.fixture
async def waiting():
    service = Consumer.__new__(Consumer)
    Service.__init__(service)
    service._stopped.clear()
    return service


async def done(value):
    return value


async def test_what_is_done_at_once_needs_no_task(waiting, monkeypatch):
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "create_task", lambda *_, **__: pytest.fail("a task was made"))
    results = await waiting.wait_first(done("here"), asyncio.Event().wait())
    assert (results.done[0].cr_frame, results.results, results.stopped) == (None, ["here"], False)


async def test_what_has_to_wait_goes_on_where_it_was(waiting):
    room, steps = asyncio.Event(), []

    async def hand_on():
        steps.append("begun")
        await room.wait()
        steps.append("room")
        await asyncio.sleep(0)
        return "done"

    suspended = asyncio.Event()
    asyncio.get_running_loop().call_soon(room.set)
    results = await waiting.wait_first(hand_on(), suspended.wait())
    assert (steps, results.results) == (["begun", "room"], ["done"])


async def test_a_suspended_flow_wins_and_what_waited_is_cancelled(waiting):
    suspended, seen = asyncio.Event(), []

    async def hand_on():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    asyncio.get_running_loop().call_soon(suspended.set)
    results = await waiting.wait_first(hand_on(), suspended.wait())
    await asyncio.sleep(0)
    assert (results.results, seen) == ([True], ["cancelled"])


@pytest.mark.parametrize("late", [False, True])
async def test_what_fails_is_raised(waiting, late):
    async def hand_on():
        if late:
            await asyncio.sleep(0)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await waiting.wait_first(hand_on(), asyncio.Event().wait())


async def test_an_event_of_an_earlier_generation_is_not_acknowledged(waiting):
    told = []
    waiting.app = SimpleNamespace(
        consumer_generation_id=2, sensors=SimpleNamespace(on_message_out=lambda *arguments: told.append(arguments))
    )
    message = Mock(generation_id=1)
    waiting._unacked_messages = {message}
    assert waiting.ack(message) is False
    assert (waiting._unacked_messages, told) == (set(), [])


async def test_one_of_this_generation_is(waiting, monkeypatch):
    told, acknowledged = [], []
    waiting.app = SimpleNamespace(
        consumer_generation_id=2, sensors=SimpleNamespace(on_message_out=lambda *arguments: told.append(arguments))
    )
    monkeypatch.setattr(driver.Consumer, "ack", lambda self, message: acknowledged.append(message) or True)
    message = Mock(generation_id=2)
    waiting._unacked_messages = {message}
    assert waiting.ack(message) is True
    assert (acknowledged, told) == ([message], [(message.tp, message.offset, message)])


async def test_each_rebalance_begins_a_generation_of_its_own(waiting):
    """A broker whose data are gone counts from one again: what is of the old one must not seem to be of the new one."""
    told = []
    app = SimpleNamespace(consumer_generation_id=0, on_rebalance_start=Mock())
    thread = SimpleNamespace(
        app=app,
        on_partitions_revoked=Mock(),
        on_partitions_assigned=AsyncMock(side_effect=lambda tps, generation: told.append(generation)),
    )
    listener = Consumer.RebalanceListener(thread)
    waiting.app, waiting._unacked_messages = app, set()
    for _ in range(2):
        listener.on_partitions_revoked([])
        assert app.on_rebalance_start.called
        await listener.on_partitions_assigned([TopicPartition("workflow.execution", 0)])
        assert app.consumer_generation_id == told[-1]
        message = Mock(generation_id=app.consumer_generation_id)
        listener.on_partitions_revoked([])  # from here on, whatever is acknowledged could be committed to another log
        assert waiting.ack(message) is False
    assert told == sorted(set(told))


@pytest.mark.parametrize(("generation", "active"), [(-1, True), (3, False)], ids=["no member", "another assignment"])
async def test_nothing_is_committed_by_who_is_no_member_of_the_group(generation, active):
    """Such a commit is accepted by a broker that has lost its data, where the offset means something else."""
    coordinator = GroupCoordinator.__new__(GroupCoordinator)
    coordinator._commit_lock = asyncio.Lock()
    coordinator.ensure_coordinator_known = AsyncMock()
    coordinator.generation = 3
    coordinator._do_commit_offsets = sent = AsyncMock()
    commit_as_member_only(coordinator)
    await coordinator.commit_offsets(SimpleNamespace(active=True), {"a": 1})
    assert sent.await_count == 1

    async def fail_and_leave(*_):
        coordinator.generation, assignment.active = generation, active
        raise NodeNotReadyError  # aiokafka tries again

    assignment = SimpleNamespace(active=True)
    coordinator._retry_backoff_ms = 1
    sent.side_effect = fail_and_leave
    with pytest.raises(CommitFailedError, match="already rebalanced"):  # by this Faust tells that it is no failure
        await coordinator.commit_offsets(assignment, {"a": 1})
    assert sent.await_count == 2


ASKED_AFTER_A_REBALANCE = pytest.mark.parametrize(
    ("asked", "partitions"),
    [
        ("highwaters", [TP("a", 0)]),
        ("earliest_offsets", [TP("a", 0)]),
        ("committed_offsets", [frozenset({TP("a", 0)})]),
        ("seek_to_committed", []),
    ],
)


@pytest.fixture
def thread(waiting, monkeypatch):
    """The thread of a consumer, of which each call is what ``call`` says."""
    monkeypatch.setattr(broker, "RETRY_DELAY", 0)
    waiting._thread = found = ConsumerThread.__new__(ConsumerThread)
    found._consumer, found.call_thread = Mock(), AsyncMock()
    return found


@ASKED_AFTER_A_REBALANCE
async def test_a_kafka_that_is_away_is_asked_until_it_answers(waiting, thread, asked, partitions):
    """Where it gave up, Faust ended the service, with whatever was under way in it."""
    thread.call_thread.side_effect = [KafkaTimeoutError, NodeNotReadyError, {TP("a", 0): 7}]
    assert await getattr(waiting, asked)(*partitions) == {TP("a", 0): 7}


@ASKED_AFTER_A_REBALANCE
async def test_who_has_lost_the_partitions_asks_no_more(waiting, thread, asked, partitions):
    thread.call_thread.side_effect = IllegalStateError
    with pytest.raises(IllegalStateError):
        await getattr(waiting, asked)(*partitions)


async def test_nothing_is_committed_of_partitions_that_were_taken_away_meanwhile(thread, monkeypatch):
    """Faust asked aiokafka to commit nothing, and ended the service over its refusal."""
    ours, others = TopicPartition("a", 0), TP("a", 1)
    thread._consumer = Mock(assignment=lambda: {ours}, commit=AsyncMock())
    thread.tp_last_committed_at = {}
    monkeypatch.setattr(ConsumerThread, "crash", AsyncMock())
    assert await thread._commit({others: 5}) is False
    assert not thread._consumer.commit.called
    assert await thread._commit({TP("a", 0): 3, others: 5}) is True
    assert set(thread._consumer.commit.await_args.args[0]) == {ours}


async def test_who_is_told_to_wait_no_more_for_a_commit_begins_none(waiting, monkeypatch):
    """Faust began one more, and a service that was told to stop while Kafka was away did not."""
    begun = []

    async def commit(*_, **__):
        begun.append("a commit")
        await acknowledged.wait()
        return True

    acknowledged = asyncio.Event()
    waiting.app = SimpleNamespace(client_only=False)
    monkeypatch.setattr(waiting, "force_commit", commit)
    first, second, third = (asyncio.ensure_future(waiting.commit()) for _ in range(3))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    acknowledged.set()
    assert [await first, await third] == [True, False]
    assert begun == ["a commit"]


async def test_what_is_started_is_a_consumer_that_does_all_of_this(monkeypatch):
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "on_start", AsyncMock())
    monkeypatch.setattr(driver.AIOKafkaConsumerThread, "_create_worker_consumer", lambda *_: SimpleNamespace())
    thread = ConsumerThread.__new__(ConsumerThread)
    thread.app, thread.consumer = SimpleNamespace(fetch_wait_ms=30), SimpleNamespace(_active_partitions=None)
    thread._consumer = consumer = thread._create_worker_consumer(None)
    read, changelog = TopicPartition("requests", 0), TopicPartition("changelog", 0)
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._records, fetcher._fetch_max_wait_ms = {read: "to be consumed"}, consumer._fetch_max_wait_ms
    fetcher._fetcher_timeout = 0.2
    waits = []
    fetcher._get_actions_per_node = lambda assignment: waits.append(fetcher._fetch_max_wait_ms)
    coordinator = GroupCoordinator.__new__(GroupCoordinator)
    coordinator.generation, coordinator._do_commit_offsets = -1, AsyncMock()
    consumer._fetcher, consumer._coordinator = fetcher, coordinator
    await thread.on_start()
    for active in (None, {read}, {changelog}):
        thread.consumer._active_partitions = active
        fetcher._get_actions_per_node("assignment")
    assert waits == [30, 30, IDLE_WAIT_MS]
    with pytest.raises(IllegalGenerationError):
        await coordinator._do_commit_offsets(SimpleNamespace(active=True), {"a": 1})


async def test_an_idle_consumer_waits_longer_at_the_broker():
    read, changelog = TopicPartition("requests", 0), TopicPartition("changelog", 0)
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._records, fetcher._fetch_max_wait_ms, fetcher._fetcher_timeout = {}, 30, 0.2
    waits, looks = [], []

    def actions(assignment):
        waits.append(fetcher._fetch_max_wait_ms)
        looks.append(fetcher._fetcher_timeout)
        return assignment

    fetcher._get_actions_per_node = actions
    wait_longer_while_idle(fetcher, {read}.__contains__)
    for records in ({}, {changelog: "not read any more"}, {read: "to be consumed"}, {}):
        fetcher._records = records
        assert fetcher._get_actions_per_node("assignment") == "assignment"
    assert waits == [IDLE_WAIT_MS, IDLE_WAIT_MS, 30, IDLE_WAIT_MS]
    assert looks == [1, 1, 0.2, 1]


async def test_nothing_wakes_a_consumer_and_its_thread_that_have_nothing_to_do(monkeypatch):
    monkeypatch.setattr(ConsumerThread, "on_start", AsyncMock())
    monkeypatch.setattr(ConsumerThread, "__post_init__", lambda _: None)
    thread = ConsumerThread(SimpleNamespace(transport=SimpleNamespace(app=None)))

    async def timers():
        return {timer for timer in asyncio.get_running_loop()._scheduled if not timer.cancelled()}

    before = await timers()
    await thread.start()
    try:
        assert await thread.call_thread(timers) == set()
        assert await timers() == before
    finally:
        await thread.stop()


async def turns():
    """Let everybody go on who can: what has not happened then waits for something."""
    for _ in range(100):
        await asyncio.sleep(0)


async def test_a_fetch_under_way_takes_nothing_once_no_partition_is_active():
    """As in a rebalance: what it took then was dropped, and the recovery of the tables waited for it for ever."""
    client = SimpleNamespace(ready=Mock(), api_version=(2, 5))
    subscriptions = SimpleNamespace(reassignment_in_progress=False, is_assigned=lambda tp: True, fetch_context=nullcontext)
    fetcher = Fetcher.__new__(Fetcher)
    fetcher._subscriptions, fetcher._client, fetcher._closed = subscriptions, client, False
    fetcher._records, fetcher._fetch_waiters, fetcher._loop = {}, set(), asyncio.get_running_loop()
    fetcher._wait_consume_future = None
    thread = ConsumerThread.__new__(ConsumerThread)
    thread.consumer = SimpleNamespace(flow_active=True)
    consumer = SimpleNamespace(_fetcher=fetcher, _closed=False)
    changelog, stream = TP("changelog", 0), TP("requests", 0)
    active = {stream}
    under_way = asyncio.ensure_future(thread._fetch_records(consumer, active, timeout=10, max_records=9))
    await asyncio.sleep(0)

    def arrive(tp):
        found = FetchResult(tp, assignment=None, partition_records=None, backoff=0)
        found.getall, found.has_more = lambda most: [f"of {tp.topic}"], lambda: False
        fetcher._records[tp] = found
        for waiter in list(fetcher._fetch_waiters):
            fetcher._notify(waiter)

    active.clear()
    arrive(changelog)
    await turns()
    assert not under_way.done()
    thread.consumer.flow_active = False
    active.add(changelog)
    arrive(stream)
    await turns()
    assert not under_way.done()
    thread.consumer.flow_active = True
    arrive(stream)
    assert await under_way == {changelog: ["of changelog"]}


async def test_nothing_flows_while_it_seeks(waiting, monkeypatch):
    """Else what is fetched behind the seek is thrown away when the flow is resumed, and counts as acknowledged."""
    flows = []

    async def seek(self):
        flows.append((self.flow_active, self.suspend_flow.is_set()))

    monkeypatch.setattr(driver.Consumer, "perform_seek", seek)
    waiting.can_resume_flow, waiting.suspend_flow = asyncio.Event(), asyncio.Event()
    waiting._read_offset = {}
    waiting.resume_flow()
    await waiting.perform_seek()
    assert flows == [(False, True)]
