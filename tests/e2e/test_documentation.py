"""Every command block that is marked runnable runs: ``<!-- runnable -->`` before a ``console`` block."""

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"<!-- runnable -->\n```console\n(.*?)```", re.DOTALL)


def commands_of(page):
    lines = (line for block in _BLOCK.findall(page.read_text()) for line in block.splitlines())
    return [line[2:] for line in lines if line.startswith("$ ")]


PAGES = {
    page.name: commands
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    if (commands := commands_of(page))
}


@pytest.mark.parametrize("name", PAGES)
async def test_the_commands_of_a_page(stack, tmp_path, name):
    wf = tmp_path / "bin" / "wf"
    wf.parent.mkdir()
    wf.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m apps.cli.main "$@"\n')
    wf.chmod(0o755)
    variables = {
        "PATH": f"{wf.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "WF_URL": stack.api_url,
        "KAFKA_BOOTSTRAP": stack.kafka_bootstrap,
        "MONGODB_URL": stack.mongodb_url,
    }
    work = tmp_path / "work"
    work.mkdir()
    process = await asyncio.create_subprocess_shell(
        "set -ex\n" + "\n".join(PAGES[name]),
        cwd=work,
        env={**os.environ, **variables},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode == 0, output.decode()
