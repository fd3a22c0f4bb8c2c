import asyncio

import pytest

from store.group_commit import GroupCommit


class Writer:
    """Notes its batches; holds every write until it is let go."""

    def __init__(self):
        self.batches = []
        self.go = asyncio.Event()

    async def write(self, items):
        self.batches.append(list(items))
        await self.go.wait()
        return [ValueError(item) if item < 0 else item * 2 for item in items]


async def test_a_lone_caller_writes_at_once_and_a_crowd_shares_the_next_write():
    writer = Writer()
    group = GroupCommit(writer.write, limit=3)
    first = asyncio.ensure_future(group.submit(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert writer.batches == [[1]]
    others = [asyncio.ensure_future(group.submit(n)) for n in (2, 3, 4, 5)]
    writer.go.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10]
    assert writer.batches == [[1], [2, 3, 4], [5]]


async def test_each_caller_gets_its_own_outcome():
    writer = Writer()
    writer.go.set()
    group = GroupCommit(writer.write)
    answers = await asyncio.gather(group.submit(1), group.submit(-1), group.submit(3), return_exceptions=True)
    assert answers[0] == 2
    assert isinstance(answers[1], ValueError)
    assert answers[2] == 6


async def test_a_failed_write_is_everybodys_and_the_next_one_works():
    calls = []

    async def write(items):
        calls.append(items)
        if len(calls) == 1:
            raise ConnectionError("gone")
        return items

    group = GroupCommit(write)
    answers = await asyncio.gather(group.submit(1), group.submit(2), return_exceptions=True)
    assert all(isinstance(answer, ConnectionError) for answer in answers)
    assert await group.submit(3) == 3


async def test_a_caller_that_goes_away_takes_nothing_with_it():
    writer = Writer()
    group = GroupCommit(writer.write)
    gone = asyncio.ensure_future(group.submit(1))
    stays = asyncio.ensure_future(group.submit(2))
    await asyncio.sleep(0)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    writer.go.set()
    assert await stays == 4
    assert [item for batch in writer.batches for item in batch] == [1, 2]


async def test_a_write_that_forgets_an_item_leaves_nobody_waiting():
    async def write(items):
        return items[1:]

    group = GroupCommit(write)
    with pytest.raises(RuntimeError, match="0 outcomes for 1 items"):
        await asyncio.wait_for(group.submit(1), 1)


async def test_a_shutdown_leaves_nobody_waiting():
    writer = Writer()
    group = GroupCommit(writer.write, limit=1)
    callers = [asyncio.ensure_future(group.submit(n)) for n in (1, 2)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    group._flushing.cancel()
    answers = await asyncio.wait_for(asyncio.gather(*callers, return_exceptions=True), 1)
    assert all(isinstance(answer, asyncio.CancelledError) for answer in answers)
    writer.go.set()
    assert await group.submit(3) == 6
    assert writer.batches == [[1], [3]], "what nobody waits for any more is not written later"


async def test_a_thousand_callers_share_few_writes():
    writer = Writer()
    writer.go.set()
    group = GroupCommit(writer.write)
    assert await asyncio.gather(*(group.submit(n) for n in range(1000))) == [n * 2 for n in range(1000)]
    assert [len(batch) for batch in writer.batches] == [500, 500]


async def test_who_observes_is_told_of_every_batch():
    writer, told = Writer(), []
    group = GroupCommit(writer.write, "double", lambda kind, size: told.append((kind, size)))
    asked = [asyncio.ensure_future(group.submit(1))]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    asked += [asyncio.ensure_future(group.submit(n)) for n in (2, 3)]
    writer.go.set()
    await asyncio.gather(*asked)
    assert told == [("double", 1), ("double", 2)]
