"""The contract of signals, kept by the fake and by MongoDB alike."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from domain.signal import Signal

pytestmark = pytest.mark.asyncio(loop_scope="session")

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
ALL = frozenset(range(8))


def at(seconds):
    return T0 + timedelta(seconds=seconds)


def signal(number=1, name="approved", **fields):
    given = {"payload": {"by.whom": "me", "$n": [1, None]}, "at": at(number), "sender": "ops", "shard": 3, **fields}
    return Signal(f"019ab5d0-0000-7000-8000-00000000000{number}", name, **given)


async def unheeded(store, until, shards=ALL, limit=10):
    return [(each.execution_id[-1], each.name) for each in await store.signals.unheeded(at(until), shards, limit)]


async def test_it_is_kept_as_it_was_given(store):
    sent = signal()
    assert await store.signals.put(sent, 1) == sent
    assert await store.signals.get(sent.execution_id, "approved") == sent
    assert await store.signals.get(sent.execution_id, "other") is None
    assert await store.signals.get(signal(2).execution_id, "approved") is None


async def test_of_those_of_one_name_the_first_is_kept(store):
    first, other = signal(), signal(payload={"no": True}, at=at(5))
    answers = await asyncio.gather(store.signals.put(first, 1), store.signals.put(other, 1))
    kept = await store.signals.get(first.execution_id, "approved")
    assert answers == [kept, kept]
    assert kept in (first, other)
    assert await store.signals.put(replace(first, name="also"), 1) == replace(first, name="also")


async def test_where_it_is_given_up_none_is_kept_for_that_attempt_but_for_a_later_one(store):
    sent = signal()

    async def close(attempt):
        return await store.signals.close(sent.execution_id, sent.name, attempt, at(1))

    assert await close(1) is None
    assert await close(1) is None, "done again, after a crash"
    assert await store.signals.put(sent, 1) is None
    assert await store.signals.get(sent.execution_id, sent.name) is None
    assert await unheeded(store, 99) == []
    assert await close(2) is None
    assert [await store.signals.put(sent, attempt) for attempt in (1, 2)] == [None, None]
    assert await close(1) is None, "that of a run that was given up"
    assert await store.signals.put(sent, 2) is None
    assert await store.signals.put(sent, 3) == sent
    assert await close(3) == sent
    assert await store.signals.get(sent.execution_id, sent.name) == sent
    assert await unheeded(store, 99) == [("1", "approved")]


async def test_it_is_kept_or_given_up_but_never_both(store):
    for number in range(1, 9):
        sent = signal(number)
        kept, found = await asyncio.gather(
            store.signals.put(sent, 1), store.signals.close(sent.execution_id, sent.name, 1, at(1))
        )
        assert kept == found == await store.signals.get(sent.execution_id, sent.name)
        assert kept in (sent, None)


async def test_those_that_nobody_has_heeded_are_found_until_they_are(store):
    for each in (signal(2), signal(1), signal(3), signal(4, shard=5), signal(1, "also", at=at(9))):
        await store.signals.put(each, 1)
    assert await unheeded(store, 3) == [("1", "approved"), ("2", "approved"), ("3", "approved")]
    assert await unheeded(store, 9, limit=2) == [("1", "approved"), ("2", "approved")]
    assert await unheeded(store, 9, frozenset({5})) == [("4", "approved")]
    await store.signals.look_again(signal(1).execution_id, "approved", at(7))
    assert await unheeded(store, 9, frozenset({3})) == [
        ("2", "approved"), ("3", "approved"), ("1", "approved"), ("1", "also"),
    ]  # fmt: skip
    await store.signals.heed(signal(2).execution_id, "approved", at(8))
    await store.signals.look_again(signal(2).execution_id, "approved", at(8))
    assert await unheeded(store, 9, frozenset({3})) == [("3", "approved"), ("1", "approved"), ("1", "also")]
    assert await store.signals.get(signal(2).execution_id, "approved") == signal(2), "heeded, it is there all the same"
