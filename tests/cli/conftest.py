"""Runs the real ``wf`` in a process of its own, against an API in this one."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.cli.wf_fake_api import FakeApi
from tests.cli.wf_process import Forks, Result, Run, environment


@pytest_asyncio.fixture
async def api() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    async with TestServer(fake.app()) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest_asyncio.fixture
async def another_server(answer: Callable[[], web.Response]) -> AsyncIterator[str]:
    """The address of a server that knows nothing of workflows, and gives one ``answer`` to everything."""

    async def same(request: web.Request) -> web.Response:
        return answer()

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", same)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


@pytest.fixture
def wf(request: pytest.FixtureRequest, processes: Forks, tmp_path: Path) -> Run:
    """Run ``wf`` in a directory of the test."""
    url = request.getfixturevalue("api").url if "api" in request.fixturenames else "http://127.0.0.1:1"

    async def run(*args: Any, stdin: str = "", columns: int | None = 80) -> Result:
        return await processes.run(*args, cwd=tmp_path, env=environment(url, columns), stdin=stdin)

    return run
