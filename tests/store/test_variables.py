"""The contract of variables, kept by the fake and by MongoDB alike."""

from datetime import datetime, timedelta, timezone

import pytest

from store.interfaces import Variable

pytestmark = pytest.mark.asyncio(loop_scope="session")

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)


async def test_a_value_comes_back_as_it_was_given_and_is_replaced(store):
    value = {"$n": [1, 2.5, None, True], "a.b": "ß", "large": 2**63 - 1}
    first, second = Variable("LIMITS", value, T0), Variable("LIMITS", "text", T0 + timedelta(seconds=1))
    assert await store.variables.put(first)
    assert await store.variables.get("LIMITS") == first
    assert not await store.variables.put(second)
    assert await store.variables.get("LIMITS") == second


async def test_they_are_listed_by_name_and_gone_when_they_are_deleted(store):
    for name in ("b", "C", "a"):
        await store.variables.put(Variable(name, name * 2, T0))
    assert [each.name for each in await store.variables.all()] == ["C", "a", "b"]
    assert await store.variables.delete("a")
    assert not await store.variables.delete("a")
    assert await store.variables.get("a") is None
    assert await store.variables.values() == {"C": "CC", "b": "bb"}
