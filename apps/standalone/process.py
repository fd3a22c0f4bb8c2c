"""A supervised child process.

The life of a child: `start` prepares what it needs and launches it in a session and process group of its own; its
output is read line by line, kept (the last ones) and handed to a sink. `wait_ready` asks the child itself until it
answers. When it dies without having been told to, it is launched again after a pause that doubles with each failure in
a row, as long as `supervised` is true; a child that dies `MAX_FAILED_STARTS` times in a row without ever having been
ready is given up, and `failure` says why. Where the disk is full, that is said with it, and one that cannot even be launched
again for lack of space is tried until there is some. `stop` sends SIGTERM to the group, after a grace SIGKILL, and whatever
of the group is left after the child itself is gone is killed as well. A child that was stopped can be started again.

Should the supervisor itself be killed with -9, Linux kills the children (see `parent_death`).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import signal
import sys
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mode import Service
from typing_extensions import Self

from apps import parent_death
from apps.standalone.errors import ChildFailed

#: Takes the name of a child and one line of its output.
Sink = Callable[[str, str], None]

#: Windows has no SIGKILL; there, SIGTERM cannot be refused.
KILL: int = getattr(signal, "SIGKILL", signal.SIGTERM)
MAX_FAILED_STARTS = 3
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
#: A child that has lived this long counts as healthy even when nobody asked whether it was ready.
HEALTHY_AFTER = 30.0
POLL_INTERVAL = 0.05
DRAIN_TIMEOUT = 1.0
#: Bytes. A disk with less is as good as full: what a program could not write whole, it takes away again where it can.
FULL = 16_000_000
NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
KEPT_LINES = 2000
SHOWN_LINES = 25
#: A line longer than this is cut in pieces: a child that prints no newline must not fill the memory.
LONGEST_LINE = 64 * 1024


def discard(name: str, line: str) -> None:
    """The sink of those who only read `ChildProcess.lines`."""


class _Launch(asyncio.SubprocessProtocol):
    """One launch of a program: its lines, and the moment it ends.

    asyncio's own `Process.wait` returns only after the pipe is closed, too, and any descendant can keep that open.
    """

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self.exited = asyncio.Event()
        self.drained = asyncio.Event()
        self._on_line = on_line
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.SubprocessTransport)
        self.transport = transport
        self.pid = transport.get_pid()

    @property
    def returncode(self) -> int | None:
        return self.transport.get_returncode()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        *complete, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            complete, self._rest = [*complete, self._rest], b""
        for line in complete:
            self._on_line(line.decode(errors="replace").rstrip())

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        if self._rest:
            self._on_line(self._rest.decode(errors="replace").rstrip())
            self._rest = b""
        self.drained.set()

    def process_exited(self) -> None:
        self.exited.set()

    async def finish(self) -> None:
        """Take in what an ended program has left in the pipe, and close it."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.drained.wait(), DRAIN_TIMEOUT)
        self.transport.close()

    def signal_group(self, signum: int) -> None:
        """Send a signal to the program and all that it started."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if sys.platform == "win32":
                self.transport.send_signal(signum)
            else:
                os.killpg(self.pid, signum)


class ChildProcess(Service):
    """One program, kept running."""

    abstract = True

    def __init__(
        self,
        name: str,
        *,
        cwd: Path,
        environment: Mapping[str, str] | None = None,
        sink: Sink = discard,
        supervised: bool = True,
        stop_timeout: float = 15.0,
        **kwargs: Any,
    ) -> None:
        self.name = name
        self.cwd = cwd
        self.environment = dict(environment or {})
        self.sink = sink
        #: Whether it is launched again when it dies. May be changed at any time.
        self.supervised = supervised
        self.stop_timeout = stop_timeout
        #: The last lines it printed, over all its launches.
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        #: How often it was launched since this object exists.
        self.launches = 0
        #: Why it was given up, if it was.
        self.failure: ChildFailed | None = None
        self._launched: _Launch | None = None
        self._launched_at = 0.0
        self._failed_starts = 0
        #: Since it was last launched, and since it was last started by somebody.
        self._was_ready = self._ever_ready = False
        self._new_line = asyncio.Event()
        self._changed = asyncio.Event()
        super().__init__(**kwargs)

    # What a particular program adds.

    async def prepare(self) -> None:
        """Bring about what a launch needs. Called before each."""

    def command(self) -> list[str]:
        """The program and its arguments."""
        raise NotImplementedError

    async def is_ready(self) -> bool:
        """Ask the program whether it can do its work now; must take no longer than about 2 s."""
        raise NotImplementedError

    def hear(self, line: str) -> None:
        """Take note of a line that the program printed."""

    async def ease_stop(self) -> None:
        """Help the program to notice that it was asked to stop; cancelled when it has ended."""

    # What others see and do.

    @property
    def pid(self) -> int | None:
        """The process id, which is also the group's; None while it does not run."""
        return self._launched.pid if self.running and self._launched else None

    @property
    def running(self) -> bool:
        """Whether the process exists (stopped by a signal counts as existing)."""
        return self._launched is not None and self._launched.returncode is None

    @property
    def returncode(self) -> int | None:
        """How the last launch ended; None while it runs."""
        return self._launched.returncode if self._launched else None

    async def start(self) -> None:
        """Launch it, unless it runs already."""
        if self.running:
            return
        if self._started.is_set():
            await self.stop()
            self.service_reset()
        await super().start()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def on_start(self) -> None:
        self.failure = None
        self._failed_starts = 0
        self._ever_ready = False
        await self._launch()
        self.add_future(self._supervise())

    async def on_stop(self) -> None:
        await self._terminate()

    async def wait_ready(self, timeout: float = 60.0) -> None:
        """Return once it is ready; raise `ChildFailed` if it is given up, dies unsupervised or is not ready in time."""
        deadline = time.monotonic() + timeout
        while True:
            if self.failure is not None:
                raise self.failure
            if not self.running and not self.supervised:
                raise self._failed(f"has {self._how_it_ended()}")
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                raise self._failed(f"was not ready within {timeout:g} s")
            pid = self.pid
            if pid is not None:
                try:
                    ready = await asyncio.wait_for(self.is_ready(), min(remaining, 5.0))
                except (OSError, asyncio.TimeoutError):
                    ready = False
                # The answer counts only for the process that was asked.
                if ready and pid == self.pid:
                    self._was_ready = self._ever_ready = True
                    self._failed_starts = 0
                    return
            await self._pause(min(POLL_INTERVAL, remaining))

    async def wait_exit(self, timeout: float = 30.0) -> int | None:
        """Return the exit status of the present launch once it has ended; raises `asyncio.TimeoutError`."""
        launched = self._launched
        if launched is None:
            return None
        await asyncio.wait_for(launched.exited.wait(), timeout)
        return launched.returncode

    async def wait_relaunched(self, launches: int, timeout: float = 30.0) -> None:
        """Return once `launches` is higher than the number given; raises `asyncio.TimeoutError`."""

        async def relaunched() -> None:
            while self.launches <= launches:
                self._changed.clear()
                await self._changed.wait()

        await asyncio.wait_for(relaunched(), timeout)

    async def wait_line(self, *texts: str, timeout: float = 30.0) -> str:
        """Return the first kept or coming line that contains all the texts; raises `asyncio.TimeoutError`."""

        async def found() -> str:
            while True:
                for line in self.lines:
                    if all(text in line for text in texts):
                        return line
                self._new_line.clear()
                await self._new_line.wait()

        return await asyncio.wait_for(found(), timeout)

    def kill(self, signum: int = KILL) -> None:
        """Send a signal to the whole group: SIGKILL, SIGSTOP, SIGCONT… A death it causes is treated like any other."""
        if self.running and self._launched is not None:
            self._launched.signal_group(signum)

    # How it is done.

    async def _launch(self) -> None:
        await self.prepare()
        command = self.command()
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", str(parent_death.__file__), str(os.getpid()), *command]
        # A session of its own: Ctrl-C reaches the supervisor only, which then stops the children in order.
        _, self._launched = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Launch(self._hear),
            *command,
            cwd=self.cwd,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **self.environment},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self._launched_at = time.monotonic()
        self.launches += 1
        self._was_ready = False
        self._changed.set()

    async def _supervise(self) -> None:
        while self._launched is not None:
            launched = self._launched
            await launched.exited.wait()
            # What it left of its group would hold its port and its files against the next launch.
            launched.signal_group(KILL)
            await launched.finish()
            self._changed.set()
            if self.should_stop or not self.supervised:
                return
            healthy = self._was_ready or time.monotonic() - self._launched_at > HEALTHY_AFTER
            self._failed_starts = 1 if healthy else self._failed_starts + 1
            # One that has worked before may be failing because another is just being started again: it gets its time.
            if not self._ever_ready and self._failed_starts >= MAX_FAILED_STARTS:
                self.failure = self._failed(f"has {self._how_it_ended()} {self._failed_starts} times before it was ready")
                return
            pause = min(FIRST_PAUSE * 2 ** (self._failed_starts - 1), LONGEST_PAUSE)
            self._say(f"{self._how_it_ended()}{self._full_disk()}; starting it again in {pause:g} s")
            await self.sleep(pause)
            try:
                await self._launch_again()
            except Exception as exc:
                self.failure = self._failed(f"cannot be started again: {exc}")
                return

    async def _launch_again(self) -> None:
        """Launch it, as soon as there is the space for what that needs."""
        while not self.should_stop and self.supervised:
            try:
                await self._launch()
                return
            except OSError as exc:
                if exc.errno not in NO_SPACE:
                    raise
                self._say(f"cannot be started: {exc}; trying again in {LONGEST_PAUSE:g} s")
                await self.sleep(LONGEST_PAUSE)

    async def _terminate(self) -> None:
        launched = self._launched
        if launched is None:
            return
        if launched.returncode is None:
            launched.signal_group(signal.SIGTERM)
            if sys.platform != "win32":
                # One that was halted by SIGSTOP would never see the request.
                launched.signal_group(signal.SIGCONT)
            easing = asyncio.ensure_future(self.ease_stop())
            try:
                await asyncio.wait_for(launched.exited.wait(), self.stop_timeout)
            except asyncio.TimeoutError:
                self._say(f"did not stop within {self.stop_timeout:g} s; killing it")
                launched.signal_group(KILL)
                await launched.exited.wait()
            finally:
                easing.cancel()
        # Let `_supervise` see the end and read the last lines before the service cancels it.
        if self._futures:
            await asyncio.wait(set(self._futures), timeout=2.0)

    async def _pause(self, seconds: float) -> None:
        self._changed.clear()
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    def _say(self, line: str) -> None:
        self.lines.append(line)
        self._new_line.set()
        self.sink(self.name, line)

    def _hear(self, line: str) -> None:
        self._say(line)
        self.hear(line)

    def _failed(self, reason: str) -> ChildFailed:
        return ChildFailed(self.name, f"{reason}{self._full_disk()}", [line for line in self.lines if line][-SHOWN_LINES:])

    def _how_it_ended(self) -> str:
        code = self.returncode
        if code is None:
            return "not started"
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"died of {signal.Signals(-code).name}"
        return f"exited with status {code}"

    def _full_disk(self) -> str:
        """Say that the disk is full, where it is: what the program itself printed of it is mostly a riddle."""
        try:
            free = shutil.disk_usage(self.cwd).free
        except OSError:
            return ""
        return "" if free >= FULL else f" (the disk is full: {free / 1e6:.1f} MB are left for {self.cwd})"

    def _repr_info(self) -> str:
        return f"{self.name} pid={self.pid}"


async def gather_all(*awaitables: Awaitable[object]) -> None:
    """Await all of them; when one fails, cancel the others, wait for their end and raise the first failure."""
    tasks = [asyncio.ensure_future(awaitable) for awaitable in awaitables]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
