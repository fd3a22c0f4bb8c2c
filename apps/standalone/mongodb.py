"""A MongoDB-compatible server as a child: SecantusDB, run as a program and never imported (its licence is GPL-2.0)."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import signal
import sys
import sysconfig
from pathlib import Path
from typing import Any

from apps.standalone.errors import ExtraMissing
from apps.standalone.process import ChildProcess
from apps.standalone.readiness import accepts_connections, mongodb_answers
from apps.standalone.settings import HOST

PROGRAM = "secantusd-py"
STOP_TIMEOUT = 8.0
CONNECT_AGAIN_AFTER = 0.2
#: What its storage says when it can do nothing any more: after a write that failed, for lack of space say.
PANIC = "WT_PANIC: WiredTiger library panic"


def executable() -> Path:
    """The server's program, which pip puts beside this Python."""
    # Not resolved: in a virtual environment the interpreter is a link, and its target's folder holds no scripts.
    beside = [str(Path(sys.executable).parent), sysconfig.get_path("scripts")]
    for folder in beside:
        found = shutil.which(PROGRAM, path=folder)
        if found:
            return Path(found)
    if sys.version_info >= (3, 14):
        raise ExtraMissing(
            "SecantusDB, the MongoDB-compatible server of the standalone stack, has no wheel for Python 3.14 yet: "
            "use Python 3.10 to 3.13, or docker-compose.yaml"
        )
    raise ExtraMissing(f"{PROGRAM}, the MongoDB-compatible server, is missing: pip install '.[standalone]'")


class MongoDB(ChildProcess):
    """The database server."""

    def __init__(self, *, port: int, data_dir: Path, **kwargs: Any) -> None:
        self.port = port
        super().__init__("mongodb", cwd=data_dir, **kwargs)
        # Told to stop while it is still opening its files, it hangs for good. Killing it costs nothing acknowledged.
        self.stop_timeout = min(self.stop_timeout, STOP_TIMEOUT)

    @property
    def url(self) -> str:
        """What clients are told."""
        return f"mongodb://{HOST}:{self.port}"

    async def prepare(self) -> None:
        self.cwd.mkdir(parents=True, exist_ok=True)
        # Naming a file of our own keeps a secantusd.toml of the user's from changing this server.
        (self.cwd / "secantusd.toml").touch()

    def command(self) -> list[str]:
        return [
            str(executable()),
            "--config",
            str(self.cwd / "secantusd.toml"),
            # Without it the server keeps an oplog for change streams nobody reads, and is a third slower.
            "--standalone",
            # Without it a power loss or kill -9 takes acknowledged writes with it.
            "--sync-on-commit",
            "--host",
            HOST,
            "--port",
            str(self.port),
            "--storage-path",
            str(self.cwd / "data"),
            "--log-level",
            "WARNING",
        ]

    def hear(self, line: str) -> None:
        # A MongoDB ends itself here. This one lives on, answers pings, and fails all else for good, with 25 lines each.
        if PANIC in line:
            self.kill()

    async def ease_stop(self) -> None:
        # On SIGTERM it closes its listening socket, which does not wake the thread that waits in accept(), and gives up
        # on that thread after 2 s. A connection wakes it; the first may come before the signal is heard.
        for connections in itertools.count(1):
            if not await accepts_connections(HOST, self.port):
                return
            if connections > 2:
                # Every fourth time or so it has not heard the signal, and never will.
                self.kill(signal.SIGTERM)
            await asyncio.sleep(CONNECT_AGAIN_AFTER)

    async def is_ready(self) -> bool:
        return await mongodb_answers(HOST, self.port)
