"""Waiting for a place in a busy workflow."""

import asyncio

import pytest

from apps.runner import places
from apps.runner.places import Places
from domain.execution import Status
from store.interfaces import Locked


class Busy:
    """A workflow, and those that wait for a place of it, which ask by themselves after ages."""

    def __init__(self):
        self.places = Places()
        self.free = 0
        self.asked = []
        self.waiting = {}

    async def wait(self, *names):
        for name in names:
            self.waiting[name] = asyncio.ensure_future(self.places.take("w", lambda name=name: self.ask(name)))
        await self.settle()

    async def ask(self, name):
        self.asked.append(name)
        await asyncio.sleep(0)
        if not self.free:
            return Locked("e", Status.RUNNING)
        self.free -= 1
        return name

    async def end(self, places=1):
        self.free += places
        self.places.hear_of_end("w")
        await self.settle()

    async def settle(self):
        for _ in range(20):
            await asyncio.sleep(0)

    @property
    def done(self):
        return [name for name, task in self.waiting.items() if task.done()]


@pytest.fixture
async def busy(monkeypatch):
    monkeypatch.setattr(places, "_FIRST_PAUSE", 3600.0)
    busy = Busy()
    yield busy
    for task in busy.waiting.values():
        task.cancel()
    await asyncio.wait(busy.waiting.values())
    assert busy.places._waiting == {}, "nothing is kept of those that have left"


async def test_an_end_is_told_to_the_one_that_has_waited_longest_and_to_no_other(busy):
    await busy.wait("a", "b", "c")
    busy.asked.clear()
    busy.places.hear_of_end("another")
    await busy.end()
    assert (busy.asked, busy.done) == (["a"], ["a"])
    await busy.end()
    assert (busy.asked, busy.done) == (["a", "b"], ["a", "b"])


async def test_one_that_finds_the_place_taken_all_the_same_is_told_of_the_next(busy):
    await busy.wait("a", "b")
    busy.asked.clear()
    await busy.end(places=0)
    assert (busy.asked, busy.done) == (["a"], [])
    await busy.end()
    assert (busy.asked, busy.done) == (["a", "a"], ["a"])


async def test_an_end_while_it_asks_has_it_ask_again(busy):
    await busy.wait("a")
    proper = busy.ask

    async def ask(name):
        answer = await proper(name)
        busy.ask, busy.free = proper, 1
        busy.places.hear_of_end("w")
        return answer

    busy.ask = ask
    await busy.end(places=0)
    assert busy.done == ["a"]


async def test_one_that_leaves_with_what_it_was_told_passes_it_on(busy):
    await busy.wait("a", "b", "c")
    busy.asked.clear()
    busy.free = 2
    busy.places.hear_of_end("w")
    busy.waiting["a"].cancel()
    await busy.settle()
    assert (busy.asked, busy.done) == (["b"], ["a", "b"])


async def test_one_whose_time_is_over_is_asked_for_a_last_time(monkeypatch):
    monkeypatch.setattr(places, "_FIRST_PAUSE", 3600.0)
    until = asyncio.get_running_loop().time()
    asked = []

    async def ask():
        asked.append(asyncio.get_running_loop().time() >= until)
        return "given up" if len(asked) == 2 else Locked("e", Status.RUNNING)

    assert await Places().take("w", ask, until=until) == "given up"
