"""What is fetched from Kafka, as far as it can be read.

Kafka hands out batches as they lie on its disk, and aiokafka raises over one that is damaged or that it cannot unpack. What
it has read up to there is dropped with it, to be fetched and dropped again: up to a hundred good records waited for ever
before one that is bad. Here what comes before is handed on, and then it is told where the reading stopped and where it may
go on.

The name of a header is text by Kafka's protocol, which nobody checks: to aiokafka, one that is not UTF-8 makes a batch
unreadable. It is read with escapes here, as keys and values of headers are shown.
"""

from collections.abc import Iterator
from typing import Any

from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


class UnreadableBatch(KafkaError):  # type: ignore[misc]
    """Kafka's client cannot read what comes next in a partition."""

    def __init__(self, partition: TopicPartition, offset: int, following: int, why: Exception) -> None:
        super().__init__(f"{partition.topic}, partition {partition.partition}, offset {offset}: {why}")
        self.partition = partition
        self.offset = offset  # of the first record that cannot be read
        self.following = following  # that of the first one behind the batch
        self.why = why


class Batches(_MemoryRecordsPy):  # type: ignore[misc]
    """The batches of a partition that were fetched at once."""

    _next_slice: memoryview | None
    _pos: int

    def __init__(self, fetched: bytes) -> None:
        super().__init__(fetched)
        self._last = self._next_slice, self._pos
        self._is_escaped = False

    def next_batch(self) -> Any:
        """Return the next batch."""
        self._last = self._next_slice, self._pos
        batch = super().next_batch()
        return _Escaped(self._last[0]) if self._is_escaped and isinstance(batch, DefaultRecordBatch) else batch

    def escape(self) -> None:
        """Give the last batch again, and those behind it, with names of headers that can be read whatever they are."""
        self._is_escaped = True
        self._next_slice, self._pos = self._last

    @property
    def following(self) -> int:
        """The offset behind the last batch."""
        # What one that is damaged tells of itself may be damaged as well; the next one stands where it begins.
        if self._next_slice is not None:
            return int.from_bytes(self._next_slice[:8], "big")
        return int(_MemoryRecordsPy(self._last[0]).next_batch().next_offset)


class PartitionRecords(fetcher.PartitionRecords):  # type: ignore[misc]
    """The records of a partition that were fetched at once, up to what cannot be read."""

    def _unpack_records(self) -> Iterator[Any]:
        begun_at = self.next_fetch_offset
        while True:
            try:
                yield from super()._unpack_records()
                return
            except UnicodeDecodeError:
                self._records.escape()  # what was given is passed over, by its offset
            except Exception as error:
                if self.next_fetch_offset > begun_at:
                    return  # it is raised when it is fetched again, as the first one
                following = max(self._records.following, begun_at + 1)
                raise UnreadableBatch(self._tp, begun_at, following, error) from error


class _Escaped(_DefaultRecordBatchPy):  # type: ignore[misc]
    """A batch as aiokafka reads it where it has not been compiled: slowly, but there its text can be got at."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: bytearray = _Text(self._buffer)


class _Text(bytearray):
    """Bytes that show what is not UTF-8 with escapes."""

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        return _Text(found) if isinstance(index, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "backslashreplace") -> str:
        return super().decode(encoding, errors)


def use() -> None:
    """Have every consumer of this process read by these: aiokafka offers no way to tell a consumer which."""
    fetcher.MemoryRecords = Batches
    fetcher.PartitionRecords = PartitionRecords
