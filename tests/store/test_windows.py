"""Lists are read in windows that leave nothing out, and every query of a growing collection uses an index."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.execution import Status
from domain.identifiers import earliest_execution_id, execution_id
from store.interfaces import AuditFilter, ExecutionFilter, WorkflowFilter
from store.windows import backwards, forwards, windows_of_ids
from tests.store.test_executions import admission, at, finished
from tests.store.test_workflows import workflow

INSTANTS = st.integers(-10_000_000, 10_000_000).map(at)
IDS = st.one_of(st.none(), INSTANTS.map(earliest_execution_id), st.uuids().map(str), st.just("0"), st.just("zz"))


@given(low=IDS, high=IDS, newest=st.one_of(st.none(), INSTANTS))
def test_the_windows_cover_everything_once(low, high, newest):
    if low is not None and high is not None and low >= high:
        return
    windows = list(windows_of_ids(low, high, at(0), newest))
    assert windows[0][1] == high
    assert windows[-1][0] == low
    assert all(newer[0] == older[1] for newer, older in pairwise(windows))
    assert all(start is None or end is None or start < end for start, end in windows)
    assert len(windows) <= 13


def test_where_executions_are_known_to_be_the_windows_are_short_again():
    known = at(0) - timedelta(days=20)
    starts = [start for start, _ in windows_of_ids(None, None, at(0), known)]
    assert earliest_execution_id(known - timedelta(seconds=4)) in starts


@given(before=st.one_of(st.none(), INSTANTS), now=INSTANTS)
def test_windows_of_time_cover_everything_once(before, now):
    windows = list(backwards(before, now))
    assert windows[0][1] == before and windows[-1][0] is None
    assert all(newer[0] == older[1] for newer, older in pairwise(windows))


@given(start=st.one_of(st.none(), INSTANTS), until=st.one_of(st.none(), INSTANTS), now=INSTANTS)
def test_windows_ahead_cover_everything_once(start, until, now):
    if start is not None and until is not None and start >= until:
        return
    windows = list(forwards(start, until, now))
    assert windows[0][0] == start and windows[-1][1] == until
    assert all(sooner[1] == later[0] for sooner, later in pairwise(windows))
    assert all(low is None or high is None or low < high for low, high in windows)


class Watched:
    """Notes the filters of a collection's queries."""

    def __init__(self, collection, queries):
        self._collection = collection
        self._queries = queries

    def __getattr__(self, name):
        return getattr(self._collection, name)

    def find(self, query, *args, **kwargs):
        self._queries.append((self._collection, query))
        return self._collection.find(query, *args, **kwargs)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    "word",
    ["list", "list-next", "list-status", "list-workflow", "list-time", "latest", "holders", "get", "admit-locked"],
)
async def test_what_is_read_from_the_finished_is_read_by_index(real, word):
    executions = real.executions
    asked = [admission(f"w{n}", seconds=n) for n in range(10)]
    for each in asked:
        await executions.admit(each)
    await executions.project([finished(each, status=Status.OK) for each in asked[:5]])
    queries: list = []
    finished_collection, live = executions._finished, executions._live
    executions._finished, executions._live = Watched(finished_collection, queries), Watched(live, queries)
    everything = ExecutionFilter()
    calls = {
        "list": lambda: executions.list(everything, before=None, limit=3),
        "list-next": lambda: executions.list(everything, before=asked[3].execution_id, limit=3),
        "list-status": lambda: executions.list(ExecutionFilter(statuses=frozenset({Status.OK})), before=None, limit=3),
        "list-workflow": lambda: executions.list(ExecutionFilter(workflow_id="w1"), before=None, limit=3),
        "list-time": lambda: executions.list(ExecutionFilter(created_from=at(1), created_to=at(3)), before=None, limit=3),
        "latest": lambda: executions.latest("w3"),
        "holders": lambda: executions.holders(["w7", "w8"]),
        "get": lambda: executions.get(asked[0].execution_id),
        "admit-locked": lambda: executions.admit(admission("w9")),
    }
    await calls[word]()
    assert queries
    for collection, query in queries:
        # The open ones are no more than there are workflows: reading all of them is allowed, except to look a lock up.
        if collection is live and "lock_key" not in query:
            continue
        # SecantusDB explains a scan where it takes one clause of several from an index: ask it about that one.
        asked_about = {"lock_key": query["lock_key"]} if "lock_key" in query else query
        plan = str((await collection.find(asked_about).explain())["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in plan or "IDHACK" in plan or "EXPRESS" in plan, (query, plan)
        assert "COLLSCAN" not in plan, (query, plan)


@pytest.mark.asyncio(loop_scope="session")
@pytest.mark.parametrize(
    "word",
    [
        "workflows",
        "workflows-next",
        "workflows-prefix",
        "workflows-cron",
        "upcoming",
        "upcoming-next",
        "occurrences",
        "audit",
    ],
)
async def test_what_else_grows_is_listed_by_index(real, word):
    await asyncio.gather(*(real.workflows.create(workflow(f"w-{n}", trigger="manual")) for n in range(9)))
    queries: list = []
    heads, ledger, audit = real.workflows._heads, real.occurrences._collection, real.audit._collection
    real.workflows._heads, real.occurrences._collection = Watched(heads, queries), Watched(ledger, queries)
    real.audit._collection = Watched(audit, queries)
    everything, before = WorkflowFilter(), earliest_execution_id(at(0))
    await {
        "workflows": lambda: real.workflows.list(everything, after=None, limit=3),
        "workflows-next": lambda: real.workflows.list(everything, after="w-3", limit=3),
        "workflows-prefix": lambda: real.workflows.list(WorkflowFilter(prefix="w-"), after="w-3", limit=3),
        "workflows-cron": lambda: real.workflows.list(WorkflowFilter(trigger_type="cron"), after=None, limit=3),
        "upcoming": lambda: real.workflows.upcoming(after=None, until=None, limit=3),
        "upcoming-next": lambda: real.workflows.upcoming(after=(at(3), "w-3"), until=at(9), limit=3),
        "occurrences": lambda: real.occurrences.list("w-1", before=at(0), limit=3),
        "audit": lambda: real.audit.list(AuditFilter(), before=before, limit=3),
    }[word]()
    asked = [(collection, query) for collection, query in queries if query]
    assert asked
    for collection, query in asked[:-1]:  # the last window reaches as far back as there is anything
        # As above: of several clauses SecantusDB takes one from an index, and explains a scan.
        asked_about = {name: query[name] for name in ("at", "next_run") if name in query} or query
        plan = str((await collection.find(asked_about).explain())["queryPlanner"]["winningPlan"])
        assert "IXSCAN" in plan and "COLLSCAN" not in plan, (query, plan)


@pytest.mark.asyncio(loop_scope="session")
async def test_recent_executions_are_found_however_long_ago_they_were(real):
    """The look goes back in reaches, and begins where it found enough the last time."""
    now = datetime.now(timezone.utc)
    ages = [timedelta(minutes=1), timedelta(minutes=30), timedelta(hours=5), timedelta(days=3), timedelta(days=90)]
    ids = []

    async def end(age):
        asked = admission("a")
        ids.append(execution_id(now - age, asked.execution_id.encode()[-10:]))
        asked = replace(asked, execution_id=ids[-1], created_at=now - age)
        await real.executions.admit(asked)
        await real.executions.project([finished(asked, status=Status.OK)])

    async def recent(limit):
        return [each.execution_id for each in (await real.executions.recent({"a": ["a"]}, limit))["a"]]

    for age in reversed(ages):
        await end(age)
    for limit in (*range(1, 7), *reversed(range(1, 7))):
        assert await recent(limit) == ids[::-1][:limit]
    await end(timedelta(seconds=1))
    for limit in (6, 1, 2, 7, 3):
        assert await recent(limit) == ids[::-1][:limit]
