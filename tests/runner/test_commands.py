"""``faust -A apps.runner.app busy`` in a process of its own, against a runner in this one."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from aiohttp.test_utils import TestServer

ITEM = {"workflowId": "hello", "status": "running", "executionId": "e-1", "since": "now", "attemptsUsed": 1}
ANSWERS = {"Bearer good": 200, "Bearer small": 403, "Bearer bad": 500}


async def _answer(request: web.Request) -> web.Response:
    status = ANSWERS.get(request.headers.get("Authorization", ""), 401)
    return web.json_response({"items": [ITEM]}, status=status)


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/busy", _answer)
    async with TestServer(app) as server:
        yield str(server.make_url("")).rstrip("/")


async def _busy(url: str, token: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faust", "-A", "apps.runner.app", "busy", "--url", url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "WF_TOKEN": token, "COLUMNS": "120"},
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_the_token_of_the_environment_is_sent(url: str) -> None:
    code, output = await _busy(url, "good")
    assert code == 0, output
    assert "hello" in output


@pytest.mark.parametrize(
    ("token", "said"),
    [
        ("", "answers 401 Unauthorized; give a token"),
        ("small", "answers 403 Forbidden; give a token"),
        ("bad", "answers 500 Internal Server Error; name a runner"),
    ],
)
async def test_a_refusal_is_told_from_a_runner_that_is_away(url: str, token: str, said: str) -> None:
    code, output = await _busy(url, token)
    assert code != 0
    assert f"{url} {said}" in " ".join(output.split())
    assert "no runner answers" not in output
