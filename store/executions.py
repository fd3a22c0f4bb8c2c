"""Executions in MongoDB: one document each, changed only by conditional single-document updates.

Life cycle of a document: inserted by :meth:`MongoExecutions.admit` with its ``lock_key`` under a unique partial index (the
insert *is* the admission); started by ``claim`` or, for a certainly new request, by ``mark_started`` or directly by its
first result; changed by ``project`` under the fence of epoch and sequence; raised to a new epoch by ``reissue``; closed by a
result or by ``end``, which set the terminal status, unset ``lock_key`` and set ``expire_at`` in the same update. A closed
document
has the sequence number ``CLOSED``, so that the fence alone keeps everything out.

Fields are absent rather than null, so that sparse indexes stay small. Results are a subdocument keyed by attempt and
position, so that writing one needs no read and writing it twice is writing it once. Arbitrary JSON (errors, outputs) is kept
as JSON text: its keys may hold dots and dollars.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from domain.execution import (
    CLOSED,
    ActionFinished,
    ActionOutcome,
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
from domain.instants import EPOCH
from store.failures import DUPLICATE_KEY, refused, translated
from store.group_commit import GroupCommit
from store.interfaces import (
    AdmissionAnswer,
    Admitted,
    AlreadyAdmitted,
    ExecutionFilter,
    Locked,
    Started,
    StoreUnavailable,
)

Document = dict[str, Any]
Found = list[Execution]  # inside the class, ``list`` is the method

_ADMISSION_TRIES = 3


class MongoExecutions:
    """See :class:`store.interfaces.Executions`."""

    def __init__(self, collection: AsyncCollection[Document], *, retention: timedelta) -> None:
        self._collection = collection
        self._retention = retention
        self._admissions: GroupCommit[Admission, AdmissionAnswer] = GroupCommit(self._admit_all)
        self._swaps: GroupCommit[tuple[Execution, Execution], bool] = GroupCommit(self._swap_all)
        self._reads: GroupCommit[str, Execution | None] = GroupCommit(self._get_all)

    async def ensure_indexes(self) -> None:
        """Create the indexes; each is used by a query named in its comment."""
        await self._collection.create_indexes(
            [
                IndexModel(  # admission, holder
                    [("lock_key", ASCENDING)],
                    name="lock",
                    unique=True,
                    partialFilterExpression={"lock_key": {"$exists": True}},
                ),
                IndexModel([("workflow_id", ASCENDING), ("_id", DESCENDING)], name="by_workflow"),  # list, latest
                IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="by_status"),  # list, unclaimed, owned
                IndexModel([("wake_at", ASCENDING)], name="waking", sparse=True),  # waking
                IndexModel([("expire_at", ASCENDING)], name="retention", expireAfterSeconds=0),
            ]
        )

    # -- admission -----------------------------------------------------------------------------------------------------

    async def admit(self, admission: Admission) -> AdmissionAnswer:
        """Insert the execution; see the contract."""
        return await self._admissions.submit(admission)

    async def _admit_all(self, admissions: Sequence[Admission]) -> Sequence[AdmissionAnswer | BaseException]:
        answers: dict[int, AdmissionAnswer | BaseException] = {}
        left = list(range(len(admissions)))
        for _ in range(_ADMISSION_TRIES):
            locked = []
            for index, answer in zip(left, await self._insert([admissions[index] for index in left]), strict=True):
                answers[index] = answer
                if isinstance(answer, Locked):
                    locked.append(index)
            if not locked:
                break
            holders = await self.holders([key for index in locked if (key := admissions[index].lock_key)])
            left = []
            for index in locked:
                holder = holders.get(admissions[index].lock_key or "")
                if holder is not None:
                    answers[index] = Locked(holder.execution_id, holder.status)
                else:
                    left.append(index)  # the holder ended between the insert and the look: try again
            if not left:
                break
        return [answers[index] for index in range(len(admissions))]

    async def _insert(self, admissions: Sequence[Admission]) -> list[AdmissionAnswer | BaseException]:
        answers: list[AdmissionAnswer | BaseException] = [Admitted(admission.execution_id) for admission in admissions]
        try:
            async with translated():
                await self._collection.bulk_write(
                    [InsertOne(to_document(admit(admission), self._retention)) for admission in admissions], ordered=False
                )
        except BulkWriteError as error:
            details = error.details or {}
            if details.get("writeConcernErrors"):
                raise refused(error) or StoreUnavailable(str(error)) from error
            for problem in details.get("writeErrors", ()):
                index = problem["index"]
                if problem.get("code") != DUPLICATE_KEY:
                    answers[index] = StoreUnavailable(f"MongoDB refused the write: {problem.get('errmsg')}")
                elif _is_lock(problem):
                    answers[index] = Locked("", Status.PENDING)
                else:
                    answers[index] = AlreadyAdmitted(admissions[index].execution_id)
        # An index on both may report either; an execution of that very id is the stronger answer.
        return await self._sort_out(admissions, answers)

    async def _sort_out(
        self, admissions: Sequence[Admission], answers: list[AdmissionAnswer | BaseException]
    ) -> list[AdmissionAnswer | BaseException]:
        doubtful = [index for index, answer in enumerate(answers) if isinstance(answer, Locked)]
        if doubtful:
            async with translated():
                found = {
                    document["_id"]
                    async for document in self._collection.find(
                        {"_id": {"$in": [admissions[index].execution_id for index in doubtful]}}, {"_id": 1}
                    )
                }
            seen = {answer.execution_id for answer in answers if isinstance(answer, Admitted)}
            for index in doubtful:
                execution_id = admissions[index].execution_id
                if execution_id in found or execution_id in seen:
                    answers[index] = AlreadyAdmitted(execution_id)
        return answers

    # -- transitions ---------------------------------------------------------------------------------------------------

    async def claim(self, execution_id: str, epoch: int, runner: str, at: datetime) -> Execution | None:
        """Start a doubtful request; see the contract."""
        before = await self.get(execution_id)
        if before is None:
            return None
        after = claim(before, epoch, runner, at)
        if after is None or not await self._swap(before, after):
            return None
        return after

    async def reissue(self, execution_id: str, epoch: int, at: datetime, why: Restart) -> Execution | None:
        """Raise the epoch; see the contract."""
        before = await self.get(execution_id)
        if before is None or before.epoch != epoch:
            return None
        after = apply(before, Reissued(execution_id, before.workflow_id, epoch + 1, at, why))
        return after if after is not before and await self._swap(before, after) else None

    async def end(self, ended: Ended) -> Execution | None:
        """End an open execution; see the contract."""
        while True:
            before = await self.get(ended.execution_id)
            if before is None or not before.status.is_open:
                return None
            after = apply(before, ended)
            if await self._swap(before, after):
                return after

    async def _swap(self, before: Execution, after: Execution) -> bool:
        """Replace ``before`` by ``after`` where it is unchanged; epoch, sequence and status name a state exactly."""
        return await self._swaps.submit((before, after))

    async def _swap_all(self, swaps: Sequence[tuple[Execution, Execution]]) -> Sequence[bool]:
        documents = [to_document(after, self._retention) for _, after in swaps]
        async with translated():
            result = await self._collection.bulk_write(
                [
                    ReplaceOne(
                        {
                            "_id": before.execution_id,
                            "epoch": before.epoch,
                            "seq": before.seq,
                            "status": before.status.value,
                        },
                        document,
                    )
                    for (before, _), document in zip(swaps, documents, strict=True)
                ],
                ordered=False,
            )
            if result.matched_count == len(swaps):
                return [True] * len(swaps)
            ids = [before.execution_id for before, _ in swaps]
            now = {found["_id"]: found async for found in self._collection.find({"_id": {"$in": ids}})}
        return [now.get(document["_id"]) == document for document in documents]

    async def mark_started(self, marks: Sequence[Started]) -> frozenset[str]:
        """Mark certainly new requests as running; see the contract."""
        if not marks:
            return frozenset()
        updates = [
            UpdateOne(
                {"_id": mark.execution_id, "epoch": mark.epoch, "status": Status.PENDING.value},
                {
                    "$set": {"status": Status.RUNNING.value, "owner": mark.runner},
                    "$min": {"started_at": mark.at},
                    "$unset": {"requested_at": ""},
                },
            )
            for mark in marks
        ]
        async with translated():
            result = await self._collection.bulk_write(updates, ordered=False)
            if result.matched_count == len(marks):
                return frozenset()
            now = await self._states([mark.execution_id for mark in marks])
        # A result that was faster than its mark is no loss: the epoch is still ours.
        return frozenset(mark.execution_id for mark in marks if now.get(mark.execution_id, (0, 0))[0] != mark.epoch)

    async def project(self, results: Sequence[ActionFinished]) -> frozenset[str]:
        """Apply results in order; see the contract."""
        groups: dict[tuple[str, int], list[ActionFinished]] = defaultdict(list)
        for result in results:
            group = groups[result.execution_id, result.epoch]
            if not group or result.seq > group[-1].seq:
                group.append(result)
        if not groups:
            return frozenset()
        updates = [self._projection(group) for group in groups.values()]
        async with translated():
            written = await self._collection.bulk_write(updates, ordered=False)
            if written.matched_count == len(updates):
                return frozenset()
            now = await self._states([execution_id for execution_id, _ in groups])
        return frozenset(
            execution_id
            for (execution_id, epoch), group in groups.items()
            if now.get(execution_id) not in {(epoch, group[-1].seq), (epoch, CLOSED)}
        )

    def _projection(self, group: Sequence[ActionFinished]) -> UpdateOne:
        first, last = group[0], group[-1]
        values: Document = {
            "seq": last.seq,
            "status": last.status.value,
            "retries_left": last.retries_left,
            "owner": last.runner,
        }
        gone: Document = {"requested_at": ""}
        for result in group:
            values[f"results.{result.outcome.key}"] = _outcome_document(result.outcome)
            if result.outcome.status == "failed":
                values["last_failed_action"] = result.outcome.action_id
        if last.status is not Status.RUNNING:
            del values["owner"]
            gone["owner"] = ""
            _set_or_unset(values, gone, "reason", last.reason)
        if last.status is Status.WAITING:
            _set_or_unset(values, gone, "wake_at", last.wake_at)
        elif last.status is not Status.RUNNING:
            values |= {
                "seq": CLOSED,
                "finished_at": last.outcome.finished_at,
                "expire_at": last.outcome.finished_at + self._retention,
            }
            gone |= {"lock_key": "", "wake_at": ""}
        return UpdateOne(
            {"_id": first.execution_id, "epoch": first.epoch, "seq": {"$lt": first.seq}},
            {
                "$set": values,
                "$min": {"started_at": min(result.outcome.started_at for result in group)},
                "$unset": gone,
            },
        )

    async def _states(self, ids: Sequence[str]) -> dict[str, tuple[int, int]]:
        found = self._collection.find({"_id": {"$in": list(ids)}}, {"epoch": 1, "seq": 1})
        return {document["_id"]: (document["epoch"], document["seq"]) async for document in found}

    # -- reading -------------------------------------------------------------------------------------------------------

    async def get(self, execution_id: str) -> Execution | None:
        """Return one execution; concurrent calls share one query."""
        return await self._reads.submit(execution_id)

    async def _get_all(self, ids: Sequence[str]) -> Sequence[Execution | None]:
        found = {execution.execution_id: execution for execution in await self._find({"_id": {"$in": list(ids)}})}
        return [found.get(execution_id) for execution_id in ids]

    async def holder(self, lock_key: str) -> Execution | None:
        """Return the open execution that holds ``lock_key``."""
        return (await self.holders([lock_key])).get(lock_key)

    async def holders(self, lock_keys: Sequence[str]) -> Mapping[str, Execution]:
        """Return the open executions by lock key."""
        if not lock_keys:
            return {}
        found = await self._find({"lock_key": {"$in": list(dict.fromkeys(lock_keys))}})
        return {execution.lock_key: execution for execution in found if execution.lock_key is not None}

    async def list(self, where: ExecutionFilter, *, before: str | None, limit: int) -> Sequence[Execution]:
        """Return executions, newest first, with ids smaller than ``before``."""
        query: Document = {}
        bounds: Document = {}
        if where.workflow_id is not None:
            query["workflow_id"] = where.workflow_id
        if where.statuses is not None:
            query["status"] = {"$in": sorted(status.value for status in where.statuses)}
        # Ids carry the instant they were asked for at, so a range of time is a range of ids.
        if where.created_from is not None:
            bounds["$gte"] = earliest_execution_id(where.created_from)
        if where.created_to is not None:
            bounds["$lt"] = earliest_execution_id(where.created_to)
        if before is not None:
            bounds["$lt"] = min(before, bounds.get("$lt", before))
        if bounds:
            query["_id"] = bounds
        return await self._find(query, sort=[("_id", DESCENDING)], limit=limit)

    async def latest(self, workflow_id: str) -> Execution | None:
        """Return the newest execution of a workflow."""
        found = await self._find({"workflow_id": workflow_id}, sort=[("_id", DESCENDING)], limit=1)
        return found[0] if found else None

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return waiting executions with ``wake_at`` up to ``until``, soonest first."""
        query = {"wake_at": {"$lte": until}, "shard": {"$in": sorted(shards)}}
        return await self._find(query, sort=[("wake_at", ASCENDING)], limit=limit)

    async def unclaimed(self, before: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return pending executions handed out before ``before`` that no runner has started."""
        query = {
            "status": Status.PENDING.value,
            "requested_at": {"$lt": before},
            "shard": {"$in": sorted(shards)},
        }
        return await self._find(query, limit=limit)

    async def owned(self, shards: frozenset[int]) -> Mapping[str, Sequence[Execution]]:
        """Return running executions by owner."""
        owners: dict[str, list[Execution]] = defaultdict(list)
        for execution in await self._find({"status": Status.RUNNING.value, "shard": {"$in": sorted(shards)}}):
            if execution.owner is not None:
                owners[execution.owner].append(execution)
        return owners

    async def _find(self, query: Document, *, sort: Sequence[tuple[str, int]] | None = None, limit: int = 0) -> Found:
        async with translated():
            cursor = self._collection.find(query, limit=limit)
            if sort is not None:
                cursor = cursor.sort(sort)
            return [from_document(document) async for document in cursor]

    # -- rebuilding ----------------------------------------------------------------------------------------------------

    async def scan(self, after: str | None, limit: int) -> Sequence[Execution]:
        """Return executions in the order of their ids, with ids greater than ``after``."""
        query: Document = {} if after is None else {"_id": {"$gt": after}}
        return await self._find(query, sort=[("_id", ASCENDING)], limit=limit)

    async def replace_all(self, executions: Iterable[Execution]) -> None:
        """Write whole executions over what is stored."""
        writes = [
            ReplaceOne({"_id": execution.execution_id}, to_document(execution, self._retention), upsert=True)
            for execution in executions
        ]
        if writes:
            async with translated():
                await self._collection.bulk_write(writes, ordered=False)


def _state(execution: Execution) -> Document:
    """Return the filter that finds an execution in exactly this state."""
    return {
        "_id": execution.execution_id,
        "epoch": execution.epoch,
        "seq": execution.seq,
        "status": execution.status.value,
    }


def _is_lock(problem: Mapping[str, Any]) -> bool:
    pattern = problem.get("keyPattern")
    if pattern:
        return "lock_key" in pattern
    return "lock" in str(problem.get("errmsg", "")).split("dup key")[0].split("index:")[-1]


def _set_or_unset(values: Document, gone: Document, name: str, value: Any) -> None:
    if value is None:
        gone[name] = ""
    else:
        values[name] = value


_FIELDS = (
    "attempt", "created_at", "due_at", "epoch", "finished_at", "last_failed_action", "lock_key", "lost", "owner", "reason",
    "requested_at", "retries_left", "seq", "shard", "started_at", "total_actions", "version", "wake_at", "workflow_id",
)  # fmt: skip


def to_document(execution: Execution, retention: timedelta) -> Document:
    """Return the document of an execution, without the fields that are None."""
    document: Document = {"_id": execution.execution_id, "status": execution.status.value, "cause": execution.cause.value}
    for name in _FIELDS:
        value = getattr(execution, name)
        if value is not None:
            document[name] = value
    document["results"] = {key: _outcome_document(outcome) for key, outcome in execution.results.items()}
    if not execution.status.is_open:
        document["expire_at"] = (execution.finished_at or EPOCH) + retention
    return document


def from_document(document: Mapping[str, Any]) -> Execution:
    """Return the execution of a document."""
    return Execution(
        execution_id=document["_id"],
        status=Status(document["status"]),
        cause=Cause(document["cause"]),
        results={key: _outcome(entry) for key, entry in document.get("results", {}).items()},
        **{name: document[name] for name in _FIELDS if name in document},
    )


def _outcome_document(outcome: ActionOutcome) -> Document:
    document: Document = {
        "action_id": outcome.action_id,
        "index": outcome.index,
        "attempt": outcome.attempt,
        "status": outcome.status,
        "started_at": outcome.started_at,
        "finished_at": outcome.finished_at,
        "logs": list(outcome.logs),
    }
    if outcome.error is not None:
        document["error"] = json.dumps(outcome.error)
    if outcome.output is not None:
        document["output"] = json.dumps(outcome.output)
    return document


def _outcome(document: Mapping[str, Any]) -> ActionOutcome:
    return ActionOutcome(
        action_id=document["action_id"],
        index=document["index"],
        attempt=document["attempt"],
        status=document["status"],
        started_at=document["started_at"],
        finished_at=document["finished_at"],
        logs=tuple(document["logs"]),
        error=json.loads(document["error"]) if "error" in document else None,
        output=json.loads(document["output"]) if "output" in document else None,
    )
