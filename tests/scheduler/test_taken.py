"""What waits its turn in Kafka is left alone, however long it waits; what got lost is not."""

import asyncio
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError

from apps.scheduler.taken import KafkaRequestLog, LogUnavailable, Reach
from tests.scheduler.memory import ALL_SHARDS
from tests.scheduler.test_orphans import Runner, live


def reach(world, end, acknowledged):
    world.requests.found = {shard: Reach(end, acknowledged) for shard in ALL_SHARDS}


async def test_what_waits_in_a_backlog_is_not_published_again(world, scheduler):
    world.executions.put("w", "e")
    for minutes in range(5):
        reach(world, 1000 + minutes, 10 * minutes)
        await live(world, scheduler, [Runner(world, "r")], 60)
    assert world.published.requests == []


async def test_what_the_runners_are_past_and_did_not_start_is(world, scheduler):
    reach(world, 1000, 10)
    world.executions.put("w", "e")
    await live(world, scheduler, [Runner(world, "r")], 40)
    reach(world, 5000, 999)  # the backlog grows, but does not matter to it
    await live(world, scheduler, [Runner(world, "r")], 8)
    assert world.published.requests == []
    reach(world, 6000, 1000)
    await live(world, scheduler, [Runner(world, "r")], 16)
    assert world.requested == ["e"]


async def test_runners_that_catch_up_at_once_are_known_to_have(world, scheduler):
    world.executions.put("w", "e")
    for number in range(60):
        reach(world, 1000 + number, 10)
        await live(world, scheduler, [Runner(world, "r")], 2)
    assert world.published.requests == []
    reach(world, 1059, 1059)
    await live(world, scheduler, [Runner(world, "r")], 6)
    assert world.requested == ["e"]


async def test_a_request_that_took_its_time_to_kafka_waits_its_turn_there(world, scheduler):
    """Just after it was made, the runners had taken all that was there."""
    reach(world, 1000, 1000)
    await live(world, scheduler, [Runner(world, "r")], 20)
    world.executions.put("w", "e", requested_at=world.clock.wall())
    await live(world, scheduler, [Runner(world, "r")], 4)
    reach(world, 1001, 1000)
    await live(world, scheduler, [Runner(world, "r")], 60)
    assert world.published.requests == []


async def test_what_was_lost_with_the_whole_log_is_published_again(world, scheduler):
    reach(world, 1000, 10)
    world.executions.put("w", "e")
    await live(world, scheduler, [Runner(world, "r")], 40)
    reach(world, 0, 0)
    await live(world, scheduler, [Runner(world, "r")], 16)
    assert world.requested == ["e"]


async def test_only_the_partition_that_is_behind_waits(world, scheduler):
    slow, fast = world.executions.put("w", "e"), world.executions.put("w4", "e2")
    assert slow.shard != fast.shard
    reach(world, 1000, 1000)
    world.requests.found[slow.shard] = Reach(1000, 10)
    await live(world, scheduler, [Runner(world, "r")], 60)
    assert set(world.requested) == {"e2"}


async def test_a_partition_that_has_fallen_behind_holds_up_itself_alone(world, scheduler):
    runner = Runner(world, "r")
    reach(world, 1000, 1000)
    await live(world, scheduler, [runner], 20)
    slow = world.executions.put("w", "e", requested_at=world.clock.wall())
    fast = world.executions.put("w4", "e2", requested_at=world.clock.wall())
    world.requests.found[slow.shard] = Reach(1001, 1000)
    assert slow.shard != fast.shard
    await live(world, scheduler, [runner], 24)
    assert set(world.requested) == {"e2"}


async def test_while_kafka_does_not_tell_nothing_is_published_again(world, scheduler, logs):
    world.executions.put("w", "e")
    world.faults.unavailable.add("requests")
    await live(world, scheduler, [Runner(world, "r")], 40)
    assert world.published.requests == []
    assert scheduler.metrics.failed_passes._value.get() == 0, "there is nothing to look for"
    told = [entry for entry in logs if "kafka does not tell" in entry["event"]]
    assert len(told) == 1, "once, not every second"
    world.faults.unavailable.clear()
    await live(world, scheduler, [Runner(world, "r")], 16)
    assert world.requested == ["e"]
    world.faults.unavailable.add("requests")
    await live(world, scheduler, [Runner(world, "r")], 16)
    assert len([entry for entry in logs if "kafka does not tell" in entry["event"]]) == 2


class Kafka:
    """Tells how far the requests go, and what the runners have committed."""

    def __init__(self):
        self.ends = {}
        self.committed = {}
        self.asked = []
        self.fails = None

    async def ask(self, question):
        if self.fails:
            raise self.fails
        return await question(self, self)

    async def end_offsets(self, partitions):
        return {each: self.ends.get(each.partition, 0) for each in partitions}

    async def list_consumer_group_offsets(self, group, *, partitions):
        self.asked = [each.partition for each in partitions]
        found = {each: self.committed.get(each.partition) for each in partitions}
        return {each: SimpleNamespace(offset=offset) for each, offset in found.items() if offset is not None}


@pytest.fixture
def kafka():
    return Kafka()


@pytest.fixture
def log(kafka):
    log = KafkaRequestLog(None)
    log._inquiries = kafka
    return log


async def test_what_was_never_committed_is_not_acknowledged(kafka, log):
    kafka.ends, kafka.committed = {0: 7, 1: 7, 2: 7}, {0: 5, 1: -1}
    reaches = await log.reaches()
    assert [reaches[shard] for shard in range(4)] == [Reach(7, 5), Reach(7, 0), Reach(7, 0), Reach(0, 0)]
    assert reaches.keys() == ALL_SHARDS


async def test_of_partitions_that_rest_the_broker_is_asked_no_more(kafka, log):
    kafka.ends, kafka.committed = {0: 7, 1: 7}, {0: 7, 1: 5}
    await log.reaches()
    await log.reaches()
    assert kafka.asked == [1]
    kafka.ends[0], kafka.committed[1] = 8, 7
    assert (await log.reaches())[0] == Reach(8, 7)
    kafka.ends[0], kafka.committed[0] = 2, 1  # it is another log
    assert (await log.reaches())[0] == Reach(2, 1)
    assert kafka.asked == [0]


@pytest.mark.parametrize("failure", [KafkaConnectionError("no broker"), OSError("refused"), asyncio.TimeoutError()])
async def test_a_kafka_that_does_not_answer_is_told_as_such(kafka, log, failure):
    kafka.fails = failure
    with pytest.raises(LogUnavailable, match=r"no broker|refused|TimeoutError"):
        await log.reaches()
