"""Tokens, audit log and idempotency keys: the fakes and MongoDB keep one contract."""

from datetime import datetime, timedelta, timezone

import pytest

from domain.access import Scope, Token
from domain.identifiers import execution_id
from store.interfaces import AuditEntry, AuditFilter, KeptAnswer

pytestmark = pytest.mark.asyncio(loop_scope="session")

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


def token(name, **more):
    return Token(
        token_id=name.encode().hex().ljust(16, "0"), name=name, scope=Scope.VIEWER, digest="d", created_at=NOW, **more
    )


async def test_tokens_come_back_as_they_were(store):
    one = token("one", expires_at=NOW + timedelta(hours=1))
    two = token("two")
    await store.tokens.add(one)
    await store.tokens.add(two)
    assert await store.tokens.get(one.token_id) == one
    assert await store.tokens.get("0" * 16) is None
    assert {each.name for each in await store.tokens.all()} == {"one", "two"}


async def test_a_token_is_revoked_once(store):
    one = token("one")
    await store.tokens.add(one)
    assert await store.tokens.revoke(one.token_id, NOW)
    assert not await store.tokens.revoke(one.token_id, NOW + timedelta(hours=1))
    assert not await store.tokens.revoke("0" * 16, NOW)
    assert (await store.tokens.get(one.token_id)).revoked_at == NOW


async def test_use_is_noted(store):
    one = token("one")
    await store.tokens.add(one)
    await store.tokens.note_use(one.token_id, NOW)
    assert (await store.tokens.get(one.token_id)).last_used_at == NOW


def entry(number, **more):
    at = NOW + timedelta(seconds=number)
    made = {
        "entry_id": execution_id(at, bytes(10)),
        "at": at,
        "who": "anna",
        "token_id": None,
        "operation": "replaceWorkflow",
        "path": "/workflows/a",
        "status": 200,
        "request_id": "r",
        "changes": [{"path": "a.$b", "before": None, "after": {"x.y": 1}}],
    }
    return AuditEntry(**{**made, **more})


async def test_the_audit_log_is_read_from_its_end(store):
    for number in range(3):
        await store.audit.write(entry(number))
    await store.audit.write(entry(3, who="ben", changes=[]))
    newest = await store.audit.list(AuditFilter(), before=None, limit=2)
    assert newest == [entry(3, who="ben", changes=[]), entry(2)]
    assert await store.audit.list(AuditFilter(), before=newest[-1].entry_id, limit=5) == [entry(1), entry(0)]
    assert len(await store.audit.list(AuditFilter(who="anna", path="/workflows/a"), before=None, limit=5)) == 3
    assert await store.audit.list(AuditFilter(operation="other"), before=None, limit=5) == []
    for number, path in enumerate(("/workflows/a/pause", "/workflows/a.b", "/workflows"), start=4):
        await store.audit.write(entry(number, path=path))
    below = await store.audit.list(AuditFilter(path="/workflows/a"), before=None, limit=2)
    assert [found.path for found in below] == ["/workflows/a/pause", "/workflows/a"]


async def test_a_key_is_claimed_once_and_its_answer_kept(store):
    keys = store.idempotency
    claim = await keys.claim("k", "f", NOW)
    assert claim.is_ours
    later = await keys.claim("k", "f", NOW + timedelta(seconds=1))
    assert (later.is_ours, later.first_at, later.answer) == (False, NOW, None)
    answer = KeptAnswer(201, {"ETag": '"1"'}, b"{}")
    await keys.keep("k", claim, answer)
    assert (await keys.claim("k", "f", NOW + timedelta(hours=1))).answer == answer
    assert (await keys.claim("k", "other", NOW)).fingerprint == "f"


async def test_a_claim_of_a_process_that_died_is_taken_over_once(store):
    keys = store.idempotency
    await keys.claim("k", "f", NOW)
    taken = await keys.claim("k", "f", NOW + timedelta(seconds=31))
    assert (taken.is_ours, taken.first_at) == (True, NOW)
    assert not (await keys.claim("k", "f", NOW + timedelta(seconds=32))).is_ours


async def test_a_released_key_is_free(store):
    keys = store.idempotency
    await keys.release("k", await keys.claim("k", "f", NOW))
    assert (await keys.claim("k", "g", NOW)).is_ours


async def test_a_key_that_is_left_is_taken_over_at_once_and_by_one(store):
    keys = store.idempotency
    claim = await keys.claim("k", "f", NOW)
    await keys.leave("k", claim)
    later = NOW + timedelta(seconds=1)
    taken = await keys.claim("k", "f", later)
    assert (taken.is_ours, taken.first_at) == (True, NOW)
    assert not (await keys.claim("k", "f", later)).is_ours
    await keys.leave("unknown", claim)
    assert (await keys.claim("unknown", "f", NOW)).is_ours


async def test_whose_lease_has_lapsed_changes_nothing_of_a_key_that_is_somebody_elses(store):
    keys = store.idempotency
    slow = await keys.claim("k", "f", NOW)
    later = NOW + timedelta(seconds=31)
    taken = await keys.claim("k", "f", later)
    assert taken.is_ours
    await keys.leave("k", slow)
    assert not (await keys.claim("k", "f", later)).is_ours
    await keys.keep("k", slow, KeptAnswer(409, {}, b"{}"))
    answer = KeptAnswer(202, {}, b"{}")
    await keys.keep("k", taken, answer)
    await keys.release("k", slow)
    assert (await keys.claim("k", "f", later)).answer == answer
