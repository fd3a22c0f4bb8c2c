"""The API on a real HTTP server, with an in-memory store, topics that keep what is sent, and a clock set by hand."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp.test_utils import TestServer

from apps.standalone.ports import free_port
from apps.workflows.app import WorkflowsApp, create_app
from apps.workflows.publishing import Publisher
from apps.workflows.settings import WorkflowsSettings
from tests.workflows.client import Client
from tests.workflows.clock import Clock
from tests.workflows.fake_topic import FakeTopic
from tests.workflows.memory import MemoryStore


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def requests() -> FakeTopic:
    """Take the place of workflow.execution."""
    return FakeTopic()


@pytest.fixture
def changes() -> FakeTopic:
    """Take the place of workflow.schedule."""
    return FakeTopic()


@pytest.fixture
def ends() -> FakeTopic:
    """Take the place of workflow.action-result."""
    return FakeTopic()


@pytest.fixture
def app(
    tmp_path: Any, store: MemoryStore, clock: Clock, requests: FakeTopic, changes: FakeTopic, ends: FakeTopic
) -> WorkflowsApp:
    # A Kafka that is not there, also beside a stack that runs on the usual ports.
    settings = WorkflowsSettings(data_dir=tmp_path, workflows_body_limit=20_000, kafka_bootstrap=f"127.0.0.1:{free_port()}")
    app = create_app(settings, store=store)  # type: ignore[arg-type]
    app.clock = clock
    app.request_execution = Publisher(requests, 0.05, waits=False)  # type: ignore[arg-type]
    app.announce_change = Publisher(changes, 0.05, waits=False)  # type: ignore[arg-type]
    app.announce_end = Publisher(ends, 0.05)  # type: ignore[arg-type]
    app.web.init_server()
    return app


@pytest.fixture
async def api(app: WorkflowsApp) -> AsyncIterator[Client]:
    async with TestServer(app.web.web_app) as server, aiohttp.ClientSession() as session:
        yield Client(session, server, app)
