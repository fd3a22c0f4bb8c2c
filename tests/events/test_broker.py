"""Clients of Kafka are closed, but nobody waits for that for long."""

import asyncio

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.admin import AIOKafkaAdminClient

from events import broker


@pytest.mark.parametrize(("kind", "name"), [(AIOKafkaConsumer, "stop"), (AIOKafkaAdminClient, "close")])
async def test_an_answer_does_not_wait_for_a_connection_that_never_closes(monkeypatch, kind, name):
    left = []

    async def never(_):
        try:
            await asyncio.Event().wait()
        finally:
            left.append(name)

    monkeypatch.setattr(kind, name, never)
    monkeypatch.setattr(broker, "_CLOSE_TIMEOUT", 0.01)
    client = kind.__new__(kind)
    client._closed = True  # for its finalizer
    await broker.close(client)
    assert left == [name]
