import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.keys import BadKey, KeyRing, KeySource, NoKey, UnknownKey, ensure_key_file, new_key


@given(st.text(st.characters(codec="utf-8")))
def test_what_was_sealed_opens_under_its_name_alone(value):
    ring = KeyRing.parse(new_key(), "test")
    sealed = ring.seal("A", value)
    assert ring.open("A", sealed) == value
    with pytest.raises(UnknownKey):
        ring.open("B", sealed)
    assert not value or value.encode() not in sealed.data or len(value) < 3


def test_the_first_key_seals_and_all_open():
    old, new = new_key(), new_key()
    sealed = KeyRing.parse(old, "test").seal("A", "value")
    ring = KeyRing.parse(f"{new}\n{old}\n", "test")
    assert ring.open("A", sealed) == "value"
    assert ring.seal("A", "value").key_id == ring.primary != sealed.key_id
    with pytest.raises(UnknownKey, match=sealed.key_id):
        KeyRing.parse(new, "test").open("A", sealed)


@pytest.mark.parametrize("text", ["nonsense!", "c2hvcnQ=", new_key()[:-4]], ids=["nonsense", "short", "cut"])
def test_what_is_no_key(text):
    with pytest.raises(BadKey, match="SECRETS_KEY"):
        KeyRing.parse(text, "SECRETS_KEY")


def test_without_a_key_nothing_is_sealed():
    with pytest.raises(NoKey):
        KeySource("", None).ring().seal("A", "x")


def test_a_key_file_is_made_once_for_its_owner_alone_and_read_anew_when_it_changes(tmp_path):
    file = tmp_path / "keys" / "secrets.key"
    ensure_key_file(file)
    before = file.read_text()
    ensure_key_file(file)
    assert file.read_text() == before
    assert file.stat().st_mode & 0o077 == 0
    source = KeySource("", file)
    first = source.ring().primary
    file.write_text(f"{new_key()}\n{before}")
    assert source.ring().primary != first
