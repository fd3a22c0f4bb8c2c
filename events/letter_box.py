"""Reads the dead-letter topic: its newest records first, or one of them.

The consumer lives for one question and belongs to no group: nothing is committed, and nobody's partitions move. A letter's
name is its place, ``partition-offset``.

A letter may have megabytes. So each partition is read back from its end in small steps, and of a step only the newest few
are kept, as much as a shelf holds; the others are read again when their turn comes. A page ends when it is full, in letters
or in bytes.
"""

import asyncio
import base64
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from domain.instants import from_millis
from events.broker import Broker, close
from events.records import DeadLetter
from events.topics import DEAD_LETTER, PARTITIONS
from events.wire import Decoder, Malformed

T = TypeVar("T")

_TIMEOUT: Final = 10.0  # seconds
_STEP: Final = 8  # letters of one partition that are read at once
_SHELF: Final = 1_000_000  # bytes of one partition that are kept, or one letter
_PAGE: Final = 4_000_000  # bytes after which a page ends


class LettersUnreadable(Exception):
    """Kafka did not answer."""


@dataclass(frozen=True)
class StoredLetter:
    """A dead letter and its place."""

    partition: int
    offset: int
    timestamp: int  # milliseconds, by which letters are ordered
    letter: DeadLetter

    @property
    def letter_id(self) -> str:
        """The name of the letter."""
        return f"{self.partition}-{self.offset}"

    @property
    def order(self) -> tuple[int, int, int]:
        """By what letters are sorted; the newest has the greatest."""
        return self.timestamp, self.partition, self.offset

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return len(self.letter.value or "") + len(self.letter.key or "") + len(self.letter.reason)

    @property
    def key(self) -> bytes | None:
        """The key of the record as it came."""
        return None if self.letter.key is None else base64.b64decode(self.letter.key)

    @property
    def value(self) -> bytes | None:
        """The bytes of the record as they came."""
        return None if self.letter.value is None else base64.b64decode(self.letter.value)


@dataclass(frozen=True)
class LetterPage:
    """Letters, newest first; ``rest`` says where each partition is to be read on, None at the end."""

    letters: list[StoredLetter]
    rest: Mapping[int, int] | None


class LetterBox:
    """The dead letters on a Kafka; each question is answered within ten seconds or given up."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._decode = Decoder(DeadLetter)

    async def newest(self, limit: int, before: Mapping[int, int] | None = None) -> LetterPage:
        """Return up to ``limit`` letters, newest first, fewer where they are large.

        ``before`` is the ``rest`` of the page before.

        Raises:
            LettersUnreadable: Kafka does not answer.
        """
        return await self._ask(self._newest(limit, before or {}))

    async def one(self, partition: int, offset: int) -> StoredLetter | None:
        """Return one letter; None where there is none (any more).

        Raises:
            LettersUnreadable: Kafka does not answer.
        """
        return await self._ask(self._one(partition, offset))

    async def _ask(self, question: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(question, _TIMEOUT)
        except asyncio.TimeoutError:
            raise LettersUnreadable(f"Kafka did not answer within {_TIMEOUT:g} s") from None
        except (KafkaError, OSError) as error:
            raise LettersUnreadable(str(error) or type(error).__name__) from error

    async def _newest(self, limit: int, before: Mapping[int, int]) -> LetterPage:
        partitions = [TopicPartition(DEAD_LETTER.name, number) for number in range(PARTITIONS)]
        async with self._consumer(partitions) as consumer:
            begins = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
            consumer.pause(*partitions)
            unread = {tp: min(before.get(tp.partition, ends[tp]), ends[tp]) for tp in partitions}
            shelves: dict[TopicPartition, deque[StoredLetter]] = {tp: deque() for tp in partitions}
            page: list[StoredLetter] = []
            size = 0
            while len(page) < limit and size < _PAGE:
                # Whose newest is not known may have the newest of all.
                while wanted := [tp for tp in partitions if not shelves[tp] and unread[tp] > begins[tp]]:
                    firsts = {tp: max(begins[tp], unread[tp] - _STEP) for tp in wanted}
                    await self._read(consumer, firsts, unread, shelves)
                    unread |= {tp: shelves[tp][0].offset if shelves[tp] else firsts[tp] for tp in wanted}
                newest = max((shelf for shelf in shelves.values() if shelf), key=lambda shelf: shelf[-1].order, default=None)
                if newest is None:
                    break
                page.append(newest.pop())
                size += page[-1].size
        rest = {tp.partition: shelves[tp][-1].offset + 1 if shelves[tp] else unread[tp] for tp in partitions}
        more = any(rest[tp.partition] > begins[tp] for tp in partitions)
        return LetterPage(page, rest if more else None)

    async def _read(
        self,
        consumer: AIOKafkaConsumer,
        firsts: Mapping[TopicPartition, int],
        untils: Mapping[TopicPartition, int],
        shelves: Mapping[TopicPartition, deque[StoredLetter]],
    ) -> None:
        """Put the letters of each partition, from one place until another, on its empty shelf: the newest that it holds."""
        for tp, first in firsts.items():
            consumer.seek(tp, first)
        consumer.resume(*firsts)
        reading = set(firsts)
        while reading:
            for tp, records in (await consumer.getmany(*reading, timeout_ms=1000)).items():
                for record in records:
                    if record.offset < untils[tp]:
                        shelves[tp].append(self._stored(record))
                while len(shelves[tp]) > 1 and sum(letter.size for letter in shelves[tp]) > _SHELF:
                    shelves[tp].popleft()
            for tp in list(reading):
                if await consumer.position(tp) >= untils[tp]:
                    reading.remove(tp)
                    consumer.pause(tp)

    async def _one(self, partition: int, offset: int) -> StoredLetter | None:
        if not 0 <= partition < PARTITIONS:
            return None
        tp = TopicPartition(DEAD_LETTER.name, partition)
        async with self._consumer([tp]) as consumer:
            first = (await consumer.beginning_offsets([tp]))[tp]
            end = (await consumer.end_offsets([tp]))[tp]
            if not first <= offset < end:
                return None
            consumer.seek(tp, offset)
            record = await consumer.getone(tp)
            return self._stored(record) if record.offset == offset else None

    @asynccontextmanager
    async def _consumer(self, partitions: list[TopicPartition]) -> AsyncIterator[AIOKafkaConsumer]:
        consumer = self._broker.consumer(fetch_max_wait_ms=100)
        try:
            await consumer.start()
            consumer.assign(partitions)
            yield consumer
        finally:
            await close(consumer)

    def _stored(self, record: Any) -> StoredLetter:
        letter = self._decode(record.value)
        if isinstance(letter, Malformed):
            # Somebody wrote to the topic by hand; it is shown rather than hidden.
            letter = DeadLetter(
                topic=DEAD_LETTER.name,
                partition=record.partition,
                offset=record.offset,
                reason=f"not a dead letter: {letter.reason}",
                at=from_millis(record.timestamp),
                value=base64.b64encode(record.value or b"").decode(),
            )
        return StoredLetter(record.partition, record.offset, record.timestamp, cast("DeadLetter", letter))
