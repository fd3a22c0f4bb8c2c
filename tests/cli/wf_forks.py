"""Begins each run of ``wf`` in a process that has its libraries imported already, and nothing of this project.

Each connection is one run: three open files come along, a line of JSON says what is to be run, and the exit code goes back.
It ends with its standard input, that is with the tests. That a process of its own finds everything is seen where ``wf`` is
run without this (`run_wf`, and the commands of the README).
"""

import asyncio  # noqa: F401
import http.client  # noqa: F401
import importlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

LIBRARIES = ("typer", "rich.live", "rich.progress", "rich.table", "rich.text", "yaml", "aiohttp", "jinja2", "pydantic",
             "pydantic_settings", "structlog", "yarl")  # fmt: skip


def main(path: str) -> None:
    """Serve runs at a socket."""
    for library in LIBRARIES:
        importlib.import_module(library)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while sys.stdin not in select.select([listener, sys.stdin], [], [])[0]:
            connection, _ = listener.accept()
            with connection:
                if os.fork() == 0:
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    listener.close()
                    _attend(connection)


def _attend(connection: socket.socket) -> None:
    """Have one run run, tell how it ended, and end."""
    _, files, _, _ = socket.recv_fds(connection, 1, 3)
    with connection, connection.makefile("rw") as lines:
        run = json.loads(lines.readline())
        pid = os.fork()
        if pid == 0:
            _become(**run, files=files)
        for file in files:
            os.close(file)
        lines.write(f"{os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}\n")
    os._exit(0)


def _become(arguments: list[str], cwd: str, env: dict[str, str], files: list[int]) -> None:
    """Be what ``python -m apps.cli.main`` would be."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, encoding="utf-8") for number, mode in enumerate("rww"))
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    sys.argv[1:] = arguments
    code: Any = 1
    try:
        from apps.cli.main import main as wf

        wf()
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code or 0)


if __name__ == "__main__":
    main(sys.argv[1])
