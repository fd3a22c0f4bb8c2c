"""The connection to MongoDB.

The driver is PyMongo's asyncio client, the successor of Motor, which is past its end of life. Writes ask for
``w=majority, journal=true``: an acknowledged admission or terminal state survives the death of the server.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

import pymongo
from pymongo import AsyncMongoClient

from store.audit import MongoAudit
from store.executions import MongoExecutions
from store.failures import translated
from store.idempotency import MongoIdempotency
from store.occurrences import MongoOccurrences
from store.runners import MongoRunners
from store.secrets import MongoSecrets
from store.tokens import MongoTokens
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
    secrets: MongoSecrets

    def __init__(
        self,
        url: str,
        database: str,
        *,
        timeout: float = 3.0,
        retention_days: float = 30.0,
        audit_retention_days: float = 365.0,
        ledger_retention_days: float = 90.0,
        credentials: Mapping[str, Any] | None = None,
        user: str = "wf",
    ) -> None:
        """Prepare a store for a ``user``: a service, or the command line.

        ``timeout`` (seconds) bounds every operation, the others say how long what is finished lives.
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
            # Servers and load balancers close what is idle for minutes (the standalone database after ten), and the driver
            # notices only when it writes there: the first request after a quiet time would fail.
            maxIdleTimeMS=_IDLE_MILLISECONDS,
            # By this name the server's own log and currentOp tell whose operations are whose.
            appname=f"workflow-automation-{user}",
            **(credentials or {}),
        )
        self._database = self._client[database]
        self.executions = MongoExecutions(
            self._database.open_executions, self._database.executions, retention=timedelta(days=retention_days)
        )
        self.workflows = MongoWorkflows(self._database.workflows, self._database.workflow_versions)
        self.runners = MongoRunners(self._database.runners)
        self.tokens = MongoTokens(self._database.tokens)
        self.audit = MongoAudit(self._database.audit, retention=timedelta(days=audit_retention_days))
        self.idempotency = MongoIdempotency(self._database.idempotency_keys)
        self.occurrences = MongoOccurrences(self._database.occurrences, retention=timedelta(days=ledger_retention_days))
        self.secrets = MongoSecrets(self._database.secrets)

    async def start(self) -> None:
        """Connect; raises StoreUnavailable when that fails."""
        await self.ping()

    async def stop(self) -> None:
        """Close the connections."""
        await self._client.close()

    async def ping(self) -> None:
        """Ask the server for a sign of life; raises StoreUnavailable."""
        async with translated():
            await self._client.admin.command("ping")

    async def missing_indexes(self) -> dict[str, list[str]]:
        """Return the names of the indexes that :meth:`ensure_indexes` would make, by collection."""
        wanted = {
            "open_executions": {"lock_key", "waking", "deadline", "owner"},
            "executions": {"by_workflow", "by_status", "retention"},
            "workflows": {"next_run"},
            "occurrences": {"retention"},
            "audit": {"retention"},
            "idempotency_keys": {"retention"},
        }
        missing: dict[str, list[str]] = {}
        async with translated():
            for collection, names in wanted.items():
                absent = sorted(names - set(await self._database[collection].index_information()))
                if absent:
                    missing[collection] = absent
        return missing

    async def time(self) -> datetime:
        """Return what the server's clock shows; raises StoreUnavailable."""
        async with translated():
            answer = await self._client.admin.command("hello")
        found: datetime = answer["localTime"]  # in UTC, whatever the driver makes of it
        return found.replace(tzinfo=timezone.utc)

    async def ensure_indexes(self, *, change: bool = True) -> None:
        """Create the indexes that are missing; safe from several services at once.

        A retention that is set in the database is changed to that of this store, unless ``change`` is False.
        """
        await self.ping()  # with the usual timeout
        async with translated():
            with pymongo.timeout(_INDEX_TIMEOUT):
                await self.executions.ensure_indexes(change=change)
                await self.workflows.ensure_indexes()
                await self.occurrences.ensure_indexes(change=change)
                await self.audit.ensure_indexes(change=change)
                await self.idempotency.ensure_indexes()
