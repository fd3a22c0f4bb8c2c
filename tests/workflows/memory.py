"""An in-memory store that keeps the contract of ``store.interfaces`` for what the API asks of it; it can go down."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.execution import Admission, Cause, Ended, Execution, Status, Transition, admit, apply, claim
from domain.identifiers import earliest_execution_id
from store.interfaces import (
    AdmissionAnswer,
    Admitted,
    Advance,
    AlreadyAdmitted,
    ExecutionFilter,
    Heartbeat,
    Locked,
    StoreUnavailable,
    VersionConflict,
    Workflow,
    WorkflowExists,
    WorkflowFilter,
)
from tests.fakes.access import FakeAudit, FakeIdempotency, FakeTokens
from tests.fakes.stores import FakeBackfills, FakeOccurrences


class Network:
    """Between the API and the database; every operation passes it, so that concurrent requests interleave."""

    def __init__(self) -> None:
        self.down = False

    async def cross(self) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise StoreUnavailable("mongodb-7.internal:27017: connection refused")


class MemoryExecutions:
    """Executions by id; the lock is what the unique index is in MongoDB."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.documents: dict[str, Execution] = {}
        self.untold: set[str] = set()

    async def admit(self, admission: Admission) -> AdmissionAnswer:
        await self.network.cross()
        if admission.execution_id in self.documents:
            return AlreadyAdmitted(admission.execution_id)
        holder = self._holder(admission.lock_key)
        if holder is not None:
            return Locked(holder.execution_id, holder.status, holder.cause is Cause.BACKFILL)
        self.documents[admission.execution_id] = admit(admission)
        return Admitted(admission.execution_id)

    async def get(self, execution_id: str) -> Execution | None:
        await self.network.cross()
        return self.documents.get(execution_id)

    async def states(self, ids: Sequence[str]) -> dict[str, tuple[int, Status]]:
        await self.network.cross()
        return {each: (self.documents[each].epoch, self.documents[each].status) for each in ids if each in self.documents}

    async def end(self, ended: Ended) -> Execution | None:
        await self.network.cross()
        before = self.documents.get(ended.execution_id)
        if before is None or not before.status.is_open:
            return None
        self.untold.add(ended.execution_id)
        return self.apply(ended)

    async def told(self, ids: Sequence[str]) -> None:
        await self.network.cross()
        self.untold.difference_update(ids)

    async def holder(self, lock_key: str) -> Execution | None:
        await self.network.cross()
        return self._holder(lock_key)

    async def holders(self, lock_keys: Sequence[str]) -> dict[str, Execution]:
        await self.network.cross()
        return {key: holder for key in lock_keys if (holder := self._holder(key)) is not None}

    async def latest(self, workflow_id: str) -> Execution | None:
        await self.network.cross()
        return next((found for found in self._newest_first() if found.workflow_id == workflow_id), None)

    async def recent(self, lock_keys: Mapping[str, Sequence[str]], limit: int) -> dict[str, Sequence[Execution]]:
        await self.network.cross()
        return {
            workflow_id: [
                replace(found, results={})
                for found in self._newest_first()
                if found.workflow_id == workflow_id and found.lock_key in (None, *keys)
            ][:limit]
            for workflow_id, keys in lock_keys.items()
        }

    async def list(self, where: ExecutionFilter, *, before: str | None, limit: int) -> Sequence[Execution]:
        await self.network.cross()
        found = [
            execution
            for execution in self._newest_first()
            if (before is None or execution.execution_id < before)
            and where.workflow_id in (None, execution.workflow_id)
            and (where.statuses is None or execution.status in where.statuses)
            and (where.causes is None or execution.cause in where.causes)
            and (where.created_from is None or execution.execution_id >= earliest_execution_id(where.created_from))
            and (where.created_to is None or execution.execution_id < earliest_execution_id(where.created_to))
        ]
        return found[:limit]

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        await self.network.cross()
        found = [found for found in self.documents.values() if found.wake_at and found.wake_at <= until]
        return sorted(found, key=lambda found: found.wake_at or until)[:limit]

    def _holder(self, lock_key: str | None) -> Execution | None:
        locked = (found for found in self.documents.values() if found.lock_key is not None)
        return next((found for found in locked if found.lock_key == lock_key), None)

    def _newest_first(self) -> Sequence[Execution]:
        return [self.documents[key] for key in sorted(self.documents, reverse=True)]

    async def line(self, workflow_id: str) -> Sequence[Execution]:
        await self.network.cross()
        found = [each for each in self.documents.values() if each.workflow_id == workflow_id]
        return [each for each in found if each.status is Status.QUEUED]

    # -- what the runner and the scheduler do --------------------------------------------------------------------------

    def start(self, execution_id: str, at: datetime) -> Execution:
        started = claim(self.documents[execution_id], self.documents[execution_id].epoch, "runner-1", at)
        assert started is not None
        self.documents[execution_id] = started
        return started

    def apply(self, transition: Transition) -> Execution:
        before = self.documents[transition.execution_id]
        after = apply(before, transition)
        assert after is not before, "the fence turned the transition away"
        self.documents[transition.execution_id] = after
        return after


class MemoryWorkflows:
    """Current versions by id."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.documents: dict[str, Workflow] = {}
        self.kept: dict[tuple[str, int], Workflow] = {}

    async def create(self, workflow: Workflow) -> Workflow:
        await self.network.cross()
        existing = self.documents.get(workflow.workflow_id)
        if existing is not None and existing.archived_at is None:
            raise WorkflowExists(workflow.workflow_id)
        if existing is not None:
            workflow = replace(workflow, version=existing.version + 1)
            self.kept[existing.workflow_id, existing.version] = existing
        self.documents[workflow.workflow_id] = workflow
        return workflow

    async def replace(self, workflow: Workflow) -> Workflow:
        await self.network.cross()
        if self.documents[workflow.workflow_id].version != workflow.version - 1:
            raise VersionConflict(workflow.workflow_id, workflow.version - 1)
        superseded = self.documents[workflow.workflow_id]
        self.kept[superseded.workflow_id, superseded.version] = superseded
        self.documents[workflow.workflow_id] = workflow
        return workflow

    async def get_version(self, workflow_id: str, version: int) -> Any:
        found = [each for each in await self.versions(workflow_id, before=None, limit=1000) if each.version == version]
        return found[0].definition if found else None

    async def versions(self, workflow_id: str, *, before: int | None, limit: int) -> Sequence[Workflow]:
        await self.network.cross()
        found = [kept for (of, _), kept in self.kept.items() if of == workflow_id]
        found += [self.documents[workflow_id]] if workflow_id in self.documents else []
        found = [workflow for workflow in found if before is None or workflow.version < before]
        return sorted(found, key=lambda workflow: workflow.version, reverse=True)[:limit]

    async def get(self, workflow_id: str) -> Workflow | None:
        await self.network.cross()
        return self.documents.get(workflow_id)

    async def pause(self, workflow_id: str, at: datetime, next_run: datetime) -> bool:
        await self.network.cross()
        head = self.documents[workflow_id]
        if head.next_run != next_run:
            return False
        self.documents[workflow_id] = replace(head, paused_at=at, held_from=next_run, next_run=None)
        return True

    async def resume(self, workflow_id: str, version: int, paused_at: datetime, advance: Advance) -> bool:
        await self.network.cross()
        head = self.documents[workflow_id]
        if (head.version, head.paused_at) != (version, paused_at):
            return False
        self.documents[workflow_id] = replace(
            head, paused_at=None, held_from=None, next_run=advance.next_run, unfired=advance.unfired
        )
        return True

    async def overdue_since(self, now: datetime) -> datetime | None:
        await self.network.cross()
        found = (head.next_run for head in self.documents.values() if head.next_run and head.next_run <= now)
        return min(found, default=None)

    async def archive(self, workflow: Workflow, at: datetime) -> bool:
        await self.network.cross()
        if self.documents[workflow.workflow_id] != workflow:
            return False
        self.kept[workflow.workflow_id, workflow.version] = workflow
        self.documents[workflow.workflow_id] = replace(
            workflow, archived_at=at, updated_at=at, next_run=None, version=workflow.version + 1
        )
        return True

    async def list(self, where: WorkflowFilter, *, after: str | None, limit: int) -> Sequence[Workflow]:
        await self.network.cross()
        found = [
            self.documents[key]
            for key in sorted(self.documents)
            if (after is None or key > after)
            and key.startswith(where.prefix or "")
            and (where.contains or "").lower() in key.lower()
        ]
        return [
            workflow
            for workflow in found
            if (workflow.archived_at is not None) == where.is_archived
            and where.trigger_type in (None, workflow.definition["trigger"]["type"])
        ][:limit]


class MemoryRunners:
    """Heartbeats."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.beats: list[Heartbeat] = []

    async def all(self) -> Sequence[Heartbeat]:
        await self.network.cross()
        return self.beats


class MemoryStore:
    """Takes the place of ``MongoStore``."""

    def __init__(self) -> None:
        self.network = Network()
        self.executions: Any = MemoryExecutions(self.network)
        self.workflows: Any = MemoryWorkflows(self.network)
        self.tokens = FakeTokens(self.network.cross)
        self.audit = FakeAudit(self.network.cross)
        self.idempotency = FakeIdempotency(self.network.cross)
        self.occurrences: Any = FakeOccurrences()
        self.backfills: Any = FakeBackfills()
        self.runners: Any = MemoryRunners(self.network)

    async def ping(self) -> None:
        await self.network.cross()
