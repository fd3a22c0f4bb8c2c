"""What was answered to requests with an ``Idempotency-Key``, for a day.

Life cycle of a key: *claimed* by the insert of its document, before the request is carried out; then *answered*, when the
answer is kept in it; or *released*, when the request was refused and changed nothing; or *left*, when nobody knows what
became of it. A claim that is none of these after ``LEASE`` belongs to a process that died. Whoever repeats the request takes
such a claim, and one that was left, over: the instant of the first claim stays.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import DuplicateKeyError

from domain.instants import EPOCH
from store.failures import translated
from store.interfaces import KeptAnswer, KeyClaim

KEPT: Final = timedelta(days=1)
LEASE: Final = timedelta(seconds=30)


class MongoIdempotency:
    """See :class:`store.interfaces.Idempotency`."""

    def __init__(self, collection: AsyncCollection[dict[str, Any]]) -> None:
        self._collection = collection

    def indexes(self) -> Iterator[tuple[AsyncCollection[dict[str, Any]], Sequence[IndexModel]]]:
        """Yield the index of the retention."""
        yield self._collection, [IndexModel([("claimed_at", ASCENDING)], name="claimed_at")]

    async def claim(self, key: str, fingerprint: str, now: datetime) -> KeyClaim:
        """Claim a key, or return what is known of it."""
        async with translated():
            try:
                await self._collection.insert_one(
                    {
                        "_id": key,
                        "fingerprint": fingerprint,
                        "claimed_at": now,
                        "leased_at": now,
                    }
                )
                return KeyClaim(is_ours=True, first_at=now, leased_at=now, fingerprint=fingerprint)
            except DuplicateKeyError:
                found = await self._collection.find_one({"_id": key})
            if found is None:  # released in between
                return KeyClaim(is_ours=False, first_at=now, leased_at=now, fingerprint=fingerprint)
            is_ours = False
            if found["fingerprint"] == fingerprint and "answer" not in found and found["leased_at"] + LEASE < now:
                taken = await self._collection.update_one(
                    {"_id": key, "leased_at": found["leased_at"]}, {"$set": {"leased_at": now}}
                )
                is_ours = taken.matched_count > 0
        answer = found.get("answer")
        return KeyClaim(
            is_ours=is_ours,
            first_at=found["claimed_at"],
            leased_at=now,
            fingerprint=found["fingerprint"],
            answer=None if answer is None else KeptAnswer(answer["status"], answer["headers"], answer["body"]),
        )

    async def keep(self, key: str, claim: KeyClaim, answer: KeptAnswer) -> None:
        """Keep the answer of a claimed key."""
        kept = {"status": answer.status, "headers": dict(answer.headers), "body": answer.body}
        async with translated():
            await self._collection.update_one(_leased(key, claim), {"$set": {"answer": kept}})

    async def release(self, key: str, claim: KeyClaim) -> None:
        """Forget a claimed key: its request changed nothing."""
        async with translated():
            await self._collection.delete_one(_leased(key, claim))

    async def leave(self, key: str, claim: KeyClaim) -> None:
        """End the lease of a claimed key, whose request may have changed something."""
        async with translated():
            await self._collection.update_one(_leased(key, claim), {"$set": {"leased_at": EPOCH}})


def _leased(key: str, claim: KeyClaim) -> dict[str, Any]:
    """Return what finds a key as it was claimed: one whose lease has lapsed may be somebody else's by now."""
    return {"_id": key, "leased_at": claim.leased_at}
