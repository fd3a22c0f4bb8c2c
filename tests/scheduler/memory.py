"""An in-memory store, publisher and clock for the scheduler's tests; a crash can be set between any two steps."""

import heapq
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from domain.execution import (
    Admission,
    Cause,
    Ended,
    Execution,
    Reissued,
    Restart,
    Status,
    admit,
    apply,
)
from events.topics import partition_of
from store.interfaces import Admitted, AlreadyAdmitted, Due, Heartbeat, Locked, StoreUnavailable, Workflow

START = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


class Crash(Exception):
    """The process dies here."""


class Clock:
    """A wall clock and a monotonic one; both are set by hand, the wall clock can also be stepped."""

    def __init__(self) -> None:
        self.now = START
        self.elapsed = 1000.0

    def wall(self) -> datetime:
        return self.now

    def monotonic(self) -> float:
        return self.elapsed

    def sleep(self, seconds: float) -> None:
        self.elapsed += seconds
        self.now += timedelta(seconds=seconds)

    def step(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Faults:
    """What fails, by the name of the operation."""

    def __init__(self) -> None:
        self.unavailable: set[str] = set()
        self.crash_before: str | None = None
        self.crash_after: str | None = None

    def before(self, name: str) -> None:
        if name in self.unavailable:
            raise StoreUnavailable(f"{name}: no answer")
        if self.crash_before == name:
            raise Crash(name)

    def after(self, name: str) -> None:
        if self.crash_after == name:
            raise Crash(name)


class Executions:
    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.documents: dict[str, Execution] = {}
        self.calls: list[str] = []

    async def admit(self, admission: Admission) -> Any:
        self.faults.before("admit")
        self.calls.append("admit")
        if admission.execution_id in self.documents:
            return AlreadyAdmitted(admission.execution_id)
        if admission.lock_key is not None:
            holder = self.holder_of(admission.lock_key)
            if holder is not None:
                return Locked(holder.execution_id, holder.status)
        self.documents[admission.execution_id] = admit(admission)
        self.faults.after("admit")
        return Admitted(admission.execution_id)

    def holder_of(self, lock_key: str) -> Execution | None:
        return next((found for found in self.documents.values() if found.lock_key == lock_key), None)

    async def reissue(self, execution_id: str, epoch: int, at: datetime, why: Restart) -> Execution | None:
        self.faults.before("reissue")
        self.calls.append("reissue")
        found = self.documents.get(execution_id)
        if found is None or found.epoch != epoch:
            return None
        changed = apply(found, Reissued(execution_id, found.workflow_id, epoch + 1, at, why))
        if changed is found:
            return None
        self.documents[execution_id] = changed
        self.faults.after("reissue")
        return changed

    async def end(self, ended: Ended) -> Execution | None:
        found = self.documents.get(ended.execution_id)
        if found is None or not found.status.is_open:
            return None
        self.documents[ended.execution_id] = apply(found, ended)
        return self.documents[ended.execution_id]

    async def get(self, execution_id: str) -> Execution | None:
        return self.documents.get(execution_id)

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> list[Execution]:
        self.faults.before("waking")
        found = [e for e in self.documents.values() if e.status is Status.WAITING and e.shard in shards]
        return heapq.nsmallest(limit, (e for e in found if e.wake_at <= until), key=lambda e: e.wake_at)

    async def unclaimed(self, before: datetime, shards: frozenset[int], limit: int) -> list[Execution]:
        found = [e for e in self.documents.values() if e.status is Status.PENDING and e.shard in shards]
        return heapq.nsmallest(limit, (e for e in found if e.requested_at < before), key=lambda e: e.requested_at)

    async def owned(self, shards: frozenset[int]) -> dict[str, list[Execution]]:
        self.faults.before("owned")
        self.calls.append("owned")
        found: dict[str, list[Execution]] = {}
        for execution in self.documents.values():
            if execution.status is Status.RUNNING and execution.shard in shards:
                found.setdefault(execution.owner or "", []).append(execution)
        return found

    # -- what the rest of the system does ------------------------------------------------------------------------------

    def put(self, workflow_id: str, execution_id: str, **fields: Any) -> Execution:
        """Have an execution in some state."""
        execution = Execution(
            **{
                "execution_id": execution_id,
                "workflow_id": workflow_id,
                "version": 1,
                "cause": Cause.MANUAL,
                "status": Status.PENDING,
                "created_at": START,
                "requested_at": START if fields.get("status", Status.PENDING) is Status.PENDING else None,
                "retries_left": 2,
                "total_actions": 1,
                "shard": partition_of(workflow_id),
                "lock_key": workflow_id,
                **fields,
            }
        )
        self.documents[execution_id] = execution
        return execution

    def finish(self, execution_id: str) -> None:
        """Have a runner finish it."""
        found = self.documents[execution_id]
        self.documents[execution_id] = replace(found, status=Status.OK, lock_key=None, requested_at=None)


class Workflows:
    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.documents: dict[str, Workflow] = {}

    def put(self, workflow_id: str, interval: str = "10s", *, version: int = 1, **fields: Any) -> Workflow:
        """Have a periodic workflow whose grid stands on START."""
        workflow = Workflow(
            **{
                "workflow_id": workflow_id,
                "version": version,
                "definition": {"trigger": {"type": "periodic", "interval": interval}, "retries": 2},
                "total_actions": 1,
                "shard": partition_of(workflow_id),
                "created_at": START,
                "updated_at": START,
                "anchor": START,
                "next_run": START + timedelta(seconds=10),
                **fields,
            }
        )
        self.documents[workflow_id] = workflow
        return workflow

    async def get(self, workflow_id: str) -> Workflow | None:
        self.faults.before("get")
        return self.documents.get(workflow_id)

    async def due(self, until: datetime, shards: frozenset[int]) -> AsyncIterator[Due]:
        self.faults.before("due")
        found = [w for w in self.documents.values() if w.next_run and w.next_run <= until and w.shard in shards]
        for workflow in sorted(found, key=lambda workflow: workflow.next_run):
            if workflow.archived_at is None:
                yield self.due_of(workflow.workflow_id)

    def due_of(self, workflow_id: str) -> Due:
        workflow = self.documents[workflow_id]
        return Due(
            workflow_id=workflow_id,
            version=workflow.version,
            trigger=workflow.definition["trigger"],
            retries=workflow.definition["retries"],
            total_actions=workflow.total_actions,
            shard=workflow.shard,
            anchor=workflow.anchor,
            next_run=workflow.next_run,
        )

    async def advance(self, workflow_id: str, due: datetime, next_run: datetime | None) -> bool:
        self.faults.before("advance")
        workflow = self.documents.get(workflow_id)
        if workflow is None or workflow.next_run != due or workflow.archived_at is not None:
            return False
        self.documents[workflow_id] = replace(workflow, next_run=next_run)
        self.faults.after("advance")
        return True


class Runners:
    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.documents: dict[str, Heartbeat] = {}

    async def beat(self, heartbeat: Heartbeat) -> None:
        self.documents[heartbeat.runner] = heartbeat

    async def all(self) -> list[Heartbeat]:
        self.faults.before("runners")
        return list(self.documents.values())

    async def remove(self, runner: str) -> None:
        self.documents.pop(runner, None)


class Published:
    """Takes the place of Kafka."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.down = False
        self.requests: list[Execution] = []
        self.ends: list[Execution] = []

    async def request(self, execution: Execution) -> bool:
        self.faults.before("publish")
        if not self.down:
            self.requests.append(execution)
            self.faults.after("publish")
        return not self.down

    async def ended(self, execution: Execution) -> bool:
        self.faults.before("publish")
        if not self.down:
            self.ends.append(execution)
        return not self.down
