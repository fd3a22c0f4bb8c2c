"""Lists are read in windows of ids that leave nothing out, and every query of a growing collection uses an index."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.execution import Status
from domain.identifiers import earliest_execution_id
from store.executions import _windows
from store.interfaces import ExecutionFilter
from tests.store.test_executions import admission, at, finished

INSTANTS = st.integers(-10_000_000, 10_000_000).map(at)
IDS = st.one_of(st.none(), INSTANTS.map(earliest_execution_id), st.uuids().map(str), st.just("0"), st.just("zz"))


@given(low=IDS, high=IDS, newest=st.one_of(st.none(), INSTANTS))
def test_the_windows_cover_everything_once(low, high, newest):
    if low is not None and high is not None and low >= high:
        return
    windows = list(_windows(low, high, at(0), newest))
    assert windows[0][1] == high
    assert windows[-1][0] == low
    assert all(newer[0] == older[1] for newer, older in pairwise(windows))
    assert all(start is None or end is None or start < end for start, end in windows)
    assert len(windows) <= 13


def test_where_executions_are_known_to_be_the_windows_are_short_again():
    known = at(0) - timedelta(days=20)
    starts = [start for start, _ in _windows(None, None, at(0), known)]
    assert earliest_execution_id(known - timedelta(seconds=4)) in starts


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
