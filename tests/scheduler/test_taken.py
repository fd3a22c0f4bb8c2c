"""What waits its turn in Kafka is left alone, however long it waits; what got lost is not."""

from apps.scheduler.taken import Reach
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
    assert len([entry for entry in logs if "kafka does not tell" in entry["event"]]) == 1, "once, not every second"
    world.faults.unavailable.clear()
    await live(world, scheduler, [Runner(world, "r")], 16)
    assert world.requested == ["e"]
