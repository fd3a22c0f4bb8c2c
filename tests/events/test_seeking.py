"""Where a consumer begins when its partitions are assigned."""

from aiokafka import TopicPartition

from events.transport import ConsumerThread

A, B, C, D = (TopicPartition("workflow.execution", number) for number in range(4))


class Kafka:
    """A consumer of the driver's."""

    def __init__(self):
        self.committed = {A: 17, B: 17, C: None, D: 0}
        self.ends = {A: 17, B: 5}
        self.begun_anew = []

    async def seek_to_committed(self):
        return dict(self.committed)

    async def end_offsets(self, partitions):
        return {tp: self.ends[tp] for tp in partitions}

    async def seek_to_beginning(self, *partitions):
        self.begun_anew += partitions


async def test_what_is_committed_beyond_the_end_is_read_from_the_beginning():
    """Faust drops records below what it takes for committed: until the log has grown that far, all of them."""
    thread = ConsumerThread.__new__(ConsumerThread)
    thread._consumer = kafka = Kafka()
    assert await thread._seek_to_committed() == {A: 17, B: 0, C: 0, D: 0}
    assert kafka.begun_anew == [B]
