"""What the producer does otherwise than Faust's own."""

import asyncio
from types import SimpleNamespace

import pytest
from faust.transport.drivers import aiokafka as driver

from events import producer
from events.producer import APART, Producer, gather_company

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
    made = SimpleNamespace(_sender=SimpleNamespace())
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
