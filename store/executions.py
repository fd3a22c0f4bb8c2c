"""Executions in MongoDB: open ones in one collection, finished ones in another.

An execution is admitted by one insert into ``open_executions``, under a unique sparse index on ``lock_key``. While it is
open, every change replaces the whole document where it is still in the state that was read; epoch, sequence, status and
intents name a state exactly. To end it by a result, the finished document is inserted into ``executions`` first and then
the open one is deleted *where its epoch is still the one that the result belongs to*. That delete is the one decisive
write: it releases the lock and makes the finished document valid in the same instant, because **an open document shadows a
finished one of the same id**. A crash in between leaves a shadowed document, which the replayed result finds again, or
which a later epoch replaces (a finished document is only ever replaced by one of a higher epoch, so a zombie cannot
overwrite a terminal state). To end it without a result (cancelled, given up), the open document is closed in place, under a
raised epoch and without its lock, and then moved; :meth:`MongoExecutions.unclaimed` moves what a crash has left.

An end that no result tells of must be told to the runners. Before it is ended, the execution is marked in ``untold_ends``,
and the mark goes when Kafka has acknowledged the news: an outbox of its own, so that the two collections, which every
execution passes, need no index for what is rare. A mark names the very end that its writer is about to bring about: one
whose execution is still open says nothing yet, and one that a result or another end has forestalled never will.

Two collections rather than one with an update, because of what was measured on the standalone database (server CPU per
execution, batches of 64): 0.72 ms for insert, read, insert and delete, against 1.6 ms for insert and update of a document
under the five indexes that locking, waking, listing and retention need; here the open collection needs small ones alone.

A tick or a record has one id for ever, but a finished execution's id is free again among the open ones. So admission looks
whether the id has finished already, before its insert, and again after it, for then it takes the insert back. A crash before
the second look is harmless: only what was looked up is published, and before an execution is claimed, published anew or
ended otherwise than by a result, somebody looks as well. So is a write that MongoDB carries out when nobody waits for it any
more: it may open something anew, but **what has finished under an epoch goes on under a later one or not at all**.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import Any

from bson import ObjectId
from pymongo import ASCENDING, DESCENDING, IndexModel, InsertOne, ReplaceOne, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError

from domain.execution import (
    OPEN,
    TERMINAL,
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
from store.chunks import ABSENT_AT_ONCE, chunks
from store.execution_documents import (
    ENDED,
    Document,
    live_document,
    stage_at,
    to_document,
)
from store.execution_reads import ExecutionReads, Found
from store.failures import DUPLICATE_KEY, duplicates, refused, translated
from store.group_commit import GroupCommit, Observe, unobserved
from store.interfaces import (
    AdmissionAnswer,
    Admitted,
    AlreadyAdmitted,
    Locked,
    Started,
    StoreRefused,
    StoreUnavailable,
)

Swap = tuple[Execution, Execution]  # what was read, and what is to take its place

_REPLACED_AT_ONCE = 500
_TRIES = 5
_SKIPPED = 0  # the epoch of what was never open

_LOCK_INDEX = "lock_key"


class MongoExecutions(ExecutionReads):
    """See :class:`store.interfaces.Executions`."""

    def __init__(
        self, live: AsyncCollection[Document], finished: AsyncCollection[Document], observe: Observe = unobserved
    ) -> None:
        super().__init__(live, finished, observe)
        self._admissions: GroupCommit[Admission, AdmissionAnswer] = GroupCommit(self._admit_all, "admit", observe)
        self._observe = observe
        self._untold = live.database["untold_ends"]
        self._swaps: GroupCommit[Swap, bool] = GroupCommit(self._swap_all, "change", observe)
        self._intents: GroupCommit[tuple[str, int, str, str, datetime], bool] = GroupCommit(
            self._intend_all, "intend", observe
        )
        self._looks: GroupCommit[str, int | None] = GroupCommit(self._look_all, "look", observe)

    def indexes(self) -> Iterator[tuple[AsyncCollection[Document], Sequence[IndexModel]]]:
        """Yield the indexes; each is used by the calls named beside it."""
        yield (
            self._live,
            [
                # admit, holders, list by workflow. Sparse rather than partial: that means the same here, and SecantusDB does
                # not use a partial index to look a lock key up (325 ms instead of 1 among 23,000 documents).
                IndexModel([("lock_key", ASCENDING)], name=_LOCK_INDEX, unique=True, sparse=True),
                IndexModel([("stage", ASCENDING)], name="stage"),  # unclaimed, owned, queued, waking
                IndexModel([("deadline", ASCENDING)], name="deadline", sparse=True),  # expiring
                IndexModel([("reference_key", ASCENDING)], name="by_reference", sparse=True),  # list
            ],
        )
        yield (
            self._finished,
            [
                IndexModel([("workflow_id", ASCENDING), ("_id", DESCENDING)], name="by_workflow"),  # list, latest
                IndexModel([("status", ASCENDING), ("_id", DESCENDING)], name="by_status"),  # list
                IndexModel([("reference_key", ASCENDING)], name="by_reference", sparse=True),  # list
                IndexModel([("finished_at", ASCENDING)], name="finished_at"),  # retention
            ],
        )

    # -- admission -----------------------------------------------------------------------------------------------------

    async def admit(self, admission: Admission) -> AdmissionAnswer:
        """Insert the execution; see the contract."""
        return await self._admissions.submit(admission)

    async def admit_in_order(self, admissions: Sequence[Admission]) -> Sequence[AdmissionAnswer]:
        """Insert executions in order; see the contract."""
        answers: list[AdmissionAnswer] = []
        while len(answers) < len(admissions):
            for answer in await self._insert_in_order(admissions[len(answers) :]):
                if not isinstance(answer, BaseException):
                    answers.append(answer)
                elif answers:
                    return answers
                else:
                    raise answer
            if isinstance(answers[-1], Locked):
                answers[-1] = await self.admit(admissions[len(answers) - 1])  # which finds out who holds it
                if isinstance(answers[-1], Locked):
                    break
        return answers

    async def _insert_in_order(self, admissions: Sequence[Admission]) -> Sequence[AdmissionAnswer | BaseException]:
        """Insert up to the first that cannot be; return the answers up to that."""
        self._observe("admit", len(admissions))
        async with translated():
            answers = await self._insert_open(admissions, range(len(admissions)), ordered=True)
        return [answers[index] for index in takewhile(answers.__contains__, range(len(admissions)))]

    async def _admit_all(self, admissions: Sequence[Admission]) -> Sequence[AdmissionAnswer | BaseException]:
        answers: list[AdmissionAnswer | BaseException] = [Locked("", Status.PENDING)] * len(admissions)
        left = list(range(len(admissions)))
        for _ in range(_TRIES):
            inserted = await self._insert([admissions[index] for index in left])
            for index, answer in zip(left, inserted, strict=True):
                answers[index] = answer
            locked = [index for index in left if isinstance(answers[index], Locked)]
            if not locked:
                break
            holders = await self.holders([key for index in locked if (key := admissions[index].lock_key)])
            left = []
            for index in locked:
                holder = holders.get(admissions[index].lock_key or "")
                if holder is None:
                    left.append(index)  # it ended between the insert and the look: try again
                elif holder.execution_id == admissions[index].execution_id:
                    # Perhaps an insert of a repetition whose answer was lost: its lock must not stay.
                    if not admissions[index].is_unique and await self._looks.submit(holder.execution_id) is not None:
                        await self._remove_repetition(holder.execution_id, 1)
                    answers[index] = AlreadyAdmitted(holder.execution_id)
                else:
                    answers[index] = Locked(holder.execution_id, holder.status, holder.cause is Cause.BACKFILL)
        return answers

    async def _insert(self, admissions: Sequence[Admission]) -> Sequence[AdmissionAnswer | BaseException]:
        locking = [index for index, admission in enumerate(admissions) if admission.lock_key is not None]
        skipped = [index for index, admission in enumerate(admissions) if admission.lock_key is None]
        async with translated():
            answers = await self._insert_open(admissions, locking)
            if skipped:
                open_ids = await self._ids(self._live, [admissions[index].execution_id for index in skipped])
                fresh = [index for index in skipped if admissions[index].execution_id not in open_ids]
                answers.update({index: AlreadyAdmitted(admissions[index].execution_id) for index in skipped})
                answers.update(await self._insert_into(self._finished, admissions, fresh))
        return [answers[index] for index in range(len(admissions))]

    async def _insert_open(
        self, admissions: Sequence[Admission], indexes: Sequence[int], *, ordered: bool = False
    ) -> dict[int, AdmissionAnswer | BaseException]:
        """Insert those among the open ones, unless their id has finished, before or meanwhile."""
        again = [index for index in indexes if not admissions[index].is_unique]
        answers: dict[int, AdmissionAnswer | BaseException] = {}
        answers.update(await self._take_back(admissions, again))
        left = [index for index in indexes if index not in answers]
        answers.update(await self._insert_into(self._live, admissions, left, ordered=ordered))
        admitted = [index for index in again if isinstance(answers.get(index), Admitted)]
        answers.update(await self._take_back(admissions, admitted))
        return answers

    async def _take_back(self, admissions: Sequence[Admission], indexes: Sequence[int]) -> dict[int, AlreadyAdmitted]:
        """Return the answers to those whose id has finished, and remove what an insert of theirs has left."""
        ended = await self._ids(self._finished, [admissions[index].execution_id for index in indexes])
        if ended:
            await self._live.delete_many({"_id": {"$in": sorted(ended)}, "epoch": 1})
        return {
            index: AlreadyAdmitted(admissions[index].execution_id)
            for index in indexes
            if admissions[index].execution_id in ended
        }

    async def _insert_into(
        self,
        collection: AsyncCollection[Document],
        admissions: Sequence[Admission],
        indexes: Sequence[int],
        *,
        ordered: bool = False,
    ) -> dict[int, AdmissionAnswer | BaseException]:
        """Insert those; ``ordered``, none behind the first that cannot be inserted, which are not answered for."""
        answers: dict[int, AdmissionAnswer | BaseException] = {
            index: Admitted(admissions[index].execution_id) for index in indexes
        }
        if not indexes:
            return answers
        try:
            documents = [self._document(collection, admit(admissions[index])) for index in indexes]
            await collection.bulk_write([InsertOne(document) for document in documents], ordered=ordered)
        except BulkWriteError as error:
            details = error.details or {}
            if details.get("writeConcernErrors"):
                raise refused(error) or StoreUnavailable(str(error)) from error
            for problem in details.get("writeErrors", ()):
                index = indexes[problem["index"]]
                if problem.get("code") != DUPLICATE_KEY:
                    answers[index] = StoreRefused(f"MongoDB refused the write: {problem.get('errmsg')}")
                elif _is_lock(problem):
                    answers[index] = Locked("", Status.PENDING)
                else:
                    answers[index] = AlreadyAdmitted(admissions[index].execution_id)
                if ordered:
                    return {each: answers[each] for each in indexes[: problem["index"] + 1]}
        return answers

    # -- transitions ---------------------------------------------------------------------------------------------------

    async def claim(self, execution_id: str, epoch: int, runner: str, at: datetime) -> Execution | None:
        """Start a doubtful request; see the contract."""
        before = await self.get(execution_id)
        after = claim(before, epoch, runner, at) if before else None
        if before is None or after is None:
            return None
        # Skipped is not over here: two runners may have had the same record in hand, and the one that admitted it, having
        # looked in vain, has published it.
        if await self._is_over(before):
            return None
        return after if await self._swap(before, after) else None

    async def reissue(
        self, execution_id: str, epoch: int, at: datetime, why: Restart, reason: str | None = None
    ) -> Execution | None:
        """Raise the epoch; see the contract."""
        before = await self.get(execution_id)
        if before is None or before.epoch != epoch:
            return None
        after = apply(before, Reissued(execution_id, before.workflow_id, epoch + 1, at, why, reason))
        if after is before or await self._is_over(before, or_skipped_at=at):
            return None
        return after if await self._swap(before, after) else None

    async def _is_over(self, before: Execution, *, or_skipped_at: datetime | None = None) -> bool:
        """Tell whether what is open has finished under its epoch or a later one, and remove it from the open ones if so.

        Its insert, or its end, was repeated or broke off. With ``or_skipped_at``, what nobody has begun and was recorded as
        skipped is over as well. It is ended anew as of then, under a later epoch: a request of it may turn up still.
        """
        finished = await self._looks.submit(before.execution_id)
        if finished is None:
            return False
        if finished >= before.epoch:
            await self._remove_repetition(before.execution_id, finished)
            return True
        untouched = finished == _SKIPPED and before.epoch == 1 and before.status in (Status.PENDING, Status.QUEUED)
        if not untouched or or_skipped_at is None:
            return False
        for skipped in await self._find_finished([before.execution_id]):
            again = Ended(
                before.execution_id, before.workflow_id, Status.SKIPPED, reason=skipped.reason or "", at=or_skipped_at
            )
            await self._end(before, again, [])
        return True

    async def _remove_repetition(self, execution_id: str, epoch: int) -> None:
        async with translated():
            await self._live.delete_many({"_id": execution_id, "epoch": {"$lte": epoch}})

    async def _look_all(self, ids: Sequence[str]) -> Sequence[int | None]:
        """Return the epochs of those that have finished, or were skipped."""
        async with translated():
            found = await self._documents(self._finished, ids, {"epoch": 1}, ABSENT_AT_ONCE)
        epochs = {each["_id"]: each["epoch"] for each in found}
        return [epochs.get(execution_id) for execution_id in ids]

    async def end(self, ended: Ended) -> Execution | None:
        """End an open execution; see the contract."""
        marks: list[ObjectId] = []
        while True:
            before = await self.get(ended.execution_id)
            if before is None or apply(before, ended) is before:
                await self._unmark(marks)
                return None
            if await self._is_over(before, or_skipped_at=ended.at):
                continue
            after = await self._end(before, ended, marks)
            if after is not None:
                return after

    async def _end(self, before: Execution, ended: Ended, marks: list[ObjectId]) -> Execution | None:
        """End an execution where it is as it was read; its mark is added to ``marks``."""
        after = apply(before, ended)
        marks.append(await self._mark_untold(after))
        if not await self._swap(before, after):
            return None
        await self._move([after])
        return after

    async def withdraw(self, execution_id: str) -> bool:
        """Remove an execution that was admitted and is to be none; see the contract."""
        untouched = {"$in": [Status.PENDING.value, Status.QUEUED.value]}
        async with translated():
            result = await self._live.delete_many({"_id": execution_id, "epoch": 1, "status": untouched})
        return bool(result.deleted_count)

    async def _mark_untold(self, ended: Execution) -> ObjectId:
        mark = ObjectId()
        async with translated():
            await self._untold.insert_one(
                {"_id": mark, "execution_id": ended.execution_id, "shard": ended.shard, **_end_of(ended)}
            )
        return mark

    async def _unmark(self, marks: Sequence[ObjectId]) -> None:
        if marks:
            async with translated():
                await self._untold.delete_many({"_id": {"$in": list(marks)}})

    async def told(self, ids: Sequence[str]) -> None:
        """Note that Kafka knows of these ends; see the contract."""
        async with translated():
            await self._untold.delete_many({"execution_id": {"$in": list(ids)}})

    async def untold(self, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return ended executions whose end Kafka may not know."""
        async with translated():
            marks = [mark async for mark in self._untold.find({"shard": {"$in": sorted(shards)}}, limit=limit)]
        ids = list(dict.fromkeys(mark["execution_id"] for mark in marks))
        found = dict(zip(ids, await self._get_all(ids), strict=True))
        untold: dict[str, Execution] = {}
        void: list[ObjectId] = []
        for mark in marks:
            execution = found[mark["execution_id"]]
            if execution is None or execution.status in TERMINAL:
                if execution is not None and _end_of(execution) == {name: mark.get(name) for name in _END}:
                    untold[execution.execution_id] = execution
                else:
                    void.append(mark["_id"])  # removed since, or ended by somebody else, who tells it himself
        await self._unmark(void)
        return list(untold.values())

    async def intend(self, execution_id: str, epoch: int, key: str, runner: str, at: datetime) -> bool:
        """Note what a runner is about to do; see the contract."""
        return await self._intents.submit((execution_id, epoch, key, runner, at))

    async def _intend_all(self, intents: Sequence[tuple[str, int, str, str, datetime]]) -> Sequence[bool]:
        updates = [
            UpdateOne(
                {"_id": execution_id, "epoch": epoch, "status": {"$in": [Status.PENDING.value, Status.RUNNING.value]}},
                {**_begun(runner, at), "$addToSet": {"intents": key}},
            )
            for execution_id, epoch, key, runner, at in intents
        ]
        async with translated():
            result = await self._live.bulk_write(updates, ordered=False)
            if result.matched_count == len(intents):
                return [True] * len(intents)
            now = {each.execution_id: each for each in await self._find_live([item[0] for item in intents])}
        return [
            (found := now.get(execution_id)) is not None
            and found.status is Status.RUNNING
            and found.epoch == epoch
            and key in found.intents
            for execution_id, epoch, key, *_ in intents
        ]

    async def _swap(self, before: Execution, after: Execution) -> bool:
        """Replace ``before`` by ``after`` where it is unchanged."""
        return await self._swaps.submit((before, after))

    async def _swap_all(self, swaps: Sequence[Swap]) -> Sequence[bool]:
        # Two schedulers may want the very same change; the mark tells whose it was, and only that one acts on it.
        marks = [ObjectId() for _ in swaps]
        writes = [
            ReplaceOne(_state(before), {**live_document(after), "swap": mark})
            for (before, after), mark in zip(swaps, marks, strict=True)
        ]
        async with translated():
            try:
                result = await self._live.bulk_write(writes, ordered=False)
                if result.matched_count == len(swaps):
                    return [True] * len(swaps)
            except BulkWriteError as error:
                duplicates(error)  # of the lock that a queued execution was to take: somebody else holds it
            now = await self._documents(self._live, list({before.execution_id for before, _ in swaps}))
        done = {document.get("swap") for document in now}
        return [mark in done for mark in marks]

    async def _move(self, ended: Sequence[Execution]) -> Sequence[bool]:
        """Put executions among the finished and delete them from the open; see the module's docstring.

        An execution that a result has ended has the epoch that it was open under. Answers for each whether this end is the
        one that counts; False where another epoch has taken over.
        """
        documents = [to_document(each) for each in ended]
        async with translated():
            try:
                await self._finished.bulk_write([InsertOne(document) for document in documents], ordered=False)
            except BulkWriteError as error:
                there = [documents[index] for index in duplicates(error)]
                await self._finished.bulk_write(
                    [ReplaceOne({"_id": each["_id"], "epoch": {"$lt": each["epoch"]}}, each) for each in there],
                    ordered=False,
                )
            epochs: dict[int, list[str]] = defaultdict(list)
            for each in ended:
                epochs[each.epoch].append(each.execution_id)
            lost: set[str] = set()
            for epoch, ids in epochs.items():
                for chunk in chunks(ids):
                    deleted = await self._live.delete_many({"_id": {"$in": chunk}, "epoch": epoch})
                    if deleted.deleted_count != len(chunk):
                        lost |= await self._not_ended_under(epoch, chunk)
        return [each.execution_id not in lost for each in ended]

    async def _not_ended_under(self, epoch: int, ids: Sequence[str]) -> set[str]:
        """Return those of the executions that are open still, or have ended under another epoch."""
        still_open = await self._ids(self._live, ids)
        query = {"_id": {"$in": [each for each in ids if each not in still_open]}, "epoch": epoch}
        return set(ids) - {each["_id"] async for each in self._finished.find(query, {"_id": 1})}

    async def mark_started(self, marks: Sequence[Started]) -> frozenset[str]:
        """Mark certainly new requests as running; see the contract."""
        groups: dict[tuple[int, str, datetime], list[str]] = defaultdict(list)
        for mark in marks:
            groups[mark.epoch, mark.runner, mark.at].append(mark.execution_id)
        lost: set[str] = set()
        for (epoch, runner, at), ids in groups.items():
            for chunk in chunks(ids):
                lost |= await self._mark_chunk(epoch, runner, at, chunk)
        return frozenset(lost)

    async def _mark_chunk(self, epoch: int, runner: str, at: datetime, ids: Sequence[str]) -> set[str]:
        """Mark executions as running, and return those that are under another epoch."""
        async with translated():
            result = await self._live.update_many(
                {"_id": {"$in": ids}, "epoch": epoch, "status": Status.PENDING.value},
                _begun(runner, at),
            )
            if result.matched_count == len(ids):
                return set()
            # A result that was faster than its mark is no loss: the epoch is still ours.
            now = {found.execution_id: found.epoch for found in await self._get_all(ids) if found is not None}
        return {execution_id for execution_id in ids if now.get(execution_id) != epoch}

    async def project(
        self, results: Sequence[ActionFinished], *, folded: Mapping[str, Execution] | None = None
    ) -> frozenset[str]:
        """Apply results in order; see the contract."""
        by_execution: dict[str, list[ActionFinished]] = defaultdict(list)
        for result in results:
            by_execution[result.execution_id].append(result)
        left = list(by_execution)
        ended = [each for each in (folded or {}).values() if each.status in TERMINAL]
        if ended:
            done = {each.execution_id for each, moved in zip(ended, await self._move(ended), strict=True) if moved}
            left = [execution_id for execution_id in left if execution_id not in done]
        refused_ids: set[str] = set()
        for _ in range(_TRIES):
            if not left:
                return frozenset(refused_ids)
            found = {execution.execution_id: execution for execution in await self._find_live(left)}
            swaps: list[Swap] = []
            moves: list[Execution] = []
            for execution_id in left:
                before = after = found.get(execution_id)
                if before is None or after is None:
                    continue
                for result in by_execution[execution_id]:
                    after = apply(after, result)
                if after is not before:
                    if after.status in OPEN:
                        swaps.append((before, after))
                    else:
                        moves.append(after)
                if before.epoch != by_execution[execution_id][-1].epoch:
                    refused_ids.add(execution_id)
            gone = [execution_id for execution_id in left if execution_id not in found]
            swapped = await self._swap_all(swaps) if swaps else ()
            moved = await self._move(moves) if moves else ()
            if gone:
                epochs = {each.execution_id: each.epoch for each in await self._find_finished(gone)}
                refused_ids |= {each for each in gone if epochs.get(each) != by_execution[each][-1].epoch}
            left = [before.execution_id for (before, _), done in zip(swaps, swapped, strict=True) if not done]
            left += [each.execution_id for each, done in zip(moves, moved, strict=True) if not done]
        if left:
            raise StoreUnavailable(f"results of {len(left)} executions not written: they changed each time they were read")
        return frozenset(refused_ids)

    async def unclaimed(self, before: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return pending executions handed out before ``before``; also moves what was ended but left among the open."""
        # One query: no other stage lies between these two.
        stages = {"$gte": ENDED, "$lte": stage_at(Status.PENDING, before)}
        query = {"stage": stages, "shard": {"$in": sorted(shards)}}
        found = await self._find(self._live, query, sort=[("stage", ASCENDING)], limit=limit)
        if ended := [execution for execution in found if execution.status in TERMINAL]:
            await self._move(ended)
        return [execution for execution in found if execution.status is Status.PENDING]

    # -- rebuilding ----------------------------------------------------------------------------------------------------

    async def replace_all(self, executions: Iterable[Execution]) -> None:
        """Write whole executions over what is stored."""
        parts: tuple[Found, Found] = ([], [])
        for execution in executions:
            parts[execution.status.is_open].append(execution)
        ended, still_open = parts
        # The finished ones first: they give back the locks that open ones may need.
        for chosen, collection, other in ((ended, self._finished, self._live), (still_open, self._live, self._finished)):
            for start in range(0, len(chosen), _REPLACED_AT_ONCE):
                chunk = chosen[start : start + _REPLACED_AT_ONCE]
                documents = {each.execution_id: self._document(collection, each) for each in chunk}
                async with translated():
                    await self._put(collection, documents)
                    await other.delete_many({"_id": {"$in": list(documents)}})

    def _document(self, collection: AsyncCollection[Document], execution: Execution) -> Document:
        return live_document(execution) if collection is self._live else to_document(execution)

    async def _put(self, collection: AsyncCollection[Document], documents: Mapping[str, Document]) -> None:
        """Replace or insert; an upsert would scan the collection on SecantusDB."""
        result = await collection.bulk_write(
            [ReplaceOne({"_id": execution_id}, document) for execution_id, document in documents.items()], ordered=False
        )
        if result.matched_count != len(documents):
            known = await self._ids(collection, list(documents))
            new = [document for execution_id, document in documents.items() if execution_id not in known]
            if new:
                await collection.insert_many(new, ordered=False)


def _begun(runner: str, at: datetime) -> Document:
    """Return the update of an open document whose execution a runner has begun."""
    return {
        "$set": {"status": Status.RUNNING.value, "owner": runner, "stage": Status.RUNNING.value},
        "$min": {"started_at": at},
        "$unset": {"requested_at": ""},
    }


_END = ("epoch", "finished_at", "reason")


def _end_of(execution: Execution) -> Document:
    """Return what tells the end of an execution from any other."""
    return {name: getattr(execution, name) for name in _END}


def _state(execution: Execution) -> Document:
    """Return the filter that finds an execution in exactly this state."""
    return {
        "_id": execution.execution_id,
        "epoch": execution.epoch,
        "seq": execution.seq,
        "status": execution.status.value,
        # An intent that was written since may have been followed by a request: it must not be forgotten.
        "intents": list(execution.intents) or None,
    }


def _is_lock(problem: Mapping[str, Any]) -> bool:
    pattern = problem.get("keyPattern")
    if pattern:
        return "lock_key" in pattern
    return _LOCK_INDEX in str(problem.get("errmsg", "")).split("dup key")[0].split("index:")[-1]
