"""The fakes of the store behind a network that can go down."""

import asyncio
import inspect
from datetime import datetime
from typing import Any

from domain.execution import Execution, Transition, apply, claim
from store.interfaces import StoreUnavailable, Workflow
from tests.fakes.access import FakeAudit, FakeIdempotency, FakeTokens
from tests.fakes.stores import (
    FakeBackfills,
    FakeExecutions,
    FakeOccurrences,
    FakeRunners,
    FakeSignals,
    FakeVariables,
    FakeWorkflows,
)


class Network:
    """Between the API and the database; every operation passes it, so that concurrent requests interleave."""

    def __init__(self) -> None:
        self.down = False

    async def cross(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("mongodb-7.internal:27017: connection refused")


class Remote:
    """A fake whose operations pass the network. What a test sets here takes the place of one."""

    def __init__(self, fake: Any, network: Network) -> None:
        self._fake = fake
        self._network = network

    def __getattr__(self, name: str) -> Any:
        operation = getattr(self._fake, name)
        if not inspect.iscoroutinefunction(operation):
            return operation

        async def across(*args: Any, **kwargs: Any) -> Any:
            await self._network.cross()
            return await operation(*args, **kwargs)

        return across


class Executions(FakeExecutions):
    """With what the runner and the scheduler do."""

    @property
    def documents(self) -> dict[str, Execution]:
        return self.found

    def start(self, execution_id: str, at: datetime) -> Execution:
        started = claim(self.found[execution_id], self.found[execution_id].epoch, "runner-1", at)
        assert started is not None
        self.found[execution_id] = started
        return started

    def apply(self, transition: Transition) -> Execution:
        before = self.found[transition.execution_id]
        after = apply(before, transition)
        assert after is not before, "the fence turned the transition away"
        self.found[transition.execution_id] = after
        return after


class Workflows(FakeWorkflows):
    @property
    def documents(self) -> dict[str, Workflow]:
        return self.heads


class MemoryStore:
    """Takes the place of ``MongoStore``."""

    def __init__(self) -> None:
        self.network = Network()
        self.executions: Any = Remote(Executions(), self.network)
        self.workflows: Any = Remote(Workflows(), self.network)
        self.variables: Any = Remote(FakeVariables(), self.network)
        self.tokens = FakeTokens(self.network.cross)
        self.audit = FakeAudit(self.network.cross)
        self.idempotency = FakeIdempotency(self.network.cross)
        self.occurrences: Any = FakeOccurrences()
        self.backfills: Any = FakeBackfills()
        self.signals: Any = Remote(FakeSignals(), self.network)
        self.runners: Any = Remote(FakeRunners(), self.network)

    async def ping(self) -> None:
        await self.network.cross()
