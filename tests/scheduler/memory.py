"""The fakes of the store with faults: what fails, or crashes between two steps; a publisher and clocks set by hand."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

from apps.scheduler.agenda import Agenda
from apps.scheduler.taken import LogUnavailable, Reach
from domain.backfill import Backfill
from domain.execution import Admission, Cause, Ended, Execution, Restart, Status
from events.topics import PARTITIONS, partition_of
from store.interfaces import AdmissionAnswer, Advance, Due, StoreUnavailable, Workflow
from tests.fakes.stores import FakeBackfills, FakeExecutions, FakeRunners, FakeWorkflows

START = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
FAR = START + timedelta(days=365)
ALL_SHARDS = frozenset(range(PARTITIONS))


class Crash(Exception):
    """The process dies here."""


async def settled(*agendas: Agenda) -> None:
    """Return when nothing of them is in flight: what they release waits for nothing but the turns of the loop here."""
    while any(agenda.in_flight for agenda in agendas):  # noqa: ASYNC110 - an agenda tells nobody of it
        await asyncio.sleep(0)


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


class Executions(FakeExecutions):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults
        self.calls: list[str] = []

    async def admit(self, admission: Admission) -> AdmissionAnswer:
        self.faults.before("admit")
        self.calls.append("admit")
        answer = await super().admit(admission)
        self.faults.after("admit")
        return answer

    async def reissue(
        self, execution_id: str, epoch: int, at: datetime, why: Restart, reason: str | None = None
    ) -> Execution | None:
        self.faults.before("reissue")
        answer = await super().reissue(execution_id, epoch, at, why, reason)
        self.faults.after("reissue")
        return answer

    async def end(self, ended: Ended) -> Execution | None:
        self.faults.before("end")
        answer = await super().end(ended)
        self.faults.after("end")
        return answer

    async def expiring(self, until: datetime, shards: frozenset[int], limit: int) -> Any:
        self.faults.before("expiring")
        return await super().expiring(until, shards, limit)

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Any:
        self.faults.before("waking")
        return await super().waking(until, shards, limit)

    async def owned(self, shards: frozenset[int]) -> Any:
        self.faults.before("owned")
        self.calls.append("owned")
        return await super().owned(shards)

    async def backlog(self, at: datetime) -> Any:
        self.faults.before("backlog")
        self.calls.append("backlog")
        return await super().backlog(at)

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
        self.found[execution_id] = execution
        return execution

    def finish(self, execution_id: str) -> None:
        """Have a runner finish it."""
        closed = {"status": Status.OK, "lock_key": None, "requested_at": None, "owner": None}
        closed |= {"wake_at": None, "deadline": None}
        self.found[execution_id] = replace(self.found[execution_id], **closed)


class Workflows(FakeWorkflows):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

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
        self.heads[workflow_id] = workflow
        return workflow

    async def due_of(self, workflow_id: str) -> Due:
        """Return what a pass would read of one workflow."""
        found = {due.workflow_id: due async for due in super().due(FAR, ALL_SHARDS)}
        return found[workflow_id]

    async def get(self, workflow_id: str) -> Workflow | None:
        self.faults.before("get")
        return await super().get(workflow_id)

    async def due(self, until: datetime, shards: frozenset[int]) -> AsyncIterator[Due]:
        self.faults.before("due")
        async for due in super().due(until, shards):
            yield due

    async def advance(self, workflow_id: str, version: int, due: datetime, advance: Advance) -> bool:
        self.faults.before("advance")
        answer = await super().advance(workflow_id, version, due, advance)
        self.faults.after("advance")
        return answer


class Backfills(FakeBackfills):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    async def save(self, backfill: Backfill) -> bool:
        self.faults.before("save")
        answer = await super().save(backfill)
        self.faults.after("save")
        return answer

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Any:
        self.faults.before("backfills")
        return await super().waking(until, shards, limit)


class Runners(FakeRunners):
    def __init__(self, faults: Faults) -> None:
        super().__init__()
        self.faults = faults

    async def all(self) -> Any:
        self.faults.before("runners")
        return await super().all()


class Requests:
    """Takes the place of Kafka: how far its requests go, and how far runners have acknowledged them."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.found: dict[int, Reach] = {shard: Reach(0, 0) for shard in ALL_SHARDS}

    async def reaches(self) -> Mapping[int, Reach]:
        if "requests" in self.faults.unavailable:
            raise LogUnavailable("no answer")
        return dict(self.found)


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
