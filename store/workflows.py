"""Workflows in MongoDB: the current version of each is one document, superseded versions lie beside.

A change first keeps the version that it is about to supersede (under the id ``<workflow>@<version>``, once), then replaces
the current document where it still is at that version. A crash in between leaves a copy of what is current anyway; two
changes at once make one of them a VersionConflict.

The definition is kept as JSON text, because its keys may hold dots and dollars (header names, JSON bodies); what is queried
(trigger, retries, next run) stands beside it.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import islice
from typing import Any

from pymongo import ASCENDING, IndexModel, UpdateMany
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from domain.instants import EPOCH, MILLISECOND
from domain.subscription import Subscribed
from domain.trigger import TRIGGER_TYPES
from events.topics import PARTITIONS
from store.chunks import AT_ONCE, chunks
from store.failures import translated
from store.group_commit import GroupCommit, Observe, unobserved
from store.interfaces import Advance, Due, VersionConflict, Workflow, WorkflowExists, WorkflowFilter
from store.names import Names, containing, ranges
from store.occurrences import unfired, unfired_document
from store.windows import forwards, within

Document = dict[str, Any]
# Inside the class, ``list`` is the method.
Documents = list[Document]
Found = list[Workflow]
Ids = list[str]
Upcoming = list[Due]

_DUE_PAGE = 1000
_OF_DUE = (
    "version", "trigger", "retries", "total_actions", "shard", "anchor", "next_run", "overlap", "runs", "unfired", "timeout",
    "tick_input",
)  # fmt: skip
_DEL = "\x7f"
_ABSENT = {"$exists": False}
_Advance = tuple[str, int, datetime, Advance]  # of a workflow, where it is at this version and this instant
Advances = list[_Advance]
_ILLEGAL_OPERATION, _NOT_SUPPORTED = 20, 263


class MongoWorkflows:
    """See :class:`store.interfaces.Workflows`."""

    def __init__(
        self, heads: AsyncCollection[Document], versions: AsyncCollection[Document], observe: Observe = unobserved
    ) -> None:
        self._heads = heads
        self._versions = versions
        self._reads: GroupCommit[str, Workflow | None] = GroupCommit(self._get_all, "get-workflow", observe)
        self._names = Names(self._read_names)
        self._archived_names = Names(self._read_archived_names)
        self._has_transactions = True  # until the server refuses one
        self._advances: GroupCommit[_Advance, bool] = GroupCommit(self._advance_all, "advance", observe)

    def indexes(self) -> Iterator[tuple[AsyncCollection[Document], Sequence[IndexModel]]]:
        """Yield the indexes that the scheduler and the lists read by."""
        yield (
            self._heads,
            [
                IndexModel([("next_run", ASCENDING)], name="next_run", sparse=True),  # due, upcoming
                IndexModel([("trigger_type", ASCENDING), ("_id", ASCENDING)], name="listed", sparse=True),  # list
                IndexModel([("archived_at", ASCENDING)], name="archived_at", sparse=True),  # list of archived ones
                IndexModel([("subscribed_at", ASCENDING)], name="subscribed_at", sparse=True),  # subscribed
            ],
        )

    async def create(self, workflow: Workflow) -> Workflow:
        """Store a new workflow; see the contract."""
        try:
            async with translated():
                await self._heads.insert_one(to_document(workflow))
            self._names.add(workflow.workflow_id)
        except DuplicateKeyError:
            existing = await self.get(workflow.workflow_id)
            if existing is None or existing.archived_at is None:
                raise WorkflowExists(workflow.workflow_id) from None
            try:
                return await self.replace(replace(workflow, version=existing.version + 1))
            except VersionConflict:
                raise WorkflowExists(workflow.workflow_id) from None
        return workflow

    async def replace(self, workflow: Workflow) -> Workflow:
        """Store the next version; see the contract."""
        superseded = workflow.version - 1
        async with translated():
            head = await self._heads.find_one({"_id": workflow.workflow_id})
            if head is None or head["version"] != superseded:
                raise VersionConflict(workflow.workflow_id, superseded)
            await self._keep(head)
            as_read: Document = {"_id": workflow.workflow_id, "version": superseded}
            if "archived_at" not in head:  # of one that is, a pause is history
                # A pause that began or ended since the workflow was read must not be undone.
                as_read["paused_at"] = workflow.paused_at or _ABSENT
            result = await self._heads.replace_one(as_read, to_document(workflow))
        if not result.matched_count:
            raise VersionConflict(workflow.workflow_id, superseded)
        return workflow

    async def get(self, workflow_id: str) -> Workflow | None:
        """Return the current version; concurrent calls share one query."""
        return await self._reads.submit(workflow_id)

    async def _get_all(self, ids: Sequence[str]) -> Sequence[Workflow | None]:
        found: dict[str, Document] = {}
        async with translated():
            for chunk in chunks([*dict.fromkeys(ids)]):
                documents = await self._heads.find({"_id": {"$in": chunk}}).to_list()
                found |= {document["_id"]: document for document in documents}
        return [_from_document(found[each]) if each in found else None for each in ids]

    async def get_version(self, workflow_id: str, version: int) -> Mapping[str, Any] | None:
        """Return the stored definition of one version."""
        head = await self.get(workflow_id)
        if head is not None and head.version == version:
            return head.definition
        async with translated():
            document = await self._versions.find_one({"_id": f"{workflow_id}@{version}"})
        return None if document is None else json.loads(document["definition"])

    async def versions(self, workflow_id: str, *, before: int | None, limit: int) -> Sequence[Workflow]:
        """Return versions, newest first; see the contract."""
        head = await self.get(workflow_id)
        if head is None:
            return []
        newest = head.version if before is None else min(head.version, before - 1)
        # Numbers have no gaps, so a page is a list of ids, and needs no index but the primary one.
        numbers = range(newest, max(newest - limit, 0), -1)
        async with translated():
            found = {
                document["version"]: _from_document({**document, "_id": workflow_id})
                async for document in self._versions.find({"_id": {"$in": [f"{workflow_id}@{n}" for n in numbers]}})
            }
        found[head.version] = head
        return [found[number] for number in numbers if number in found]

    async def archive(self, workflow: Workflow, at: datetime) -> bool:
        """Archive; see the contract."""
        async with translated():
            await self._keep(to_document(workflow))
            # The version is raised too: a change that has read the workflow before must not bring it back.
            result = await self._heads.update_one(
                {
                    "_id": workflow.workflow_id,
                    "version": workflow.version,
                    "archived_at": _ABSENT,
                    "next_run": workflow.next_run or _ABSENT,
                    "paused_at": workflow.paused_at or _ABSENT,
                },
                {
                    "$set": {"archived_at": at, "updated_at": at},
                    "$inc": {"version": 1},
                    "$unset": {"next_run": "", "trigger_type": "", "subscribed_at": ""},
                },
            )
        if result.matched_count:
            self._archived_names.add(workflow.workflow_id)
        return bool(result.matched_count)

    async def _keep(self, head: Document) -> None:
        """Keep a version that is about to be superseded: executions that were admitted under it still run it."""
        kept = {key: value for key, value in head.items() if key not in ("_id", "next_run", "trigger_type", "subscribed_at")}
        with suppress(DuplicateKeyError):  # kept by a change that went no further
            await self._versions.insert_one({"_id": f"{head['_id']}@{head['version']}", "workflow_id": head["_id"], **kept})

    async def list(self, where: WorkflowFilter, *, after: str | None, limit: int) -> Sequence[Workflow]:
        """Return workflows by id, with ids greater than ``after``."""
        names = await (self._archived_names if where.is_archived else self._names).current()
        if where.contains or where.is_archived:
            return await self._search(where, containing(names, where.contains or "", where.prefix, after), limit)
        prefix = where.prefix or ""
        is_further = after is not None and after >= prefix
        lower: Document = {"$gt": after} if is_further else {"$gte": prefix} if prefix else {}
        found: Found = []
        for _, last in ranges(names, after if is_further else prefix or None, limit):
            is_end = last is None or not last.startswith(prefix)
            # Ids are ASCII, and DEL sorts behind every character they may have.
            upper = {"$lte": last} if not is_end else {"$lt": f"{prefix}{_DEL}"} if prefix else {}
            found += await self._between({**lower, **upper}, where, limit)
            if is_end or len(found) >= limit:
                break
            lower = {"$gt": last}
        return found[:limit]

    async def _between(self, bounds: Document, where: WorkflowFilter, limit: int) -> Found:
        """Return the first workflows within bounds of the id."""
        # Nothing but an equality and a range: with any further clause SecantusDB reads everything.
        types = TRIGGER_TYPES if where.trigger_type is None else (where.trigger_type,)
        queries = [{"trigger_type": each, **({"_id": bounds} if bounds else {})} for each in types]

        async def first(query: Document) -> Documents:
            cursor = self._heads.find(query, limit=limit).sort([("_id", ASCENDING)])
            return [document async for document in cursor]

        async with translated():
            pages = await asyncio.gather(*(first(query) for query in queries))
        documents = sorted((document for page in pages for document in page), key=lambda document: document["_id"])
        return [_from_document(document) for document in documents[:limit]]

    async def _search(self, where: WorkflowFilter, ids: Iterator[str], limit: int) -> Found:
        """Return the first of the workflows ``ids`` that are like ``where``."""
        found: Found = []
        while len(found) < limit and (chunk := [*islice(ids, min(limit, AT_ONCE))]):
            async with translated():
                documents = {each["_id"]: each async for each in self._heads.find({"_id": {"$in": chunk}})}
            for workflow in (_from_document(documents[each]) for each in chunk if each in documents):
                is_archived = workflow.archived_at is not None
                trigger_type = workflow.definition["trigger"]["type"]
                if is_archived == where.is_archived and where.trigger_type in (None, trigger_type):
                    found.append(workflow)
        return found[:limit]

    async def _read_names(self) -> Ids:
        async with translated():
            return [document["_id"] async for document in self._heads.find({}, {"_id": 1})]

    async def _read_archived_names(self) -> Ids:
        async with translated():
            return [document["_id"] async for document in self._heads.find({"archived_at": {"$gt": EPOCH}}, {"_id": 1})]

    async def due(self, until: datetime, shards: frozenset[int]) -> AsyncIterator[Due]:
        """Yield the workflows with ``next_run`` up to ``until``, soonest first."""
        query: Document = {"next_run": {"$lte": until}}
        if len(shards) < PARTITIONS:  # one scheduler alone has them all
            query["shard"] = {"$in": sorted(shards)}
        async with translated():
            cursor = self._heads.find(query, _OF_DUE, batch_size=_DUE_PAGE).sort([("next_run", ASCENDING)])
            async for document in cursor:
                yield _due(document)

    async def upcoming(self, *, after: tuple[datetime, str] | None, until: datetime | None, limit: int) -> Sequence[Due]:
        """Return workflows by their next run; see the contract."""
        queries: Documents = []
        start = None
        if after is not None:
            start = after[0] + MILLISECOND
            queries.append({"next_run": after[0], "_id": {"$gt": after[1]}})
        queries += [within(each, "next_run") for each in forwards(start, until, datetime.now(timezone.utc))]
        found: Upcoming = []
        for query in queries:
            async with translated():
                cursor = self._heads.find(query, _OF_DUE, limit=limit - len(found))
                found += [_due(each) async for each in cursor.sort([("next_run", ASCENDING), ("_id", ASCENDING)])]
            if len(found) == limit:
                break
        return found

    async def subscribed(self) -> Sequence[Subscribed]:
        """Return all subscriptions; see the contract."""
        async with translated():
            return [
                Subscribed.of(each["_id"], json.loads(each["kafka"]), each["subscribed_at"])
                async for each in self._heads.find({"subscribed_at": {"$gt": EPOCH}}, ("subscribed_at", "kafka"))
            ]

    async def overdue_since(self, now: datetime) -> datetime | None:
        """Return the earliest ``next_run`` up to ``now``; see the contract."""
        query = {"next_run": {"$lte": now}}
        async with translated():
            async for document in self._heads.find(query, {"next_run": 1}, limit=1).sort([("next_run", ASCENDING)]):
                due: datetime = document["next_run"]
                return due
        return None

    async def advance(self, workflow_id: str, version: int, due: datetime, advance: Advance) -> bool:
        """Set where the schedule stands; see the contract."""
        return await self._advances.submit((workflow_id, version, due, advance))

    async def _advance_all(self, advances: Sequence[_Advance]) -> Sequence[bool]:
        updates = [*_steps(advances), *_changes(advances)]
        async with translated():
            if await self._write_at_once(updates) == len(advances):
                return [True] * len(advances)
            now = {
                document["_id"]: (document["version"], document.get("next_run"))
                for chunk in chunks([workflow_id for workflow_id, *_ in advances])
                async for document in self._heads.find({"_id": {"$in": chunk}}, {"version": 1, "next_run": 1})
            }
        return [now.get(workflow_id) == (version, advance.next_run) for workflow_id, version, _, advance in advances]

    async def _write_at_once(self, updates: Sequence[UpdateMany]) -> int:
        """Write the updates and return how many matched.

        In one transaction where the server has any (a MongoDB that is no replica set has none): the standalone database
        waits for the disk after every update of a bulk, which on a busy disk takes 10 ms each, but once for a transaction.
        """
        if self._has_transactions and len(updates) > 1:
            try:
                async with self._heads.database.client.start_session() as session, await session.start_transaction():
                    result = await self._heads.bulk_write(updates, ordered=False, session=session)
                return result.matched_count
            except (OperationFailure, BulkWriteError) as error:
                # Refused altogether, or in conflict with a change of one of the workflows: each for itself, then.
                self._has_transactions = not _are_transactions_refused(error)
        return (await self._heads.bulk_write(updates, ordered=False)).matched_count

    async def pause(self, workflow_id: str, at: datetime, next_run: datetime) -> bool:
        """Hold the ticks; see the contract."""
        async with translated():
            result = await self._heads.update_one(
                {"_id": workflow_id, "next_run": next_run},
                {"$set": {"paused_at": at, "held_from": next_run}, "$unset": {"next_run": ""}},
            )
        return bool(result.matched_count)

    async def resume(self, workflow_id: str, version: int, paused_at: datetime, advance: Advance) -> bool:
        """End the pause; see the contract."""
        change = _change(advance)
        change["$unset"] = {**change.get("$unset", {}), "paused_at": "", "held_from": ""}
        async with translated():
            result = await self._heads.update_one(
                {"_id": workflow_id, "version": version, "paused_at": paused_at, "archived_at": _ABSENT}, change
            )
        return bool(result.matched_count)


def _due(document: Document) -> Due:
    return Due(
        workflow_id=document["_id"],
        version=document["version"],
        trigger=json.loads(document["trigger"]),
        retries=document["retries"],
        total_actions=document["total_actions"],
        shard=document["shard"],
        anchor=document["anchor"],
        next_run=document["next_run"],
        overlap=json.loads(document["overlap"]) if "overlap" in document else None,
        runs=document.get("runs", 0),
        unfired=unfired(document["_id"], document.get("unfired")),
        timeout=document.get("timeout"),
        tick_input=_tick_input(document),
    )


def _are_transactions_refused(error: OperationFailure) -> bool:
    return error.code in (_ILLEGAL_OPERATION, _NOT_SUPPORTED) or "Transaction numbers" in str(error)


def _takes_a_step(advance: _Advance) -> bool:
    _, _, due, to = advance
    return to.step is not None and to == Advance(due + to.step, step=to.step)


def _steps(advances: Sequence[_Advance]) -> Iterator[UpdateMany]:
    """Yield updates that advance many schedules by the same step at once.

    The standalone database takes 1 ms for each document of one, and 1.6 ms (alone: 3.3 ms) for an update of its own. All
    that are due within less than a step are in one filter, which is exact all the same: of the instants that a schedule can
    stand at under one version, only one lies in there.
    """
    groups: dict[tuple[int, timedelta], Advances] = defaultdict(list)
    for each in advances:
        if _takes_a_step(each):
            groups[each[1], each[3].step or timedelta()].append(each)
    for (version, step), group in groups.items():
        ids: Ids = []
        first = last = group[0][2]
        for workflow_id, _, due, _ in sorted(group, key=lambda each: each[2]):
            if ids and (len(ids) == AT_ONCE or due - first >= step):
                yield _step(ids, version, first, last, step)
                ids = []
            if not ids:
                first = due
            last = due
            ids.append(workflow_id)
        yield _step(ids, version, first, last, step)


def _step(ids: Ids, version: int, first: datetime, last: datetime, step: timedelta) -> UpdateMany:
    if first == last:  # a quarter less for the standalone database, which need not calculate
        return _change_of(ids, version, first, Advance(first + step))
    return UpdateMany(
        {"_id": {"$in": ids}, "version": version, "next_run": {"$gte": first, "$lte": last}},
        [{"$set": {"next_run": {"$add": ["$next_run", step // timedelta(milliseconds=1)]}}}, {"$unset": "unfired"}],
    )


def _changes(advances: Sequence[_Advance]) -> Iterator[UpdateMany]:
    """Yield updates for the others; those that ask for the same, because many schedules lie on one instant, in one."""
    groups: dict[tuple[int, datetime, str], Advances] = defaultdict(list)
    for each in advances:
        if not _takes_a_step(each):
            _, version, due, advance = each
            groups[version, due, repr(advance)].append(each)
    for (version, due, _), group in groups.items():
        for chunk in chunks(group):
            ids = [workflow_id for workflow_id, *_ in chunk]
            yield _change_of(ids, version, due, group[0][3])


def _change_of(ids: Ids, version: int, due: datetime, advance: Advance) -> UpdateMany:
    filter_ = {"_id": ids[0] if len(ids) == 1 else {"$in": ids}, "version": version, "next_run": due}
    return UpdateMany(filter_, _change(advance))


def _change(advance: Advance) -> Document:
    values: Document = {}
    gone: Document = {}
    if advance.next_run is None:
        gone["next_run"] = ""
    else:
        values["next_run"] = advance.next_run
    if advance.runs is not None:
        values["runs"] = advance.runs
    if advance.unfired is None:
        gone["unfired"] = ""
    else:
        values["unfired"] = unfired_document(advance.unfired)
    return {operator: fields for operator, fields in (("$set", values), ("$unset", gone)) if fields}


def to_document(workflow: Workflow) -> Document:
    """Return the document of a workflow's current version."""
    document: Document = {
        "_id": workflow.workflow_id,
        "version": workflow.version,
        "definition": json.dumps(dict(workflow.definition)),
        "trigger": json.dumps(workflow.definition["trigger"]),
        "retries": workflow.definition["retries"],
        "total_actions": workflow.total_actions,
        "shard": workflow.shard,
        "created_at": workflow.created_at,
        "updated_at": workflow.updated_at,
        "anchor": workflow.anchor,
    }
    if workflow.definition.get("timeout") is not None:
        document["timeout"] = workflow.definition["timeout"]
    if workflow.next_run is not None:
        document["next_run"] = workflow.next_run
    if workflow.archived_at is None:  # what lists are read by, and archived ones are in none
        document["trigger_type"] = workflow.definition["trigger"]["type"]
    else:
        document["archived_at"] = workflow.archived_at
    if workflow.definition.get("overlap") is not None:
        document["overlap"] = json.dumps(workflow.definition["overlap"])
    if workflow.tick_input is not None:
        document["tick_input"] = json.dumps(dict(workflow.tick_input))
    if workflow.runs:
        document["runs"] = workflow.runs
    if workflow.unfired is not None:
        document["unfired"] = unfired_document(workflow.unfired)
    if workflow.paused_at is not None:
        document["paused_at"] = workflow.paused_at
    if workflow.held_from is not None:
        document["held_from"] = workflow.held_from
    if workflow.subscribed_at is not None:
        document["subscribed_at"] = workflow.subscribed_at
        document["kafka"] = json.dumps(workflow.definition["kafka"])
    return document


def _from_document(document: Document) -> Workflow:
    return Workflow(
        workflow_id=document["_id"],
        version=document["version"],
        definition=json.loads(document["definition"]),
        total_actions=document["total_actions"],
        shard=document["shard"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
        anchor=document["anchor"],
        next_run=document.get("next_run"),
        archived_at=document.get("archived_at"),
        runs=document.get("runs", 0),
        unfired=unfired(document["_id"], document.get("unfired")),
        paused_at=document.get("paused_at"),
        held_from=document.get("held_from"),
        subscribed_at=document.get("subscribed_at"),
        tick_input=_tick_input(document),
    )


def _tick_input(document: Document) -> Mapping[str, Any] | None:
    return json.loads(document["tick_input"]) if "tick_input" in document else None
