"""Clients of Kafka are closed, but nobody waits for that for long."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaConnectionError

from events import broker


@pytest.mark.parametrize(("kind", "name"), [(AIOKafkaConsumer, "stop"), (AIOKafkaAdminClient, "close")])
async def test_an_answer_does_not_wait_for_a_connection_that_never_closes(monkeypatch, kind, name):
    left = []

    async def never(_):
        try:
            await asyncio.Event().wait()
        finally:
            left.append(name)

    class Connections:
        async def close(self):
            left.append("the others")

    monkeypatch.setattr(kind, name, never)
    monkeypatch.setattr(broker, "STOP_PATIENCE", 0.01)
    client = kind.__new__(kind)
    client._closed, client._coordinator = True, None  # as before its start; the former for its finalizer
    client._client = Connections()
    await broker.close(client)
    assert left == [name, "the others"]


async def test_a_consumer_that_breaks_off_its_own_end_is_closed_all_the_same(monkeypatch):
    """As aiokafka's does, while the broker is away: it cancels a fetch, and then waits for it."""
    closed = []

    async def stop(_):
        raise asyncio.CancelledError

    class Connections:
        async def close(self):
            closed.append(self)

    monkeypatch.setattr(AIOKafkaConsumer, "stop", stop)
    client = AIOKafkaConsumer.__new__(AIOKafkaConsumer)
    client._closed, client._coordinator, client._client = True, None, Connections()
    await broker.close(client)
    assert closed == [client._client]


@pytest.mark.parametrize("heeds", [True, False], ids=["heeds it", "does not heed it"])
async def test_what_a_service_asks_for_as_it_stops_is_given_up_whether_it_heeds_that_or_not(monkeypatch, logs, heeds):
    answer, told = asyncio.Event(), []

    async def ask():
        while not answer.is_set() and not (told and heeds):
            try:
                await answer.wait()
            except asyncio.CancelledError:
                told.append("to give up")

    monkeypatch.setattr(broker, "STOP_PATIENCE", 0.01)
    await broker.bounded("the last commit", ask())
    assert told == ["to give up"]
    assert [(each["event"], each["left"]) for each in logs] == [
        ("kafka does not answer; stopping without", "the last commit")
    ]
    answer.set()


async def test_what_kafka_answers_in_time_is_no_more_than_that(logs):
    await broker.bounded("the last commit", asyncio.sleep(0))
    with pytest.raises(KafkaConnectionError):
        await broker.bounded("the last commit", refused())
    assert logs == []


async def refused():
    raise KafkaConnectionError


async def test_connections_are_kept_between_questions_and_made_anew_after_one_that_failed(monkeypatch):
    made, closed = [], []

    class Client:
        def __init__(self):
            made.append(self)

        async def start(self):
            pass

        async def close(self):
            closed.append(self)

    monkeypatch.setattr(broker.Broker, "admin", lambda _: Client())
    monkeypatch.setattr(broker.Broker, "consumer", lambda _: Client())
    inquiries = broker.Inquiries(broker.Broker("nowhere:1"))

    async def answer(admin, consumer):
        return admin, consumer

    async def fail(*_):
        raise KafkaConnectionError("gone")

    first = await inquiries.ask(answer)
    assert await inquiries.ask(answer) == first == tuple(made)
    with pytest.raises(KafkaConnectionError):
        await inquiries.ask(fail)
    assert closed == list(first)
    assert set(await inquiries.ask(answer)).isdisjoint(first)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(inquiries.ask(lambda *_: asyncio.Event().wait()), 0.01)
    await inquiries.close()
    assert closed == made


async def test_a_question_whose_connections_are_closed_while_they_are_made_fails_as_if_kafka_was_away(monkeypatch):
    opening, opened, closed = asyncio.Event(), asyncio.Event(), []

    class Client:
        async def start(self):
            opening.set()
            await opened.wait()

        async def close(self):
            closed.append(self)

    monkeypatch.setattr(broker.Broker, "admin", lambda _: Client())
    monkeypatch.setattr(broker.Broker, "consumer", lambda _: Client())
    inquiries = broker.Inquiries(broker.Broker("nowhere:1"))
    asked = asyncio.ensure_future(inquiries.ask(lambda *_: pytest.fail("nobody is there to be asked")))
    await opening.wait()
    await inquiries.close()
    opened.set()
    with pytest.raises(KafkaConnectionError):
        await asked
    assert len(closed) == 2
