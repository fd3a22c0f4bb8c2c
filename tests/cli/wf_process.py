"""The real ``wf`` in a process of its own."""

import asyncio
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli import wf_forked

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
    return _result(process.returncode, out, err)


def _result(code: int, out: bytes, err: bytes) -> Result:
    assert b"Traceback" not in err, err.decode()
    return Result(code, out.decode(), err.decode())


@dataclass(frozen=True)
class Forks:
    """Runs ``wf`` in processes that have its libraries imported already: a third of the time."""

    path: Path

    @property
    def program(self) -> str:
        """What a shell calls to have ``wf`` run so."""
        return shlex.join((sys.executable, "-IS", wf_forked.__file__, str(self.path)))

    async def run(self, *args: object, cwd: Path, env: Mapping[str, str], stdin: str = "", patience: float = 60) -> Result:
        """Run ``wf`` to its end."""
        with ExitStack() as opened:
            given, out, err = files = [opened.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            given.write(stdin.encode())
            given.seek(0)
            code = await asyncio.to_thread(
                wf_forked.run,
                str(self.path),
                [*map(str, args)],
                cwd=str(cwd),
                env=env,
                files=[file.fileno() for file in files],
                patience=patience,
            )
            out.seek(0)
            err.seek(0)
            return _result(code, out.read(), err.read())


@contextmanager
def forks() -> Iterator[Forks]:
    """Keep a process at hand that has the libraries of ``wf`` imported."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs")
        env = {**environment(""), "PYTHONUNBUFFERED": "1"}
        command = [sys.executable, "-m", "tests.cli.wf_forks", str(path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT, env=env) as process:
            assert process.stdin is not None and process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            yield Forks(path)
            process.stdin.close()
