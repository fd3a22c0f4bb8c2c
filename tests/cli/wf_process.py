"""The real ``wf`` in a process of its own."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "apps.cli.main")


@dataclass(frozen=True)
class Result:
    """What a run of ``wf`` left behind."""

    code: int
    out: str
    err: str

    @property
    def widest(self) -> int:
        return max(len(line) for line in (self.out + self.err).splitlines())


Run = Callable[..., Awaitable[Result]]


def environment(url: str, columns: int | None = 80) -> dict[str, str]:
    """Return the environment of a run."""
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    more = {} if columns is None else {"COLUMNS": str(columns)}
    return {**kept, **more, "WF_URL": url, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}


async def run_wf(*args: object, cwd: Path, env: Mapping[str, str], stdin: str = "", patience: float = 60) -> Result:
    """Run ``wf`` to its end."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *map(str, args),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=cwd,
        env=dict(env),
    )
    out, err = await asyncio.wait_for(process.communicate(stdin.encode()), patience)
    assert process.returncode is not None
    assert b"Traceback" not in err, err.decode()
    return Result(process.returncode, out.decode(), err.decode())
