"""The ids that a process keeps: where to look, and never older than it takes to read them again."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from store.interfaces import StoreUnavailable
from store.names import Names, containing, ranges

IDS = st.lists(st.text("ab01-", min_size=1, max_size=4), unique=True, max_size=60).map(sorted)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Source:
    """What is stored; reading takes until ``release`` is set."""

    def __init__(self, clock: Clock, *ids: str) -> None:
        self.ids, self.reads, self.takes, self.fails = list(ids), 0, 0.0, False
        self.clock = clock
        self.release = asyncio.Event()
        self.release.set()

    async def __call__(self) -> list[str]:
        self.reads += 1
        if self.fails:
            raise StoreUnavailable("away")
        found = list(self.ids)
        await self.release.wait()
        self.clock.now += self.takes
        return found


@pytest.fixture
def clock():
    return Clock()


@given(ids=IDS, after=st.one_of(st.none(), st.text("ab01-", max_size=4)), count=st.integers(1, 9))
def test_the_ranges_cover_everything_once(ids, after, count):
    found = list(ranges(ids, after, count))
    assert found[0][0] == after and found[-1][1] is None
    assert all(one[1] == other[0] for one, other in pairwise(found))
    sizes = [sum((low is None or each > low) and (high is None or each <= high) for each in ids) for low, high in found]
    assert sum(sizes) == sum(after is None or each > after for each in ids)
    assert len(found) == 1 or sizes[0] == count + 1


@given(ids=IDS, text=st.text("AB01-", min_size=1, max_size=2), after=st.one_of(st.none(), st.text("ab01-", max_size=4)))
def test_a_search_finds_what_contains_the_text_behind_a_place(ids, text, after):
    found = list(containing(ids, text, None, after))
    assert found == [each for each in ids if text.lower() in each.lower() and (after is None or each > after)]


async def test_many_who_ask_at_once_share_one_reading(clock):
    source = Source(clock, "b", "a")
    names = Names(source, clock)
    assert await asyncio.gather(*(names.current() for _ in range(5))) == [["a", "b"]] * 5
    assert source.reads == 1


async def test_nobody_waits_for_ids_that_are_only_old(clock):
    source = Source(clock, "a")
    names = Names(source, clock)
    await names.current()
    source.ids.append("b")
    source.release.clear()
    clock.now += 3
    assert list(await names.current()) == ["a"]
    source.release.set()
    await names._reading
    assert list(await names.current()) == ["a", "b"]


async def test_reading_takes_no_more_than_its_share_of_the_time(clock):
    source = Source(clock, "a")
    source.takes = 2.0
    names = Names(source, clock)
    await names.current()
    clock.now += 99
    await names.current()
    assert source.reads == 1
    clock.now += 2
    await names.current()
    await names._reading
    assert source.reads == 2


async def test_what_comes_to_be_while_the_ids_are_read_is_kept(clock):
    source = Source(clock, "b")
    names = Names(source, clock)
    await names.current()
    source.release.clear()
    clock.now += 3
    await names.current()
    await asyncio.sleep(0)
    names.add("c")
    names.add("a")
    names.add("a")
    assert list(await names.current()) == ["a", "b", "c"]
    source.release.set()
    await names._reading
    assert list(await names.current()) == ["a", "b", "c"]


async def test_without_the_database_the_ids_stay_as_they_were_and_the_first_reading_fails(clock):
    source = Source(clock, "a")
    source.fails = True
    names = Names(source, clock)
    with pytest.raises(StoreUnavailable):
        await names.current()
    source.fails = False
    assert list(await names.current()) == ["a"]
    source.fails = True
    clock.now += 3
    assert list(await names.current()) == ["a"]
    await names._reading
    assert list(await names.current()) == ["a"]


async def test_what_nobody_lists_does_not_fill_the_memory(clock):
    names = Names(Source(clock), clock)
    for number in range(100):
        names.add(f"job-{number}")
    assert names._ids is None and not names._added
