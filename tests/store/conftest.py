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
from tests.fakes.stores import FakeExecutions, FakeRunners, FakeWorkflows


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def mongodb(tmp_path_factory):
    if not shutil.which("secantusd-py", path=str(Path(sys.executable).parent)):
        pytest.skip("SecantusDB is not installed: pip install '.[standalone]'")
    server = MongoDB(port=free_port(), data_dir=tmp_path_factory.mktemp("mongodb"))
    await server.start()
    await server.wait_ready()
    yield server
    await server.stop()


@pytest.fixture(params=["fake", "mongodb"])
def server(request):
    """The database, asked for only where a test needs it; not from within a running loop, which could not start it."""
    return None if request.param == "fake" else request.getfixturevalue("mongodb")


@pytest_asyncio.fixture(loop_scope="session")
async def store(server):
    if server is None:
        yield SimpleNamespace(
            executions=FakeExecutions(),
            workflows=FakeWorkflows(),
            runners=FakeRunners(),
            tokens=FakeTokens(),
            audit=FakeAudit(),
            idempotency=FakeIdempotency(),
        )
        return
    store = MongoStore(server.url, f"test-{uuid.uuid4().hex[:8]}")
    await store.start()
    await store.ensure_indexes()
    yield store
    await store.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def real(mongodb):
    store = MongoStore(mongodb.url, f"test-{uuid.uuid4().hex[:8]}")
    await store.start()
    await store.ensure_indexes()
    yield store
    await store.stop()
