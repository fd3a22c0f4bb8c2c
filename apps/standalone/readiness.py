"""Questions that tell whether a server can do its work. Each takes a moment and answers yes or no; it never waits."""

from __future__ import annotations

import asyncio
import contextlib

ANSWER_TIMEOUT = 2.0


async def accepts_connections(host: str, port: int) -> bool:
    """Whether something listens on the port."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(host, port), ANSWER_TIMEOUT)
    except (OSError, asyncio.TimeoutError):
        return False
    await _close(writer)
    return True


async def answers_ok(host: str, port: int, path: str) -> bool:
    """Whether a GET of the path answers 200."""
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), ANSWER_TIMEOUT)
    except (OSError, asyncio.TimeoutError):
        return False
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status_line = await asyncio.wait_for(reader.readline(), ANSWER_TIMEOUT)
        return status_line.split()[1:2] == [b"200"]
    except (OSError, asyncio.TimeoutError):
        return False
    finally:
        await _close(writer)


async def kafka_answers(host: str, port: int) -> bool:
    """Whether a Kafka broker answers an ApiVersions request (key 18, version 0) without an error.

    An open port is not enough: a broker halted by SIGSTOP still has its connections accepted by the system.
    """
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), ANSWER_TIMEOUT)
    except (OSError, asyncio.TimeoutError):
        return False
    try:
        correlation, client = b"\x00\x00\x00\x07", b"ready"
        request = b"\x00\x12\x00\x00" + correlation + len(client).to_bytes(2, "big") + client
        writer.write(len(request).to_bytes(4, "big") + request)
        answer = await asyncio.wait_for(reader.readexactly(10), ANSWER_TIMEOUT)
        return answer[4:8] == correlation and answer[8:10] == b"\x00\x00"
    except (OSError, EOFError, asyncio.TimeoutError):
        return False
    finally:
        await _close(writer)


async def mongodb_answers(host: str, port: int) -> bool:
    """Whether a MongoDB server answers a `ping`."""
    from bson import decode, encode

    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection(host, port), ANSWER_TIMEOUT)
    except (OSError, asyncio.TimeoutError):
        return False
    try:
        # OP_MSG: length, request id, response to, opcode 2013, no flags, one body section.
        body = (0).to_bytes(4, "little") + b"\x00" + encode({"ping": 1, "$db": "admin"})
        header = b"".join(number.to_bytes(4, "little") for number in (16 + len(body), 1, 0, 2013))
        writer.write(header + body)
        length = int.from_bytes(await asyncio.wait_for(reader.readexactly(4), ANSWER_TIMEOUT), "little")
        answer = await asyncio.wait_for(reader.readexactly(length - 4), ANSWER_TIMEOUT)
        return bool(decode(answer[17:]).get("ok"))
    except (OSError, EOFError, asyncio.TimeoutError):
        return False
    finally:
        await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.TimeoutError):
        await asyncio.wait_for(writer.wait_closed(), ANSWER_TIMEOUT)
