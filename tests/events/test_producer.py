"""What the producer does otherwise than Faust's own."""

import asyncio
import gc
from types import SimpleNamespace

import aiokafka
import faust
import pytest
from aiokafka.errors import KafkaConnectionError
from faust.exceptions import ProducerSendError
from faust.transport.drivers import aiokafka as driver

from events import broker, producer
from events.producer import APART, Producer, acknowledged, gather_company
from events.transport import Transport

NODE = 1


@pytest.fixture
def sender(monkeypatch):
    """A sender that has a request for partition 0 under way, until ``answered`` is set."""
    answered = asyncio.Event()

    class Handler:
        def __init__(self, sender, batches):
            pass

        async def do(self, node_id):
            await answered.wait()

    monkeypatch.setattr(producer, "SendProduceReqHandler", Handler)
    waiting = SimpleNamespace(_batches={})
    found = SimpleNamespace(_in_flight={NODE}, _muted_partitions={0}, _message_accumulator=waiting, answered=answered)
    gather_company(found)
    return found


def test_every_producer_of_the_services_gathers_company(monkeypatch):
    made = SimpleNamespace(_sender=SimpleNamespace(), client=SimpleNamespace(bootstrap=None))
    monkeypatch.setattr(driver.Producer, "_new_producer", lambda *_: made)
    for transactional_id in (None, "id"):
        made._sender._send_produce_req = None
        assert Producer.__new__(Producer)._new_producer(transactional_id) is made
        assert made._sender._send_produce_req is not None


async def test_a_lone_record_never_waits(sender):
    loop = asyncio.get_running_loop()
    sent = loop.create_task(sender._send_produce_req(NODE, {0: "batch"}))
    sender.answered.set()
    loop.call_later = lambda *_: pytest.fail("it waits for a time")
    try:
        await sent
    finally:
        del loop.call_later
    assert (sender._in_flight, sender._muted_partitions) == (set(), set())


async def test_records_that_came_during_a_request_wait_for_more(sender):
    loop = asyncio.get_running_loop()
    begun = loop.time()
    sent = loop.create_task(sender._send_produce_req(NODE, {0: "batch"}))
    sender._message_accumulator._batches[3] = ["more"]
    sender.answered.set()
    await asyncio.sleep(0)
    assert sender._in_flight == {NODE}
    await sent
    assert loop.time() - begun >= APART
    assert (sender._in_flight, sender._muted_partitions) == (set(), set())


@pytest.fixture
async def unanswered():
    """A producer that waits for Kafka's word on every topic, with the topics that it would ask for."""
    app = faust.App("anybody", broker="kafka://nowhere:1")
    found = Producer(Transport(app.conf.broker_producer, app))
    found._producer = aiokafka.AIOKafkaProducer(bootstrap_servers="nowhere:1")
    client = found._producer.client
    client.force_metadata_update = asyncio.get_running_loop().create_future
    yield found, client._topics
    await found._producer.stop()


async def begun(producer, topic):
    task = asyncio.ensure_future(producer.send_to_any(topic, None, b"1", []))
    await asyncio.sleep(0)
    return task


async def given_up(task):
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_kafka_is_asked_no_more_for_a_topic_that_is_not_there(unanswered):
    producer, asked_for = unanswered
    tasks = [await begun(producer, f"nobody-made-{number}") for number in range(3)]
    assert asked_for == {"nobody-made-0", "nobody-made-1", "nobody-made-2"}
    for task in tasks:
        await given_up(task)
    assert asked_for == set()


async def test_it_is_asked_for_a_topic_as_long_as_somebody_waits_for_it(unanswered):
    producer, asked_for = unanswered
    first, second = await begun(producer, "late"), await begun(producer, "late")
    await given_up(first)
    assert asked_for == {"late"}
    await given_up(second)
    assert asked_for == set()


async def test_a_topic_that_is_there_stays_one_that_kafka_is_asked_for(unanswered):
    producer, asked_for = unanswered
    task = await begun(producer, "there")
    producer._producer.client.cluster.partitions_for_topic = lambda topic: {0}
    await given_up(task)
    assert asked_for == {"there"}


async def test_a_table_change_is_sent_as_soon_as_there_is_room_for_it(unanswered, monkeypatch):
    """After an outage of twenty minutes aiokafka says that there is none, and Faust ended the service over it."""
    monkeypatch.setattr(producer, "RETRY_DELAY", 0)
    said = [ProducerSendError("no room"), ProducerSendError("no room"), None]

    async def publish(change, wait):
        if (error := said.pop(0)) is not None:
            raise error

    change = SimpleNamespace(message=SimpleNamespace(channel=SimpleNamespace(publish_message=publish)))
    await unanswered[0].buffer._send_pending(change)
    assert said == []


async def test_a_producer_connects_as_soon_as_it_can(monkeypatch):
    """A service that started just as Kafka went away died of it."""
    tried = []

    async def bootstrap():
        tried.append("to connect")
        if len(tried) < 3:
            raise KafkaConnectionError

    monkeypatch.setattr(broker, "RETRY_DELAY", 0)
    made = SimpleNamespace(_sender=SimpleNamespace(), client=SimpleNamespace(bootstrap=bootstrap))
    monkeypatch.setattr(driver.Producer, "_new_producer", lambda *_: made)
    await Producer.__new__(Producer)._new_producer().client.bootstrap()
    assert len(tried) == 3


async def test_faust_makes_no_topics(unanswered):
    """They are there before; a service that started just as Kafka went away died of asking for them."""
    await unanswered[0].create_topic("changelog", 8, 1)


@pytest.fixture
async def complaints():
    """What asyncio says of futures whose failure nobody has heard of."""
    found = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: found.append(context["message"]))
    return found


async def test_acknowledgements_come_back_in_the_order_in_which_they_were_asked_for():
    first, second = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(acknowledged(first, second))
    second.set_result(2)
    await asyncio.sleep(0)
    first.set_result(1)
    assert await waiting == [1, 2]


async def test_the_first_that_fails_is_told_and_the_others_are_waited_for_no_more(complaints):
    first, second = asyncio.get_running_loop().create_future(), asyncio.get_running_loop().create_future()
    second.set_exception(OSError("refused"))
    with pytest.raises(OSError, match="refused"):
        await acknowledged(first, second)
    first.set_exception(OSError("refused as well"))
    await asyncio.sleep(0)
    del first, second
    gc.collect()
    assert complaints == []


@pytest.mark.parametrize("how", ["out of time", "stopped"])
async def test_whoever_waits_no_more_leaves_them_alone_and_hears_of_no_failure(complaints, how):
    sent = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(acknowledged(sent, timeout=0 if how == "out of time" else None))
    await asyncio.sleep(0)
    if how == "stopped":
        waiting.cancel()
    with pytest.raises(asyncio.TimeoutError if how == "out of time" else asyncio.CancelledError):
        await waiting
    assert not sent.cancelled()
    sent.set_exception(OSError("refused at last"))
    await asyncio.sleep(0)
    del sent, waiting
    gc.collect()
    assert complaints == []
