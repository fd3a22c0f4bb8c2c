"""A server that is away is one clear error, in bounded time."""

import asyncio
from datetime import timedelta

import pytest

from apps.standalone.ports import free_port
from store.client import MongoStore
from store.interfaces import StoreUnavailable, WorkflowFilter
from store.names import Names
from tests.store.test_executions import admission, at, finished
from tests.store.test_signals import signal

DAY = timedelta(days=1)


@pytest.mark.parametrize("word", ["ping", "admit", "project", "get", "workflows", "runners", "indexes", "retention"])
async def test_every_operation_says_so(word):
    store = MongoStore(f"mongodb://127.0.0.1:{free_port()}", "nowhere", timeout=0.2)
    asked = admission()
    calls = {
        "ping": lambda: store.ping(),
        "admit": lambda: store.executions.admit(asked),
        "project": lambda: store.executions.project([finished(asked)]),
        "get": lambda: store.executions.get("x"),
        "workflows": lambda: store.workflows.get("x"),
        "runners": lambda: store.runners.all(),
        "indexes": lambda: store.ensure_indexes(),
        "retention": lambda: anext(store.retentions(executions=DAY, ledger=DAY, audit=DAY)[0].sweep(at(0))),
    }
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await calls[word]()
    await store.stop()


async def test_so_does_every_operation_of_signals():
    store = MongoStore(f"mongodb://127.0.0.1:{free_port()}", "nowhere", timeout=0.2)
    signals, sent = store.signals, signal()
    answers = await asyncio.gather(
        signals.put(sent, 1),
        signals.close(sent.execution_id, sent.name, 1, at(1)),
        signals.get(sent.execution_id, sent.name),
        signals.unheeded(at(1), frozenset({3}), 1),
        signals.look_again(sent.execution_id, sent.name, at(1)),
        signals.heed(sent.execution_id, sent.name, at(1)),
        return_exceptions=True,
    )
    assert [type(each) for each in answers] == [StoreUnavailable] * len(answers)
    await store.stop()


async def test_a_search_says_so_where_the_ids_are_known_from_before():
    store = MongoStore(f"mongodb://127.0.0.1:{free_port()}", "nowhere", timeout=0.2)

    async def known():
        return ["nightly-report"]

    store.workflows._names = Names(known)
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await store.workflows.list(WorkflowFilter(contains="report"), after=None, limit=5)
    await store.stop()
