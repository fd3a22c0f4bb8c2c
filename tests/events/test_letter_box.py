"""The letter box reads pages of dead letters back from the end of each partition, a bounded part at a time."""

import base64
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition

from domain.instants import EPOCH
from events.letter_box import LetterBox
from events.records import DeadLetter
from events.topics import DEAD_LETTER, PARTITIONS
from events.wire import encode

MEGABYTE = 1_000_000


class Kafka:
    """The dead-letter topic; it counts the bytes that are read of it."""

    def __init__(self):
        self.partitions = {TopicPartition(DEAD_LETTER.name, number): [] for number in range(PARTITIONS)}
        self.begins = dict.fromkeys(self.partitions, 0)
        self.read = 0

    def put(self, partition, timestamp, size=10):
        letters = self.partitions[TopicPartition(DEAD_LETTER.name, partition)]
        value = base64.b64encode(bytes(size)).decode()
        letter = DeadLetter(topic="t", partition=0, offset=len(letters), reason="no JSON", at=EPOCH, value=value)
        letters.append(SimpleNamespace(partition=partition, offset=len(letters), timestamp=timestamp, value=encode(letter)))

    def consumer(self, **_):
        return Consumer(self)


class Consumer:
    """Gives three records of a partition at once, of those that are not paused."""

    def __init__(self, kafka):
        self.kafka = kafka
        self.positions = dict.fromkeys(kafka.partitions, 0)
        self.paused = set()

    async def start(self):
        pass

    async def close(self):
        pass

    def assign(self, partitions):
        assert set(partitions) == set(self.kafka.partitions)

    async def beginning_offsets(self, partitions):
        return {tp: self.kafka.begins[tp] for tp in partitions}

    async def end_offsets(self, partitions):
        return {tp: len(self.kafka.partitions[tp]) for tp in partitions}

    def pause(self, *partitions):
        self.paused.update(partitions)

    def resume(self, *partitions):
        self.paused.difference_update(partitions)

    def seek(self, tp, offset):
        self.positions[tp] = offset

    async def position(self, tp):
        return self.positions[tp]

    async def getmany(self, *partitions, timeout_ms):
        found = {}
        for tp in set(partitions) - self.paused:
            found[tp] = self.kafka.partitions[tp][self.positions[tp] : self.positions[tp] + 3]
            self.positions[tp] += len(found[tp])
            self.kafka.read += sum(len(record.value) for record in found[tp])
        return found


@pytest.fixture
def kafka():
    return Kafka()


async def pages(kafka, limit):
    box = LetterBox(kafka)
    found = [await box.newest(limit)]
    while found[-1].rest is not None:
        found.append(await box.newest(limit, found[-1].rest))
    return [page.letters for page in found]


@pytest.mark.parametrize("limit", [1, 7, 40, 500])
async def test_pages_hold_every_letter_once_newest_first(kafka, limit):
    for number in range(90):
        kafka.put(number % 5 if number < 60 else 3, number)
    found = await pages(kafka, limit)
    assert [letter.timestamp for page in found for letter in page] == list(range(89, -1, -1))
    assert all(len(page) == limit for page in found[:-1])


async def test_what_is_beyond_its_retention_is_not_looked_for(kafka):
    for number in range(40):
        kafka.put(0, number)
    kafka.begins[TopicPartition(DEAD_LETTER.name, 0)] = 38
    assert [[letter.letter_id for letter in page] for page in await pages(kafka, 50)] == [["0-39", "0-38"]]


async def test_there_are_none(kafka):
    assert await pages(kafka, 50) == [[]]


async def test_a_page_of_large_letters_ends_early_and_reads_little(kafka):
    for number in range(480):
        kafka.put(number % PARTITIONS, number, size=100_000 if number % 5 else 10)
    page = await LetterBox(kafka).newest(500)
    assert 4 * MEGABYTE <= sum(letter.size for letter in page.letters) < 5 * MEGABYTE
    assert kafka.read < 20 * MEGABYTE  # of 51
    found = await pages(kafka, 500)
    assert [letter.timestamp for page in found for letter in page] == list(range(479, -1, -1))


async def test_a_letter_larger_than_a_page_is_a_page(kafka):
    for number in range(3):
        kafka.put(0, number, size=4 * MEGABYTE)
    assert [[letter.timestamp for letter in page] for page in await pages(kafka, 50)] == [[2], [1], [0]]
