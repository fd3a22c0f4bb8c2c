"""What is read of what Kafka hands out, with the bytes that it would send."""

import gzip

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from aiokafka.record.util import calc_crc32c

from events import batches
from events.batches import UnreadableBatch

TP = TopicPartition("orders", 0)
NONE, GZIP = 0, 1
VALUE = 100 * b"value"  # of a size that compression makes smaller


class Name(str):
    """The name of a header that is not UTF-8."""

    def encode(self, *_):
        return b"\xffx"


def batch(first, *headers, codec=NONE):
    """Return a batch that has a record for each of some headers."""
    builder = _DefaultRecordBatchBuilderPy(2, codec, 0, -1, -1, -1, 10_000)
    for number, header in enumerate(headers):
        builder.append(number, 1000, None, VALUE, [(header, b"1")])
    raw = builder.build()
    raw[:8] = first.to_bytes(8, "big")
    return bytes(raw)


def damaged(raw):
    return raw.replace(b"value", b"vague", 1)


def broken(raw):
    """Return what nothing can unpack, though it is as it was sent."""
    changed = bytearray(raw.replace(gzip.compress(b"")[:2], b"??", 1))
    changed[17:21] = calc_crc32c(bytes(changed[21:])).to_bytes(4, "big")
    return bytes(changed)


def read(raw, at=0):
    """Read what was fetched from a place on."""
    batches.use()
    records = fetcher.PartitionRecords(TP, fetcher.MemoryRecords(raw), None, at, None, None, True, fetcher.READ_COMMITTED)
    return list(records)


@pytest.mark.parametrize("codec", [NONE, GZIP], ids=["plain", "compressed"])
def test_the_name_of_a_header_that_is_no_text_is_read_with_escapes_and_the_records_about_it_as_ever(codec):
    found = read(batch(7, "a", Name(), "ä", codec=codec) + batch(10, "b"), 7)
    assert [(each.offset, each.headers, each.value) for each in found] == [
        (offset, ((name, b"1"),), VALUE) for offset, name in ((7, "a"), (8, "\\xffx"), (9, "ä"), (10, "b"))
    ]


@pytest.mark.parametrize(
    "bad", [damaged(batch(2, "a", "b")), broken(batch(2, "a", "b", codec=GZIP))], ids=["damaged", "not-to-be-unpacked"]
)
def test_what_comes_before_a_batch_that_cannot_be_read_is_read_and_then_it_is_told_where_it_stops(bad):
    assert [each.offset for each in read(batch(0, "a", "b") + bad + batch(5, "a"))] == [0, 1]
    with pytest.raises(UnreadableBatch, match="orders, partition 0, offset 2: ") as stopped:
        read(bad + batch(5, "a"), 2)
    assert (stopped.value.partition, stopped.value.offset, stopped.value.following) == (TP, 2, 5), "3 and 4 are compacted"
    with pytest.raises(UnreadableBatch) as stopped:
        read(bad, 2)
    assert stopped.value.following == 4, "by its own account"
