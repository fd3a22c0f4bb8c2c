"""A small program to supervise."""

from __future__ import annotations

import sys
from pathlib import Path

from apps.standalone.ports import free_port
from apps.standalone.process import ChildProcess
from apps.standalone.readiness import answers_ok
from apps.standalone.settings import HOST

#: Answers 200, and is told on its command line how to misbehave.
PROGRAM = """
import http.server, os, signal, subprocess, sys
port, mode = int(sys.argv[1]), sys.argv[2]
print("hello from", os.getpid())
print("a complaint", file=sys.stderr)
if mode == "fails":
    sys.exit(3)
if mode == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
if mode == "hard of hearing":
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)))
if mode == "parent":
    print("child is", subprocess.Popen(["sleep", "600"]).pid)
if mode == "panics":
    print("WT_SESSION.checkpoint: the process must exit and restart: WT_PANIC: WiredTiger library panic")
if mode == "talkative":
    print("x" * 200_000 + "end")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if mode == "unready" else 200)
        self.end_headers()

    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


class Stub(ChildProcess):
    """Supervises the small program."""

    def __init__(self, mode: str = "good", port: int | None = None, **kwargs: object) -> None:
        self.mode = mode
        self.port = port or free_port()
        super().__init__("stub", cwd=Path.cwd(), **kwargs)  # type: ignore[arg-type]

    def command(self) -> list[str]:
        return [sys.executable, "-c", PROGRAM, str(self.port), self.mode]

    async def is_ready(self) -> bool:
        return await answers_ok(HOST, self.port, "/")
