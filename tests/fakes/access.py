"""Tokens, audit log and idempotency keys in memory, under the same contract tests as those in MongoDB."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime

from domain.access import Token
from domain.instants import EPOCH
from store.idempotency import LEASE
from store.interfaces import AuditEntry, AuditFilter, KeptAnswer, KeyClaim


async def _at_once() -> None:
    return None


class FakeTokens:
    """See :class:`store.interfaces.Tokens`."""

    def __init__(self, cross: Callable[[], Awaitable[None]] = _at_once) -> None:
        self.cross = cross
        self.documents: dict[str, Token] = {}
        self.reads = 0

    async def add(self, token: Token) -> None:
        await self.cross()
        self.documents[token.token_id] = token

    async def get(self, token_id: str) -> Token | None:
        await self.cross()
        self.reads += 1
        return self.documents.get(token_id)

    async def all(self) -> Sequence[Token]:
        await self.cross()
        return sorted(self.documents.values(), key=lambda token: token.created_at)

    async def revoke(self, token_id: str, at: datetime) -> bool:
        await self.cross()
        token = self.documents.get(token_id)
        if token is None or token.revoked_at is not None:
            return False
        self.documents[token_id] = replace(token, revoked_at=at)
        return True

    async def note_use(self, token_id: str, at: datetime) -> None:
        await self.cross()
        self.documents[token_id] = replace(self.documents[token_id], last_used_at=at)


class FakeAudit:
    """See :class:`store.interfaces.Audit`."""

    def __init__(self, cross: Callable[[], Awaitable[None]] = _at_once) -> None:
        self.cross = cross
        self.entries: list[AuditEntry] = []

    async def write(self, entry: AuditEntry) -> None:
        await self.cross()
        self.entries.append(entry)

    async def list(self, where: AuditFilter, *, before: str | None, limit: int) -> Sequence[AuditEntry]:
        await self.cross()
        found = [
            entry
            for entry in sorted(self.entries, key=lambda entry: entry.entry_id, reverse=True)
            if (before is None or entry.entry_id < before)
            and (where.path is None or f"{entry.path}/".startswith(f"{where.path}/"))
            and where.who in (None, entry.who)
            and where.operation in (None, entry.operation)
        ]
        return found[:limit]


class FakeIdempotency:
    """See :class:`store.interfaces.Idempotency`."""

    def __init__(self, cross: Callable[[], Awaitable[None]] = _at_once) -> None:
        self.cross = cross
        self.keys: dict[str, KeyClaim] = {}

    async def claim(self, key: str, fingerprint: str, now: datetime) -> KeyClaim:
        await self.cross()
        claim = KeyClaim(is_ours=False, first_at=now, leased_at=now, fingerprint=fingerprint)
        found = self.keys.setdefault(key, claim)
        if found is claim:
            return replace(claim, is_ours=True)
        if found.fingerprint == fingerprint and found.answer is None and found.leased_at + LEASE < now:
            self.keys[key] = replace(found, leased_at=now)
            return replace(self.keys[key], is_ours=True)
        return found

    async def keep(self, key: str, claim: KeyClaim, answer: KeptAnswer) -> None:
        await self.cross()
        if self._is_leased(key, claim):
            self.keys[key] = replace(self.keys[key], answer=answer)

    async def release(self, key: str, claim: KeyClaim) -> None:
        await self.cross()
        if self._is_leased(key, claim):
            del self.keys[key]

    async def leave(self, key: str, claim: KeyClaim) -> None:
        await self.cross()
        if self._is_leased(key, claim):
            self.keys[key] = replace(self.keys[key], leased_at=EPOCH)

    def _is_leased(self, key: str, claim: KeyClaim) -> bool:
        return key in self.keys and self.keys[key].leased_at == claim.leased_at
