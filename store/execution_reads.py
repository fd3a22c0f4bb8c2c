"""What is read of executions in MongoDB: :mod:`store.executions` says how they are written, and why to two collections.

Of the two, whoever reads both begins with the open ones: what ends in between is then found twice rather than not at all.

Queries are written so that MongoDB and SecantusDB both answer them from an index. SecantusDB sorts whatever a filter finds
before it cuts to the limit, and it uses an index for equality, or for equality followed by one range, but never for a range
of ``_id`` alone. Hence the windows of :meth:`ExecutionReads.list`, without which a list reads every finished execution.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta, timezone

from pymongo import ASCENDING, DESCENDING
from pymongo.asynchronous.collection import AsyncCollection

from domain.execution import OPEN, TERMINAL, Execution, Status
from domain.identifiers import asked_at, earliest_execution_id, is_execution_id
from domain.instants import EPOCH
from domain.overlap import line_bounds
from store.chunks import ABSENT_AT_ONCE, AT_ONCE, chunks
from store.execution_documents import ENDED, Document, from_document, keys_of_reference, stages_up_to
from store.failures import translated
from store.group_commit import GroupCommit, Observe
from store.interfaces import Backlog, ExecutionFilter
from store.windows import IdWindow, windows_of_ids, within

Found = list[Execution]  # inside the class, ``list`` is the method

_SCAN_BATCH = 500

# What actions answered may be megabytes, and a list shows none of it.
_LISTED = {"results": 0, "input": 0}

# Windows as for a list; coarser ones, because what is shown is little and of many workflows.
_RECENT_REACHES: Sequence[timedelta | None] = (
    timedelta(minutes=2),
    timedelta(hours=1),
    timedelta(days=1),
    timedelta(days=8),
    None,
)
_MOST_REACHES = 10_000  # workflows come and go, and what is forgotten of one costs a query or two


class ExecutionReads:
    """The reading half of :class:`store.executions.MongoExecutions`; it writes nothing."""

    def __init__(self, live: AsyncCollection[Document], finished: AsyncCollection[Document], observe: Observe) -> None:
        self._live = live
        self._finished = finished
        self._reaches: dict[str, int] = {}  # by workflow: which of the recent reaches held what was asked for the last time
        self._newest_finished: datetime | None = None  # that a list has met: where the next one need not feel its way
        self._reads: GroupCommit[str, Execution | None] = GroupCommit(self._get_all, "get", observe)

    async def get(self, execution_id: str) -> Execution | None:
        """Return one execution; concurrent calls share one query."""
        return await self._reads.submit(execution_id)

    async def _get_all(self, ids: Sequence[str]) -> Sequence[Execution | None]:
        found = {execution.execution_id: execution for execution in await self._find_live(ids)}
        gone = [execution_id for execution_id in ids if execution_id not in found]
        if gone:
            found.update({execution.execution_id: execution for execution in await self._find_finished(gone)})
        return [found.get(execution_id) for execution_id in ids]

    async def states(self, ids: Sequence[str]) -> Mapping[str, tuple[int, Status]]:
        """Return epoch and status of executions."""
        states: dict[str, tuple[int, Status]] = {}
        for collection in (self._live, self._finished):
            left = [execution_id for execution_id in ids if execution_id not in states]
            for chunk in chunks(left):
                async with translated():
                    async for found in collection.find({"_id": {"$in": chunk}}, {"epoch": 1, "status": 1}):
                        states[found["_id"]] = (found["epoch"], Status(found["status"]))
        return states

    async def holder(self, lock_key: str) -> Execution | None:
        """Return the open execution that holds ``lock_key``."""
        return (await self.holders([lock_key])).get(lock_key)

    async def holders(self, lock_keys: Sequence[str]) -> Mapping[str, Execution]:
        """Return the open executions by lock key."""
        found = await self._find_holders(lock_keys)
        return {execution.lock_key: execution for execution in found if execution.lock_key is not None}

    async def _find_holders(self, lock_keys: Sequence[str], fields: Mapping[str, int] | None = None) -> Found:
        found: Found = []
        for chunk in chunks([*dict.fromkeys(lock_keys)]):
            found += await self._find(self._live, {"lock_key": {"$in": chunk}}, fields=fields)
        return found

    async def list(self, where: ExecutionFilter, *, before: str | None, limit: int) -> Sequence[Execution]:
        """Return executions, newest first, with ids smaller than ``before``; see the contract."""
        # Ids carry the instant they were asked for at, so a range of time is a range of ids.
        low = None if where.created_from is None else earliest_execution_id(where.created_from)
        highs = [] if before is None else [before]
        if where.created_to is not None:
            highs.append(earliest_execution_id(where.created_to))
        window = (low, min(highs, default=None))
        statuses = frozenset(Status) if where.statuses is None else where.statuses
        found: dict[str, Execution] = {}
        if statuses & OPEN:
            query: Document = {} if where.statuses is None else _status_is_in(statuses & OPEN)
            if where.workflow_id is not None:
                query = {"workflow_id": where.workflow_id, **query}
                if where.reference is None:
                    # Lock keys are the workflow id, or begin with it and "#"; "$" is the character after "#".
                    query["lock_key"] = {"$gte": where.workflow_id, "$lt": f"{where.workflow_id}$"}
            query |= _cause_is_in(where)
            for execution in await self._newest(self._live, query, window, limit, where.reference):
                found[execution.execution_id] = execution
        if statuses & TERMINAL:
            await self._list_finished(found, where, statuses & TERMINAL, window, limit)
        return [found[execution_id] for execution_id in sorted(found, reverse=True)[:limit]]

    async def _list_finished(
        self, found: dict[str, Execution], where: ExecutionFilter, statuses: frozenset[Status], window: IdWindow, limit: int
    ) -> None:
        """Add finished executions to ``found`` until it holds the newest ``limit``."""
        cause = _cause_is_in(where)
        of_workflow = {} if where.workflow_id is None else {"workflow_id": where.workflow_id}
        of_status = {} if statuses == TERMINAL else _status_is_in(statuses)
        query: Document = {**of_workflow, **of_status, **cause}
        # What is ended is among the open ones until it is moved, and holds no lock by which those of a workflow are found.
        for execution in await self._newest(self._live, {"stage": ENDED, **query}, window, limit, where.reference):
            found[execution.execution_id] = execution
        if where.workflow_id is None and where.reference is None:
            queries: Sequence[Document] = [{"status": status.value, **cause} for status in sorted(statuses)]
        else:
            queries = [query]
        now = datetime.now(timezone.utc)
        for part in windows_of_ids(*window, now, self._newest_finished):
            asked = (self._newest(self._finished, query, part, limit, where.reference) for query in queries)
            pages = await asyncio.gather(*asked)
            ended = {each.execution_id: each for page in pages for each in page if each.execution_id not in found}
            self._remember(ended, now)
            async with translated():
                shadowed = await self._ids(self._live, list(ended))
            found.update({execution_id: each for execution_id, each in ended.items() if execution_id not in shadowed})
            if sum(part[0] is None or execution_id >= part[0] for execution_id in found) >= limit:
                return

    async def _newest(
        self,
        collection: AsyncCollection[Document],
        query: Document,
        window: IdWindow,
        limit: int,
        reference: str | None = None,
    ) -> Found:
        if reference is None:
            query, key = {**query, **within(window, "_id")}, "_id"
        else:
            # Its keys first: of several clauses SecantusDB takes the first one that there is an index for.
            query, key = {**within(keys_of_reference(reference, window), "reference_key"), **query}, "reference_key"
        return await self._find(collection, query, sort=[(key, DESCENDING)], limit=limit, fields=_LISTED)

    def _remember(self, ids: Iterable[str], now: datetime) -> None:
        newest = max((each for each in ids if is_execution_id(each) and each < earliest_execution_id(now)), default=None)
        if newest is not None:
            self._newest_finished = max(asked_at(newest), self._newest_finished or EPOCH)

    async def latest(self, workflow_id: str) -> Execution | None:
        """Return the newest execution of a workflow."""
        found = await self.list(ExecutionFilter(workflow_id=workflow_id), before=None, limit=1)
        return found[0] if found else None

    async def recent(self, lock_keys: Mapping[str, Sequence[str]], limit: int) -> Mapping[str, Sequence[Execution]]:
        """Return the newest executions of each workflow; see the contract."""
        now = datetime.now(timezone.utc)
        still_open: dict[str, Found] = defaultdict(list)
        for each in await self._find_holders([key for keys in lock_keys.values() for key in keys], _LISTED):
            still_open[each.workflow_id].append(each)
        ended = await asyncio.gather(*(self._recently_ended(workflow_id, limit, now) for workflow_id in lock_keys))
        found: dict[str, Found] = {}
        for workflow_id, executions in zip(lock_keys, ended, strict=True):
            newest = {each.execution_id: each for each in (*executions, *still_open[workflow_id])}
            found[workflow_id] = [newest[execution_id] for execution_id in sorted(newest, reverse=True)[:limit]]
        return found

    async def _recently_ended(self, workflow_id: str, limit: int, now: datetime) -> Found:
        found: Found = []
        high: str | None = None
        # The first reaches as far as was needed the last time, so that most workflows take one query each.
        for reach in _RECENT_REACHES[self._reaches.get(workflow_id, 0) :]:
            low = None if reach is None else earliest_execution_id(now - reach)
            found += await self._newest(self._finished, {"workflow_id": workflow_id}, (low, high), limit)
            if len(found) >= limit:
                break
            high = low
        if len(self._reaches) >= _MOST_REACHES:
            self._reaches.clear()
        self._reaches[workflow_id] = _reach_of(found[-1].execution_id if len(found) >= limit else "", now)
        return found

    async def waking(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return waiting executions with ``wake_at`` up to ``until``, soonest first."""
        query = {"stage": stages_up_to(Status.WAITING, until), "shard": {"$in": sorted(shards)}}
        return await self._find(self._live, query, sort=[("stage", ASCENDING)], limit=limit)

    async def expiring(self, until: datetime, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return open executions with a deadline up to ``until``, soonest first."""
        query = {"deadline": {"$lte": until}, "shard": {"$in": sorted(shards)}}
        return await self._find(self._live, query, sort=[("deadline", ASCENDING)], limit=limit)

    async def line(self, workflow_id: str) -> Sequence[Execution]:
        """Return the queued executions of a workflow, the one that waits longest first."""
        start, end = line_bounds(workflow_id)
        found = await self._find(self._live, {"lock_key": {"$gte": start, "$lt": end}})
        return sorted(found, key=lambda execution: execution.execution_id)

    async def queued(self, shards: frozenset[int], limit: int) -> Sequence[Execution]:
        """Return queued executions."""
        return await self._find(self._live, {"stage": Status.QUEUED.value, "shard": {"$in": sorted(shards)}}, limit=limit)

    async def owned(self, shards: frozenset[int]) -> Mapping[str, Sequence[Execution]]:
        """Return running executions by owner."""
        owners: dict[str, list[Execution]] = defaultdict(list)
        query = {"stage": Status.RUNNING.value, "shard": {"$in": sorted(shards)}}
        for execution in await self._find(self._live, query, fields=_LISTED):
            if execution.owner is not None:
                owners[execution.owner].append(execution)
        return owners

    async def backlog(self, at: datetime) -> Backlog:
        """Count what is open; see the contract. SecantusDB reads all of it for that: not to be asked often."""
        async with translated():
            count = await self._live.estimated_document_count()
        query = {"stage": stages_up_to(Status.PENDING, at)}
        oldest = await self._find(self._live, query, sort=[("stage", ASCENDING)], limit=1, fields=_LISTED)
        return Backlog(count, oldest[0].requested_at if oldest else None)

    async def scan(self, *, workflow_id: str | None = None) -> AsyncIterator[Execution]:
        """Yield every execution, or those of a workflow, in the order of their ids.

        One cursor for all that have finished, not a query per page: SecantusDB reads everything for each. The open ones are
        few, at most one per workflow, and are read first.
        """
        query: Document = {} if workflow_id is None else {"workflow_id": workflow_id}
        live = {execution.execution_id: execution for execution in await self._find(self._live, query)}
        waiting = sorted(live, reverse=True)
        async with translated():
            async for document in self._finished.find(query, batch_size=_SCAN_BATCH).sort([("_id", ASCENDING)]):
                while waiting and waiting[-1] < document["_id"]:
                    yield live[waiting.pop()]
                if document["_id"] not in live:
                    yield from_document(document)
        for execution_id in reversed(waiting):
            yield live[execution_id]

    async def _find_live(self, ids: Sequence[str]) -> Found:
        async with translated():
            return [from_document(document) for document in await self._documents(self._live, ids)]

    async def _find_finished(self, ids: Sequence[str]) -> Found:
        async with translated():
            return [from_document(document) for document in await self._documents(self._finished, ids)]

    async def _documents(
        self,
        collection: AsyncCollection[Document],
        ids: Sequence[str],
        fields: Mapping[str, int] | None = None,
        at_once: int = AT_ONCE,
    ) -> Sequence[Document]:
        found: list[Document] = []
        for chunk in chunks(ids, at_once):
            found += [each async for each in collection.find({"_id": {"$in": chunk}}, fields)]
        return found

    async def _ids(self, collection: AsyncCollection[Document], ids: Sequence[str]) -> set[str]:
        """Return which of these ids are there: hardly any, as a rule."""
        return {each["_id"] for each in await self._documents(collection, ids, {"_id": 1}, ABSENT_AT_ONCE)}

    async def _find(
        self,
        collection: AsyncCollection[Document],
        query: Document,
        *,
        sort: Sequence[tuple[str, int]] | None = None,
        limit: int = 0,
        fields: Mapping[str, int] | None = None,
    ) -> Found:
        async with translated():
            cursor = collection.find(query, fields, limit=limit)
            if sort is not None:
                cursor = cursor.sort(sort)
            return [from_document(document) async for document in cursor]


def _reach_of(execution_id: str, now: datetime) -> int:
    """Return which of the recent reaches is the first that reaches back to an id."""
    for place, reach in enumerate(_RECENT_REACHES):
        if reach is None or execution_id >= earliest_execution_id(now - reach):
            return place
    return 0


def _cause_is_in(where: ExecutionFilter) -> Document:
    return {} if where.causes is None else {"cause": {"$in": sorted(cause.value for cause in where.causes)}}


def _status_is_in(statuses: frozenset[Status]) -> Document:
    return {"status": {"$in": sorted(status.value for status in statuses)}}
