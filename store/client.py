"""The connection to MongoDB.

The driver is PyMongo's asyncio client, the successor of Motor, which is past its end of life. Writes ask for
``w=majority, journal=true``: an acknowledged admission or terminal state survives the death of the server.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pymongo
from pymongo import AsyncMongoClient, IndexModel
from pymongo.asynchronous.collection import AsyncCollection

from store.audit import MongoAudit
from store.backfills import MongoBackfills
from store.executions import MongoExecutions
from store.failures import translated
from store.group_commit import Observe, unobserved
from store.idempotency import KEPT, MongoIdempotency
from store.occurrences import MongoOccurrences
from store.retention import ExecutionRetention, MongoRetention
from store.runners import MongoRunners
from store.secrets import MongoSecrets
from store.signals import MongoSignals
from store.tokens import MongoTokens
from store.variables import MongoVariables
from store.workflows import MongoWorkflows

# Building an index over a collection that is large already takes minutes, where every other operation takes milliseconds.
_INDEX_TIMEOUT = 600.0
_IDLE_MILLISECONDS = 120_000


class MongoStore:
    """The repositories on one database; opened by :meth:`start`, never at import time."""

    executions: MongoExecutions
    workflows: MongoWorkflows
    runners: MongoRunners
    tokens: MongoTokens
    audit: MongoAudit
    idempotency: MongoIdempotency
    occurrences: MongoOccurrences
    backfills: MongoBackfills
    secrets: MongoSecrets
    signals: MongoSignals
    variables: MongoVariables

    def __init__(
        self,
        url: str,
        database: str,
        *,
        timeout: float = 3.0,
        credentials: Mapping[str, Any] | None = None,
        user: str = "wf",
    ) -> None:
        """Prepare a store for a ``user``: a service, or the command line.

        ``timeout`` (seconds) bounds every operation.
        """
        milliseconds = int(timeout * 1000)
        # Connects with the first operation only; a client belongs to the event loop that uses it first.
        self._client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            url,
            tz_aware=True,
            connect=False,
            w="majority",
            journal=True,
            retryWrites=False,
            serverSelectionTimeoutMS=milliseconds,
            connectTimeoutMS=milliseconds,
            # A frozen server must not hold a caller for longer than an unreachable one.
            socketTimeoutMS=milliseconds,
            timeoutMS=milliseconds * 2,
            # How long a server that took itself for no primary is left alone: less than an operation is given.
            heartbeatFrequencyMS=max(500, milliseconds),
            # Asked that often, a server need not also tell changes by itself; that takes one more connection of each client
            # and a third of what an idle one costs.
            serverMonitoringMode="poll",
            # Servers and load balancers close what is idle for minutes (the standalone database after ten), and the driver
            # notices only when it writes there: the first request after a quiet time would fail.
            maxIdleTimeMS=_IDLE_MILLISECONDS,
            # By this name the server's own log and currentOp tell whose operations are whose.
            appname=f"workflow-automation-{user}",
            **(credentials or {}),
        )
        self._database = self._client[database]
        self.observe_batches: Observe = unobserved
        self.executions = MongoExecutions(self._database.open_executions, self._database.executions, self._observe)
        self.workflows = MongoWorkflows(self._database.workflows, self._database.workflow_versions, self._observe)
        self.runners = MongoRunners(self._database.runners)
        self.tokens = MongoTokens(self._database.tokens)
        self.audit = MongoAudit(self._database.audit)
        self.idempotency = MongoIdempotency(self._database.idempotency_keys)
        self.occurrences = MongoOccurrences(self._database.occurrences)
        self.backfills = MongoBackfills(self._database.backfills)
        self.secrets = MongoSecrets(self._database.secrets)
        self.signals = MongoSignals(self._database.signals)
        self.variables = MongoVariables(self._database.variables)

    def _observe(self, kind: str, size: int) -> None:
        self.observe_batches(kind, size)

    async def start(self) -> None:
        """Connect; raises StoreUnavailable when that fails."""
        await self.ping()

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ping(self) -> None:
        """Have the server read something; raises StoreUnavailable.

        One that cannot get at its files any more (its disk was full, say) may well go on answering ``ping``.
        """
        async with translated():
            await self._database.runners.find_one({}, {"_id": True})

    async def missing_indexes(self) -> dict[str, list[str]]:
        """Return the names of the indexes that :meth:`ensure_indexes` would make, by collection."""
        missing: dict[str, list[str]] = {}
        async with translated():
            for collection, indexes in self._indexes():
                there = await collection.index_information()
                absent = sorted(name for index in indexes if (name := index.document["name"]) not in there)
                if absent:
                    missing[collection.name] = absent
        return missing

    def retentions(self, *, executions: timedelta, ledger: timedelta, audit: timedelta) -> Sequence[MongoRetention]:
        """Return the retentions of everything that grows with time, for whoever sweeps."""
        sweeps = self._database.sweeps
        return [
            ExecutionRetention(self._database.executions, "finished_at", executions, sweeps),
            *(
                MongoRetention(self._database[name], instant, kept, sweeps)
                for name, instant, kept in (
                    ("occurrences", "last", ledger),
                    ("backfills", "finished_at", ledger),  # which those that are running do not have
                    ("audit", "at", audit),
                    ("idempotency_keys", "claimed_at", KEPT),
                    ("signals", "heeded_at", executions),  # which those that may still be waited for do not have
                )
            ),
        ]

    async def time(self) -> datetime:
        """Return what the server's clock shows; raises StoreUnavailable."""
        async with translated():
            answer = await self._client.admin.command("hello")
        found: datetime = answer["localTime"]  # in UTC, whatever the driver makes of it
        return found.replace(tzinfo=timezone.utc)

    async def ensure_indexes(self) -> None:
        """Create the indexes that are missing; safe from several services at once."""
        await self.ping()  # with the usual timeout
        async with translated():
            with pymongo.timeout(_INDEX_TIMEOUT):
                for collection, indexes in self._indexes():
                    await collection.create_indexes(indexes)

    def _indexes(self) -> Iterator[tuple[AsyncCollection[dict[str, Any]], Sequence[IndexModel]]]:
        for repository in (
            self.executions,
            self.workflows,
            self.occurrences,
            self.backfills,
            self.audit,
            self.idempotency,
            self.signals,
        ):
            yield from repository.indexes()
