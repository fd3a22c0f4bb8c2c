"""Runs an action in a process of its own, where it may be what kills runners.

When a runner dies, nobody can tell which of its actions it was, if any: all of them are started anew. One that kills its
runner each time would take whoever runs beside it along, again and again, until all of them were given up. So an execution
that has lost several runners in a row, without a result in between, is a suspect, and its action runs apart: should that
process die, the action is the culprit beyond doubt. It fails as ``crashed``, and the runner with everybody else in it lives
on. An innocent one is merely begun a second later.

The process is a fresh interpreter (:mod:`apps.runner.isolated`) that is handed the rendered action, with what its log must
not show, and answers with its outcome. It ends with the runner, whose end of their pipe is closed then, and is killed when
the run is cancelled.
"""

import asyncio
import os
import pickle
import signal
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, Protocol

from actions.running import Context, Failed, Outcome
from apps import parent_death
from domain.action import Action

CRASHED = "crashed"
START_TIMEOUT = 60.0
_LENGTH = struct.Struct(">Q")


class Apart(Protocol):
    """A process that is ready to run one action."""

    async def run(self, action: Action, context: Context) -> Outcome:
        """Run an action there, and return its outcome: a failure where the process has not lived to tell."""


class NotStarted(Exception):
    """The process did not get as far as running anything."""


class Isolation:
    """Starts such processes, ``limit`` of them at a time; further actions wait for a place."""

    def __init__(self, *, after: int, limit: int) -> None:
        """Suspect executions that have lost ``after`` runners in a row."""
        self.after = after
        self._places = asyncio.Semaphore(limit)

    @asynccontextmanager
    async def process(self) -> AsyncIterator[Apart]:
        """Start a process for one action, and see to it that it ends.

        Raises:
            NotStarted: it did not come up.
        """
        async with self._places:
            try:
                child = await asyncio.create_subprocess_exec(
                    *_command(),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
            except OSError as error:
                raise NotStarted(f"no process of its own could be started: {error}") from error
            try:
                try:
                    await asyncio.wait_for(receive(child.stdout), START_TIMEOUT)
                except (asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
                    raise NotStarted("the process of its own did not come up; the runner's log says why") from error
                yield _Child(child)
            finally:
                if child.returncode is None:
                    child.kill()
                await child.wait()


def _command() -> list[str]:
    command = [sys.executable, "-m", "apps.runner.isolated"]
    if sys.platform == "linux":
        # One that is stuck does not notice that the runner is gone.
        command = [sys.executable, "-I", "-S", str(parent_death.__file__), str(os.getpid()), *command]
    return command


class _Child:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    async def run(self, action: Action, context: Context) -> Outcome:
        """Run an action there."""
        facts = replace(context, resources=None)  # type: ignore[arg-type]
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(framed((action, facts, context.resources.secrets.redactor.values)))
            await self._process.stdin.drain()
            outcome: Outcome = await receive(self._process.stdout)
        except (asyncio.IncompleteReadError, ConnectionError):
            message = f"it ended the process that ran it, alone: {_how(await self._process.wait())}"
            return Failed(CRASHED, message, maybe_done=not action.is_idempotent)
        return outcome


def _how(code: int) -> str:
    if code >= 0:
        return f"exit status {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def framed(message: Any) -> bytes:
    """Return a message as it goes through the pipe."""
    raw = pickle.dumps(message)
    return _LENGTH.pack(len(raw)) + raw


async def receive(stream: asyncio.StreamReader | None) -> Any:
    """Return the next message of the other side, which is this very program.

    Raises:
        asyncio.IncompleteReadError: there will be none.
    """
    assert stream is not None
    (length,) = _LENGTH.unpack(await stream.readexactly(_LENGTH.size))
    return pickle.loads(await stream.readexactly(length))
