"""In-memory repositories that obey the same contract tests as the real ones (tests/store)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from domain.backfill import Backfill
from domain.execution import (
    ActionFinished,
    Admission,
    Cause,
    Ended,
    Execution,
    Reissued,
    Restart,
    Status,
    admit,
    apply,
    claim,
)
from domain.identifiers import earliest_execution_id
from domain.occurrence import Unfired
from domain.signal import Signal
from domain.subscription import Subscribed
from store.interfaces import (
    AdmissionAnswer,
    Admitted,
    Advance,
    AlreadyAdmitted,
    Backlog,
    Due,
    ExecutionFilter,
    Heartbeat,
    Locked,
    Started,
    StoreRefused,
    Variable,
    VersionConflict,
    Workflow,
    WorkflowExists,
    WorkflowFilter,
)

_ALL = 1_000_000


class FakeExecutions:
    """See :class:`store.interfaces.Executions`."""

    def __init__(self) -> None:
        self.found: dict[str, Execution] = {}
        self.ends_untold: set[str] = set()

    async def admit(self, admission: Admission) -> AdmissionAnswer:
        if admission.execution_id in self.found:
            return AlreadyAdmitted(admission.execution_id)
        if admission.lock_key is not None:
            holder = await self.holder(admission.lock_key)
            if holder is not None:
                return Locked(holder.execution_id, holder.status, holder.cause is Cause.BACKFILL)
        self.found[admission.execution_id] = admit(admission)
        return Admitted(admission.execution_id)

    async def admit_in_order(self, admissions: Sequence[Admission]) -> Sequence[AdmissionAnswer]:
        answers: list[AdmissionAnswer] = []
        for admission in admissions:
            try:
                answers.append(await self.admit(admission))
            except StoreRefused:
                if not answers:
                    raise
                break
            if isinstance(answers[-1], Locked):
                break
        return answers

    async def withdraw(self, execution_id: str) -> bool:
        found = self.found.get(execution_id)
        if found is None or found.epoch != 1 or found.status not in (Status.PENDING, Status.QUEUED):
            return False
        del self.found[execution_id]
        return True

    async def claim(self, execution_id: str, epoch: int, runner: str, at: datetime) -> Execution | None:
        before = self.found.get(execution_id)
        after = claim(before, epoch, runner, at) if before else None
        if after is not None:
            self.found[execution_id] = after
        return after

    async def mark_started(self, marks: Sequence[Started]) -> frozenset[str]:
        lost = set()
        for mark in marks:
            before = self.found.get(mark.execution_id)
            if before is None or before.epoch != mark.epoch:
                lost.add(mark.execution_id)
            elif before.status is Status.PENDING:
                self.found[mark.execution_id] = replace(
                    before,
                    status=Status.RUNNING,
                    owner=mark.runner,
                    requested_at=None,
                    started_at=min(filter(None, (before.started_at, mark.at))),
                )
        return frozenset(lost)

    async def project(
        self, results: Sequence[ActionFinished], *, folded: Mapping[str, Execution] | None = None
    ) -> frozenset[str]:
        refused = set()
        for result in results:
            before = self.found.get(result.execution_id)
            if before is None or before.epoch != result.epoch:
                refused.add(result.execution_id)
            else:
                self.found[result.execution_id] = apply(before, result)
        return frozenset(refused)

    async def reissue(
        self, execution_id: str, epoch: int, at: datetime, why: Restart, reason: str | None = None
    ) -> Execution | None:
        before = self.found.get(execution_id)
        if before is None or before.epoch != epoch:
            return None
        if why is Restart.RELEASED and await self.holder(before.workflow_id) is not None:
            return None
        after = apply(before, Reissued(execution_id, before.workflow_id, epoch + 1, at, why, reason))
        self.found[execution_id] = after
        return None if after is before else after

    async def end(self, ended: Ended) -> Execution | None:
        before = self.found.get(ended.execution_id)
        after = apply(before, ended) if before is not None else None
        if after is None or after is before:
            return None
        self.found[ended.execution_id] = after
        self.ends_untold.add(ended.execution_id)
        return after

    async def told(self, ids: Sequence[str]) -> None:
        self.ends_untold.difference_update(ids)

    async def untold(self, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        return [self.found[each] for each in sorted(self.ends_untold) if self.found[each].shard in shards][:limit]

    async def intend(self, execution_id: str, epoch: int, key: str, runner: str, at: datetime) -> bool:
        before = self.found.get(execution_id)
        if before is None or before.epoch != epoch or before.status not in (Status.PENDING, Status.RUNNING):
            return False
        self.found[execution_id] = replace(
            before,
            status=Status.RUNNING,
            intents=tuple(dict.fromkeys((*before.intents, key))),
            owner=runner,
            requested_at=None,
            started_at=min(filter(None, (before.started_at, at))),
        )
        return True

    async def states(self, ids: Sequence[str]) -> Mapping[str, tuple[int, Status]]:
        return {each: (self.found[each].epoch, self.found[each].status) for each in ids if each in self.found}

    async def get(self, execution_id: str) -> Execution | None:
        return self.found.get(execution_id)

    async def holder(self, lock_key: str) -> Execution | None:
        return (await self.holders([lock_key])).get(lock_key)

    async def holders(self, lock_keys: Sequence[str]) -> Mapping[str, Execution]:
        return {e.lock_key: e for e in self.found.values() if e.lock_key is not None and e.lock_key in lock_keys}

    async def list(self, where: ExecutionFilter, *, before: str | None, limit: int) -> Sequence[Execution]:
        def matches(execution: Execution) -> bool:
            return (
                (where.workflow_id is None or execution.workflow_id == where.workflow_id)
                and (where.statuses is None or execution.status in where.statuses)
                and (where.created_from is None or execution.execution_id >= earliest_execution_id(where.created_from))
                and (where.created_to is None or execution.execution_id < earliest_execution_id(where.created_to))
                and (before is None or execution.execution_id < before)
                and (where.causes is None or execution.cause in where.causes)
                and (where.reference is None or execution.reference == where.reference)
            )

        found = sorted(filter(matches, self.found.values()), key=lambda e: e.execution_id, reverse=True)
        return [_listed(execution) for execution in found[:limit]]

    async def latest(self, workflow_id: str) -> Execution | None:
        found = await self.list(ExecutionFilter(workflow_id=workflow_id), before=None, limit=1)
        return found[0] if found else None

    async def recent(self, lock_keys: Mapping[str, Sequence[str]], limit: int) -> Mapping[str, Sequence[Execution]]:
        def is_shown(execution: Execution) -> bool:
            return execution.lock_key in (None, *lock_keys[execution.workflow_id])

        found = {each: await self.list(ExecutionFilter(workflow_id=each), before=None, limit=_ALL) for each in lock_keys}
        return {workflow_id: list(filter(is_shown, executions))[:limit] for workflow_id, executions in found.items()}

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        found = [e for e in self.found.values() if e.wake_at and e.wake_at <= until and e.shard in shards]
        return sorted(found, key=lambda e: e.wake_at or until)[:limit]

    async def expiring(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        found = [e for e in self.found.values() if e.deadline and e.deadline <= until and e.shard in shards]
        return sorted(found, key=lambda e: e.deadline)[:limit]

    async def unclaimed(self, before: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        found = [e for e in self.found.values() if e.requested_at and e.requested_at < before and e.shard in shards]
        return sorted(found, key=lambda e: e.requested_at)[:limit]

    async def line(self, workflow_id: str) -> Sequence[Execution]:
        found = [e for e in self.found.values() if e.workflow_id == workflow_id and e.status is Status.QUEUED]
        return sorted(found, key=lambda e: e.execution_id)

    async def queued(self, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        return [e for e in self.found.values() if e.status is Status.QUEUED and e.shard in shards][:limit]

    async def owned(self, shards: frozenset[int]) -> Mapping[str, Sequence[Execution]]:
        owners: dict[str, Any] = {}
        for execution in self.found.values():
            if execution.owner is not None and execution.shard in shards:
                owners.setdefault(execution.owner, []).append(execution)
        return owners

    async def backlog(self, at: datetime) -> Backlog:
        is_open = [execution for execution in self.found.values() if execution.status.is_open]
        handed_out = [
            e.requested_at for e in is_open if e.status is Status.PENDING and e.requested_at and e.requested_at <= at
        ]
        return Backlog(len(is_open), min(handed_out, default=None))


def _listed(execution: Execution) -> Execution:
    wait = execution.awaited and replace(execution.awaited, execution_ids=())
    return replace(execution, results={}, input=None, listed_wait=wait)


class FakeWorkflows:
    """See :class:`store.interfaces.Workflows`."""

    def __init__(self) -> None:
        self.heads: dict[str, Workflow] = {}
        self.kept: dict[tuple[str, int], Workflow] = {}

    async def create(self, workflow: Workflow) -> Workflow:
        existing = self.heads.get(workflow.workflow_id)
        if existing is None:
            self.heads[workflow.workflow_id] = workflow
            return workflow
        if existing.archived_at is None:
            raise WorkflowExists(workflow.workflow_id)
        return await self.replace(replace(workflow, version=existing.version + 1))

    async def replace(self, workflow: Workflow) -> Workflow:
        existing = self.heads.get(workflow.workflow_id)
        if existing is None or existing.version != workflow.version - 1:
            raise VersionConflict(workflow.workflow_id, workflow.version - 1)
        if existing.archived_at is None and existing.paused_at != workflow.paused_at:
            raise VersionConflict(workflow.workflow_id, workflow.version - 1)
        self.kept[existing.workflow_id, existing.version] = existing
        self.heads[workflow.workflow_id] = workflow
        return workflow

    async def get(self, workflow_id: str) -> Workflow | None:
        return self.heads.get(workflow_id)

    async def get_version(self, workflow_id: str, version: int) -> Mapping[str, Any] | None:
        head = self.heads.get(workflow_id)
        if head is not None and head.version == version:
            return head.definition
        kept = self.kept.get((workflow_id, version))
        return kept.definition if kept else None

    async def versions(self, workflow_id: str, *, before: int | None, limit: int) -> Sequence[Workflow]:
        head = self.heads.get(workflow_id)
        found = [kept for (of, _), kept in self.kept.items() if of == workflow_id] + ([head] if head else [])
        found = [workflow for workflow in found if before is None or workflow.version < before]
        return sorted(found, key=lambda workflow: workflow.version, reverse=True)[:limit]

    async def archive(self, workflow: Workflow, at: datetime) -> bool:
        head = self.heads.get(workflow.workflow_id)
        if head is None or head.archived_at is not None or _state(head) != _state(workflow):
            return False
        self.kept[head.workflow_id, head.version] = head
        self.heads[head.workflow_id] = replace(
            head, archived_at=at, updated_at=at, next_run=None, subscribed_at=None, version=head.version + 1
        )
        return True

    async def list(self, where: WorkflowFilter, *, after: str | None, limit: int) -> Sequence[Workflow]:
        def matches(workflow: Workflow) -> bool:
            return (
                (not where.prefix or workflow.workflow_id.startswith(where.prefix))
                and (not where.contains or where.contains.lower() in workflow.workflow_id.lower())
                and (where.trigger_type is None or workflow.definition["trigger"]["type"] == where.trigger_type)
                and (workflow.archived_at is not None) == where.is_archived
                and (after is None or workflow.workflow_id > after)
            )

        return sorted(filter(matches, self.heads.values()), key=lambda w: w.workflow_id)[:limit]

    async def due(self, until: datetime, shards: frozenset[int]) -> AsyncIterator[Due]:
        found = [due for due in map(Due.of, self.heads.values()) if due is not None]
        for due in sorted(found, key=lambda due: due.next_run):
            if due.next_run <= until and due.shard in shards:
                yield due

    async def upcoming(self, *, after: tuple[datetime, str] | None, until: datetime | None, limit: int) -> Sequence[Due]:
        found = {(due.next_run, due.workflow_id): due for due in map(Due.of, self.heads.values()) if due is not None}
        places = [each for each in sorted(found) if (after is None or each > after) and (until is None or each[0] < until)]
        return [found[each] for each in places[:limit]]

    async def subscribed(self) -> Sequence[Subscribed]:
        return [subscribed for head in self.heads.values() if (subscribed := head.subscribed) is not None]

    async def overdue_since(self, now: datetime) -> datetime | None:
        return min((head.next_run for head in self.heads.values() if head.next_run and head.next_run <= now), default=None)

    async def advance(self, workflow_id: str, version: int, due: datetime, advance: Advance) -> bool:
        head = self.heads.get(workflow_id)
        if head is None or (head.version, head.next_run) != (version, due):
            return False
        self.heads[workflow_id] = _advanced(head, advance)
        return True

    async def pause(self, workflow_id: str, at: datetime, next_run: datetime) -> bool:
        head = self.heads.get(workflow_id)
        if head is None or head.next_run != next_run:
            return False
        self.heads[workflow_id] = replace(head, paused_at=at, held_from=next_run, next_run=None)
        return True

    async def resume(self, workflow_id: str, version: int, paused_at: datetime, advance: Advance) -> bool:
        head = self.heads.get(workflow_id)
        if head is None or (head.version, head.paused_at) != (version, paused_at) or head.archived_at is not None:
            return False
        self.heads[workflow_id] = replace(_advanced(head, advance), paused_at=None, held_from=None)
        return True


def _state(head: Workflow) -> tuple[Any, ...]:
    return head.version, head.next_run, head.paused_at


def _advanced(head: Workflow, advance: Advance) -> Workflow:
    runs = head.runs if advance.runs is None else advance.runs
    return replace(head, next_run=advance.next_run, runs=runs, unfired=advance.unfired)


class FakeOccurrences:
    """See :class:`store.interfaces.Occurrences`."""

    def __init__(self) -> None:
        self.ranges: dict[tuple[str, datetime], Unfired] = {}

    async def record(self, unfired: Unfired) -> None:
        known = self.ranges.get((unfired.workflow_id, unfired.first))
        if known is None or known.last < unfired.last:
            self.ranges[unfired.workflow_id, unfired.first] = unfired

    async def list(self, workflow_id: str, *, before: datetime | None, limit: int) -> Sequence[Unfired]:
        found = [
            each for each in self.ranges.values() if each.workflow_id == workflow_id and (not before or each.first < before)
        ]
        return sorted(found, key=lambda each: each.first, reverse=True)[:limit]


class FakeSignals:
    """See :class:`store.interfaces.Signals`."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Signal] = {}
        self.look_at: dict[tuple[str, str], datetime] = {}  # of the unheeded ones
        self.closed: dict[tuple[str, str], int] = {}

    async def put(self, signal: Signal, attempt: int) -> Signal | None:
        key = (signal.execution_id, signal.name)
        if key not in self.kept and self.closed.get(key, 0) < attempt:
            self.kept[key] = signal
            self.look_at[key] = signal.at
        return self.kept.get(key)

    async def close(self, execution_id: str, name: str, attempt: int, at: datetime) -> Signal | None:
        key = (execution_id, name)
        self.closed[key] = max(attempt, self.closed.get(key, 0))
        return self.kept.get(key)

    async def get(self, execution_id: str, name: str) -> Signal | None:
        return self.kept.get((execution_id, name))

    async def unheeded(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Signal]:
        due = sorted((at, key) for key, at in self.look_at.items() if at <= until and self.kept[key].shard in shards)
        return [self.kept[key] for _, key in due[:limit]]

    async def look_again(self, execution_id: str, name: str, at: datetime) -> None:
        if (execution_id, name) in self.look_at:
            self.look_at[execution_id, name] = at

    async def heed(self, execution_id: str, name: str, at: datetime) -> None:
        self.look_at.pop((execution_id, name), None)


class FakeRunners:
    """See :class:`store.interfaces.Runners`."""

    def __init__(self) -> None:
        self.beats: dict[str, Heartbeat] = {}

    async def beat(self, heartbeat: Heartbeat) -> None:
        self.beats[heartbeat.runner] = heartbeat

    async def all(self) -> Sequence[Heartbeat]:
        return list(self.beats.values())

    async def remove(self, runner: str) -> None:
        self.beats.pop(runner, None)


class FakeBackfills:
    """See :class:`store.interfaces.Backfills`."""

    def __init__(self) -> None:
        self.kept: dict[str, Backfill] = {}

    async def add(self, backfill: Backfill) -> bool:
        if backfill.backfill_id in self.kept:
            return True
        if await self.running(backfill.workflow_id) is not None:
            return False
        self.kept[backfill.backfill_id] = backfill
        return True

    async def save(self, backfill: Backfill) -> bool:
        known = self.kept.get(backfill.backfill_id)
        if known is None or known.revision != backfill.revision - 1:
            return False
        self.kept[backfill.backfill_id] = backfill
        return True

    async def get(self, backfill_id: str) -> Backfill | None:
        return self.kept.get(backfill_id)

    async def running(self, workflow_id: str) -> Backfill | None:
        return next((each for each in self.kept.values() if each.workflow_id == workflow_id and each.is_open), None)

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Backfill]:
        found = [each for each in self.kept.values() if each.wake_at and each.wake_at <= until and each.shard in shards]
        return sorted(found, key=lambda each: each.wake_at)[:limit]

    async def list(self, workflow_id: str, *, before: str | None, limit: int) -> Sequence[Backfill]:
        found = [
            each
            for each in self.kept.values()
            if each.workflow_id == workflow_id and (before is None or each.backfill_id < before)
        ]
        return sorted(found, key=lambda each: each.backfill_id, reverse=True)[:limit]

    async def covering(self, workflow_id: str, first: datetime, last: datetime) -> Sequence[Backfill]:
        return [
            each
            for each in self.kept.values()
            if each.workflow_id == workflow_id and each.until > first and each.first <= last
        ]


class FakeVariables:
    """See :class:`store.interfaces.Variables`."""

    def __init__(self) -> None:
        self.found: dict[str, Variable] = {}

    async def put(self, variable: Variable) -> bool:
        is_new = variable.name not in self.found
        self.found[variable.name] = variable
        return is_new

    async def get(self, name: str) -> Variable | None:
        return self.found.get(name)

    async def all(self) -> Sequence[Variable]:
        return [self.found[name] for name in sorted(self.found)]

    async def values(self) -> dict[str, Any]:
        return {name: variable.value for name, variable in self.found.items()}

    async def delete(self, name: str) -> bool:
        return self.found.pop(name, None) is not None
