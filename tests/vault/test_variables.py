import pytest

from store.interfaces import StoreUnavailable
from vault.interfaces import UnknownVariable
from vault.reading import FRESH_FOR, KEPT_FOR
from vault.variables import Variables


async def test_a_change_is_seen_after_a_second_and_what_is_new_at_once(let_pass):
    stored = {"HOST": "old"}

    async def values():
        return dict(stored)

    variables = Variables(values)
    assert await variables.get("HOST") == "old"
    stored["HOST"] = "new"
    assert await variables.get("HOST") == "old"
    let_pass(FRESH_FOR)
    assert await variables.get("HOST") == "new"
    stored["LATE"] = [1]
    assert await variables.get("LATE") == [1]
    del stored["HOST"]
    let_pass(FRESH_FOR)
    with pytest.raises(UnknownVariable, match="wf vars set HOST"):
        await variables.get("HOST")


async def test_while_the_database_is_away_what_it_had_is_used_for_a_time(let_pass):
    is_away = False

    async def values():
        if is_away:
            raise StoreUnavailable("no primary")
        return {"HOST": "known"}

    variables = Variables(values)
    assert await variables.get("HOST") == "known"
    is_away = True
    let_pass(KEPT_FOR - 60)
    assert await variables.get("HOST") == "known"
    with pytest.raises(StoreUnavailable):
        await variables.get("NEW")  # which may have been set since
    let_pass(61)
    with pytest.raises(StoreUnavailable):
        await variables.get("HOST")
