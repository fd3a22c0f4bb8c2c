"""Has ``wf`` run in a process that `tests.cli.wf_forks` begins: for a test, or as a program for a shell.

As a program it is what a page of commands starts in the place of ``wf``, so it needs next to nothing itself.
"""

import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence


def run(
    path: str,
    arguments: Sequence[str],
    *,
    cwd: str,
    env: Mapping[str, str],
    files: Sequence[int],
    patience: float | None = None,
) -> int:
    """Run ``wf`` to its end with these files as its standard input, output and errors; return how it ended."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(patience)
        connection.connect(path)
        socket.send_fds(connection, [b"\n"], files)
        connection.sendall(json.dumps({"arguments": arguments, "cwd": cwd, "env": dict(env)}).encode() + b"\n")
        with connection.makefile() as answer:
            return int(answer.readline())


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:], cwd=os.environ["PWD"], env=os.environ, files=(0, 1, 2)))
