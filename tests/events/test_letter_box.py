"""The letter box reads pages of dead letters back from the end of each partition, a bounded part at a time."""

import asyncio
import base64
from types import SimpleNamespace

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import KafkaConnectionError

from domain.instants import EPOCH, from_millis
from events.letter_box import LetterBox, LettersUnreadable
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
        self.open = 0
        self.answer = asyncio.Event()
        self.answer.set()
        self.error = None

    def put(self, partition, timestamp, size=10):
        letters = self.partitions[TopicPartition(DEAD_LETTER.name, partition)]
        value = base64.b64encode(bytes(size)).decode()
        letter = DeadLetter(topic="t", partition=0, offset=len(letters), reason="no JSON", at=EPOCH, key="a2V5", value=value)
        self.write(partition, timestamp, encode(letter))

    def write(self, partition, timestamp, raw):
        letters = self.partitions[TopicPartition(DEAD_LETTER.name, partition)]
        letters.append(SimpleNamespace(partition=partition, offset=len(letters), timestamp=timestamp, value=raw))

    def consumer(self, **_):
        return Consumer(self)


class Consumer:
    """Gives three records of a partition at once, of those that are not paused."""

    def __init__(self, kafka):
        self.kafka = kafka
        self.positions = dict.fromkeys(kafka.partitions, 0)
        self.paused = set()
        self.assigned = set()

    async def start(self):
        self.kafka.open += 1
        await self.kafka.answer.wait()
        if self.kafka.error is not None:
            raise self.kafka.error

    async def close(self):
        self.kafka.open -= 1

    def assign(self, partitions):
        self.assigned = set(partitions)

    async def beginning_offsets(self, partitions):
        return {tp: self.kafka.begins[tp] for tp in partitions}

    async def end_offsets(self, partitions):
        return {tp: len(self.kafka.partitions[tp]) for tp in partitions}

    def pause(self, *partitions):
        self.paused.update(partitions)

    def resume(self, *partitions):
        self.paused.difference_update(partitions)

    def seek(self, tp, offset):
        assert tp in self.assigned
        self.positions[tp] = offset

    async def position(self, tp):
        return self.positions[tp]

    async def getone(self, tp):
        return next(each for each in self.kafka.partitions[tp][self.positions[tp] :] if each is not None)

    async def getmany(self, *partitions, timeout_ms):
        found = {}
        for tp in set(partitions) - self.paused:
            places = self.kafka.partitions[tp][self.positions[tp] : self.positions[tp] + 3]
            self.positions[tp] += len(places)
            found[tp] = [record for record in places if record is not None]
            self.kafka.read += sum(len(record.value or b"") for record in found[tp])
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


async def test_places_without_a_letter_are_passed_over(kafka):
    kafka.put(0, 0)
    kafka.partitions[TopicPartition(DEAD_LETTER.name, 0)] += [None] * 20
    kafka.put(0, 1)
    assert [[letter.letter_id for letter in page] for page in await pages(kafka, 50)] == [["0-21", "0-0"]]


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


async def test_one_is_read_by_its_place(kafka):
    for number in range(4):
        kafka.put(5, number, size=number)
    kafka.begins[TopicPartition(DEAD_LETTER.name, 5)] = 1
    kafka.partitions[TopicPartition(DEAD_LETTER.name, 5)][2] = None  # as where a transaction ended
    box = LetterBox(kafka)
    found = await box.one(5, 3)
    assert (found.letter_id, found.timestamp, found.key, found.value) == ("5-3", 3, b"key", bytes(3))
    assert found.size == len("AAAA" + "a2V5" + "no JSON")
    for partition, offset in [(5, 0), (5, 2), (5, 4), (4, 0), (-1, 0), (PARTITIONS, 0)]:
        assert await box.one(partition, offset) is None, (partition, offset)
    assert (await box.one(5, 1)).letter_id == "5-1"
    assert kafka.open == 0


async def test_one_without_key_and_value_has_none(kafka):
    kafka.write(0, 0, encode(DeadLetter(topic="t", partition=0, offset=0, reason="no value", at=EPOCH)))
    found = await LetterBox(kafka).one(0, 0)
    assert (found.key, found.value, found.size) == (None, None, len("no value"))


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"by hand", "not a dead letter: value: Invalid JSON"), (None, "not a dead letter: the record has no value")],
)
async def test_what_is_none_is_shown_all_the_same(kafka, raw, said):
    kafka.put(2, 1)
    kafka.write(2, 86_400_000, raw)
    (found,), _ = await pages(kafka, 1)
    assert found.letter.reason.startswith(said)
    assert (found.letter_id, found.value, found.key) == ("2-1", raw or b"", None)
    assert (found.letter.topic, found.letter.partition, found.letter.offset) == (DEAD_LETTER.name, 2, 1)
    assert found.letter.at == from_millis(86_400_000)


@pytest.mark.parametrize(
    ("error", "said"),
    [(KafkaConnectionError("no broker"), "no broker"), (OSError("no route"), "no route"), (OSError(), "OSError")],
)
async def test_a_kafka_that_is_away_is_one_clear_error(kafka, error, said):
    kafka.error = error
    for question in (LetterBox(kafka).newest(1), LetterBox(kafka).one(0, 0)):
        with pytest.raises(LettersUnreadable, match=said):
            await question
    assert kafka.open == 0


async def test_a_kafka_that_says_nothing_is_not_waited_for(kafka, monkeypatch):
    monkeypatch.setattr("events.letter_box._TIMEOUT", 0.01)
    kafka.answer.clear()
    with pytest.raises(LettersUnreadable, match=r"did not answer within 0\.01 s"):
        await LetterBox(kafka).newest(1)
    assert kafka.open == 0
