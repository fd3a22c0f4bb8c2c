"""Every command block that is marked runnable runs: ``<!-- runnable -->`` before a ``console`` block.

A block of another kind after ``<!-- file NAME -->`` is written to that file first. Headings of tables that a block shows are
those that the commands print. The README runs ``wf`` as it is installed; the other pages, which run it more than a hundred
times, in processes that have its libraries imported.
"""

import asyncio
import os
import re
import shlex
import signal
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path

import pytest

from apps.standalone.ports import free_port
from tests.cli.wf_process import COMMAND

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"<!-- (runnable|file (\S+)) -->\n```\w+\n(.*?)```", re.DOTALL)
_HEADING = re.compile(r"[A-Z]{3,}(?: +[A-Z]{3,})+")


def is_whole(command):
    heredoc = re.search(r"<<'?(\w+)'?", command)
    if heredoc is not None:
        return command.endswith(f"\n{heredoc[1]}")
    try:
        shlex.split(command)
    except ValueError:  # a quotation is not closed
        return False
    return not command.endswith("\\")


def read(block):
    """Return the commands of a block, and the other lines: what they print."""
    commands, shown = [], []
    for line in block.splitlines():
        if line.startswith("$ "):
            commands.append(line[2:])
        elif commands and not is_whole(commands[-1]):
            commands[-1] += f"\n{line}"
        else:
            shown.append(line)
    return commands, shown


class Page:
    def __init__(self, path):
        self.files, self.commands, self.headings = {}, [], []
        for kind, name, block in _BLOCK.findall(path.read_text()):
            if kind == "runnable":
                commands, shown = read(block)
                self.commands += commands
                self.headings += [line.split() for line in shown if _HEADING.fullmatch(line)]
            else:
                self.files[name] = block


FOUND = {str(path.relative_to(ROOT)): Page(path) for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]}
PAGES = {name: page for name, page in FOUND.items() if page.commands}


async def every_workflow(api):
    found, cursor = set(), ""
    while cursor is not None:
        _, page = await api.call("GET", f"/workflows?limit=500{cursor and f'&cursor={cursor}'}")
        found |= {item["workflowId"] for item in page["items"]}
        cursor = page["nextCursor"]
    return found


@pytest.fixture
def here(stack):
    """Return text with the addresses that the pages name replaced by those of the stack, and by a port that is free."""
    places = {
        r"(?:localhost|127\.0\.0\.1):8081": stack.api_url.removeprefix("http://"),
        r"localhost:9092": stack.kafka_bootstrap,
        r"\b8090\b": str(free_port()),
    }

    def replace(text):
        for named, real in places.items():
            text = re.sub(named, real, text)
        return text

    return replace


@pytest.mark.parametrize("name", PAGES)
async def test_the_commands_of_a_page(stack, processes, api, here, tmp_path, name):
    page, before, begun = PAGES[name], await every_workflow(api), datetime.now(timezone.utc)
    wf, work = tmp_path / "bin" / "wf", tmp_path / "work"
    for folder in (wf.parent, work):
        folder.mkdir()
    program = shlex.join(COMMAND) if name == "README.md" else processes.program
    wf.write_text(f'#!/bin/sh\nexec {program} "$@"\n')
    wf.chmod(0o755)
    for file, text in page.files.items():
        (work / file).write_text(here(text))
    variables = {
        "PATH": f"{wf.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "WF_URL": stack.api_url,
        "KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "MONGODB_URL": stack.mongodb_url,
    }
    with (tmp_path / "output").open("wb") as output_file:
        process = await asyncio.create_subprocess_shell(
            "set -ex\n" + "\n".join(map(here, page.commands)),
            cwd=work,
            env={**os.environ, **variables},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output_file,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code = await asyncio.wait_for(process.wait(), 180)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what a page left in the background
    output = (tmp_path / "output").read_text()
    assert code == 0, output
    printed = [line.split() for line in output.splitlines()]
    assert not [heading for heading in page.headings if heading not in printed], output
    _, ended = await api.call("GET", f"/executions?status=failed&limit=500&from={begun:%Y-%m-%dT%H:%M:%SZ}")
    assert not [found for found in ended["items"] if found["workflowId"] not in before], output
    for workflow_id in await every_workflow(api) - before:
        for execution in await api.executions(workflow_id):
            if execution["status"] in ("pending", "running"):
                await api.call("POST", f"/executions/{execution['executionId']}/cancel")
        await api.call("DELETE", f"/workflows/{workflow_id}")


async def test_the_metrics_that_pages_name_are_there(stack, api):
    exposed = ""
    for service in ("workflows", "scheduler", "runner"):
        async with api.session.get(f"{stack.workers[service].url}/metrics") as response:
            exposed += await response.text()
    pages = "".join(page.read_text() for page in (ROOT / "docs").glob("*.md"))
    named = set(re.findall(r"\b(?:runner|scheduler|workflows)_[a-z_]+(?=[{}\[\]`) ])", pages))
    families = set(re.findall(r"^# HELP (\S+)", exposed, re.MULTILINE))
    assert len(named) > 5
    assert not {name for name in named if name.removesuffix("_bucket") not in families}


async def test_the_batches_of_the_database_are_told(stack, api):
    worker = stack.workers["workflows"]
    await api.call("GET", "/workflows/nobody")
    async with api.session.get(f"{worker.url}/metrics") as response:
        assert re.search(r'^workflows_store_batch_count\{kind="get-workflow"\} [1-9]', await response.text(), re.MULTILINE)
