"""What a connection says when it is closed."""

import asyncio
from collections.abc import Callable

import aiokafka.conn
import pytest
import uvloop
from aiokafka.errors import KafkaConnectionError
from aiokafka.protocol.admin import ApiVersionRequest

from events import connection


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_a_request_on_a_connection_that_is_gone_fails_as_one_and_so_do_those_before_it(
    new_loop: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def send_to_nobody() -> None:
        asked, gone = asyncio.Event(), asyncio.Event()

        async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(1)
            asked.set()
            await reader.read()
            writer.close()
            gone.set()

        async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
            opened = aiokafka.conn.AIOKafkaConnection(*server.sockets[0].getsockname())
            before = asyncio.ensure_future(opened.connect())
            await asked.wait()
            opened._writer.transport.abort()
            await opened._closed_fut  # its transport is closed, and the task that reads from it does not know yet
            with pytest.raises(KafkaConnectionError):
                await opened.send(ApiVersionRequest())
            with pytest.raises(KafkaConnectionError):
                await before
            await gone.wait()

    connection.use()
    loop = new_loop()
    try:
        loop.run_until_complete(send_to_nobody())
    finally:
        loop.close()
