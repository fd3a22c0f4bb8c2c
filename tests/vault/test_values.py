import asyncio

import pytest

from store.interfaces import StoreUnavailable
from vault.interfaces import UnknownSecret, UnusableSecret
from vault.keys import KeyRing, KeySource, new_key
from vault.reading import FRESH_FOR, KEPT_FOR
from vault.redaction import Redactor
from vault.values import Values


class Stored:
    def __init__(self, ring):
        self.ring = ring
        self.found = {}
        self.is_away = False
        self.asked = 0

    async def all(self):
        self.asked += 1
        if self.is_away:
            await asyncio.sleep(0)
            raise StoreUnavailable("no primary")
        return [(name, self.ring.seal(name, value)) for name, value in self.found.items()]


@pytest.fixture
def stored():
    return Stored(None)


@pytest.fixture
def values(tmp_path, stored):
    key = new_key()
    stored.ring = KeyRing.parse(key, "test")
    (tmp_path / "FROM_FILE").write_text("file-value\n")
    (tmp_path / "BOTH").write_text("from the file")
    (tmp_path / "..data").mkdir()
    environment = {"WF_SECRET_BOTH": "from the environment", "WF_SECRET_EMPTY": "", "OTHER": "x"}
    return Values(
        environment=environment, directory=tmp_path, keys=KeySource(key, None), stored=stored.all, redactor=Redactor()
    )


async def test_values_come_from_the_first_source_that_has_them(values, stored):
    stored.found = {"DB": "db-value", "BOTH": "from the database"}
    assert await values.get("DB") == "db-value"
    assert await values.get("FROM_FILE") == "file-value"
    assert await values.get("BOTH") == "from the environment"
    assert await values.names() == {"DB", "FROM_FILE", "BOTH"}
    assert values.mounted == {"FROM_FILE", "BOTH"}


async def test_a_secret_set_a_moment_ago_is_found_and_a_deleted_one_is_not(values, stored):
    with pytest.raises(UnknownSecret, match="wf secrets set LATE"):
        await values.get("LATE")
    stored.found["LATE"] = "late-value"
    assert await values.get("LATE") == "late-value"
    assert values.redactor.text("it is late-value") == "it is ***"
    del stored.found["LATE"]
    assert "LATE" not in await values.names()
    assert values.redactor.text("it was late-value") == "it was ***", "what runs may still hold it"


async def test_a_secret_that_is_set_anew_for_long_does_not_fill_the_memory(tmp_path, stored, monkeypatch):
    monkeypatch.setattr("vault.redaction.FORMER", 20)
    key, clock = new_key(), iter(range(0, 10**9, 600)).__next__
    stored.ring = KeyRing.parse(key, "test")
    values = Values(
        environment={}, directory=tmp_path, keys=KeySource(key, None), stored=stored.all, redactor=Redactor(clock)
    )
    for number in range(60):
        values.learn(f"token-{number}-")
        stored.found["TOKEN"] = f"token-{number}-"
        await values.names()
    assert len(values.redactor.values) <= 21
    assert values.redactor.text("token-58- token-59-") == "*** ***"


async def test_what_cannot_be_decrypted_is_not_there(values, stored):
    stored.ring = KeyRing.parse(new_key(), "test")
    stored.found["FOREIGN"] = "x"
    with pytest.raises(UnusableSecret, match="which is not among the keys; put it back"):
        await values.get("FOREIGN")
    assert values.unusable.keys() == {"FOREIGN"}
    stored.found["FROM_FILE"] = "x"
    assert await values.get("FROM_FILE") == "file-value"


async def test_what_is_too_short_is_no_secret_wherever_it_comes_from(tmp_path, stored):
    """It could not be kept out of logs and history: it is not used, and who asks for it is told why."""
    key = new_key()
    stored.ring = KeyRing.parse(key, "test")
    stored.found = {"STORED": "abc"}
    (tmp_path / "MOUNTED").write_text("  ab  \n")
    values = Values(
        environment={"WF_SECRET_SET": "xyz", "WF_SECRET_FINE": "four"},
        directory=tmp_path, keys=KeySource(key, None), stored=stored.all, redactor=Redactor(),
    )  # fmt: skip
    for name in ("STORED", "MOUNTED", "SET"):
        with pytest.raises(UnusableSecret, match=f"secret {name} is not used: its value has fewer than 4 characters"):
            await values.get(name)
    assert await values.names() == {"FINE"}
    assert values.unusable.keys() == {"STORED", "MOUNTED", "SET"}
    (tmp_path / "MOUNTED").write_text("long enough")
    await values.refresh(0.0)
    assert await values.get("MOUNTED") == "long enough"
    assert values.unusable.keys() == {"STORED", "SET"}


async def test_while_the_database_is_away_what_it_had_is_used_for_a_time(values, stored, let_pass):
    stored.found = {"DB": "db-value"}
    assert await values.get("DB") == "db-value"
    stored.is_away = True
    let_pass(KEPT_FOR - 60)
    assert await values.get("DB") == "db-value"
    with pytest.raises(StoreUnavailable):
        await values.get("NEW")  # which may have been set since
    let_pass(61)
    with pytest.raises(StoreUnavailable):
        await values.get("DB")
    stored.is_away, stored.found = False, {"DB": "db-value of now"}
    let_pass(FRESH_FOR)
    assert await values.get("DB") == "db-value of now"


async def test_the_environment_and_files_do_not_wait_for_the_database(values, stored, tmp_path, let_pass):
    stored.is_away = True
    assert await values.get("BOTH") == "from the environment"
    assert await values.get("FROM_FILE") == "file-value"
    (tmp_path / "FROM_FILE").write_text("file-value of now")
    let_pass(FRESH_FOR)
    assert await values.get("FROM_FILE") == "file-value of now"
    assert stored.asked == 0
    assert values.redactor.text("file-value, from the environment") == "***, ***"
    with pytest.raises(StoreUnavailable):
        await values.get("DB")
    (tmp_path / "LATE").write_text("late-value")
    assert await values.get("LATE") == "late-value", "looked for at once, and found before the database is asked"


async def test_a_database_that_does_not_answer_is_waited_for_once(values, stored):
    """By all together: each time takes seconds."""
    stored.is_away = True
    failed = await asyncio.gather(*(values.get("DB") for _ in range(100)), return_exceptions=True)
    assert {type(each) for each in failed} == {StoreUnavailable}
    assert stored.asked == 1
    stored.is_away, stored.found = False, {"DB": "db-value"}
    await values.refresh(0.0)
    assert await values.get("DB") == "db-value"
