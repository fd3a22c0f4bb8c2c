"""Runs the real ``wf`` in a process of its own, against an API in this one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestServer

from tests.cli.wf_fake_api import FakeApi
from tests.cli.wf_process import COMMAND, Result, Run, environment


@pytest_asyncio.fixture
async def api() -> AsyncIterator[FakeApi]:
    fake = FakeApi()
    async with TestServer(fake.app()) as server:
        fake.url = str(server.make_url("")).rstrip("/")
        yield fake


@pytest.fixture
def wf(request: pytest.FixtureRequest, tmp_path: Path) -> Run:
    """Run ``wf`` in a directory of the test."""
    url = request.getfixturevalue("api").url if "api" in request.fixturenames else "http://127.0.0.1:1"

    async def run(*args: Any, stdin: str = "", columns: int | None = 80) -> Result:
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *map(str, args),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env=environment(url, columns),
        )
        out, err = await asyncio.wait_for(process.communicate(stdin.encode()), 20)
        assert process.returncode is not None
        assert b"Traceback" not in err, err.decode()
        return Result(process.returncode, out.decode(), err.decode())

    return run
