from datetime import datetime, timedelta, timezone

import pytest

from domain.access import Scope, Token, csrf_of, digest, token_id_of, write_token

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def test_each_scope_includes_the_ones_before_it():
    order = [Scope.PUBLIC, Scope.VIEWER, Scope.OPERATOR, Scope.ADMIN]
    for have in order:
        for needed in order:
            assert have.covers(needed) == (order.index(have) >= order.index(needed))


def test_a_token_names_its_id_and_matches_itself_alone():
    text = write_token(bytes(range(8)), bytes(range(32)))
    token = Token("0001020304050607", "ci", Scope.VIEWER, digest(text), NOW)
    assert token_id_of(text) == token.token_id
    assert token.matches(text)
    assert not token.matches(text + "A")
    assert text not in repr(token)
    assert csrf_of(text) != digest(text)


@pytest.mark.parametrize(
    "text", ["", "wf_", "wf_00_aa", "wf_0001020304050607_" + "a" * 42, "wf_" + "g" * 16 + "_" + "a" * 43]
)
def test_what_is_no_token(text):
    assert token_id_of(text) is None


@pytest.mark.parametrize(
    ("more", "is_good"),
    [
        ({}, True),
        ({"expires_at": NOW + timedelta(seconds=1)}, True),
        ({"expires_at": NOW}, False),
        ({"revoked_at": NOW - timedelta(days=1)}, False),
    ],
)
def test_when_a_token_is_good(more, is_good):
    assert Token("0", "ci", Scope.VIEWER, "d", NOW, **more).is_good(NOW) == is_good
