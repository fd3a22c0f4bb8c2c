"""Every contract test runs on the fakes and on a real server."""

import shutil
import sys
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytest_asyncio

from apps.standalone.mongodb import MongoDB
from apps.standalone.ports import free_port
from store.client import MongoStore
from tests.fakes.access import FakeAudit, FakeIdempotency, FakeTokens
from tests.fakes.stores import (
    FakeBackfills,
    FakeExecutions,
    FakeOccurrences,
    FakeRunners,
    FakeSignals,
    FakeVariables,
    FakeWorkflows,
)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongodb(tmp_path_factory):
    if not shutil.which("secantusd-py", path=str(Path(sys.executable).parent)):
        pytest.skip("SecantusDB is not installed: pip install '.[standalone]'")
    server = MongoDB(port=free_port(), data_dir=tmp_path_factory.mktemp("mongodb"))
    await server.start()
    await server.wait_ready()
    yield server
    await server.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def real(mongodb):
    store = MongoStore(mongodb.url, f"test-{uuid.uuid4().hex[:8]}")
    await store.start()
    await store.ensure_indexes()
    yield store
    await store.stop()


@pytest.fixture
def fake():
    return SimpleNamespace(
        executions=FakeExecutions(),
        workflows=FakeWorkflows(),
        runners=FakeRunners(),
        occurrences=FakeOccurrences(),
        backfills=FakeBackfills(),
        signals=FakeSignals(),
        variables=FakeVariables(),
        tokens=FakeTokens(),
        audit=FakeAudit(),
        idempotency=FakeIdempotency(),
    )


# Not async: an async fixture cannot ask for another one that has yet to be started.
@pytest.fixture(params=["fake", pytest.param("real", id="mongodb")])
def store(request):
    return request.getfixturevalue(request.param)
