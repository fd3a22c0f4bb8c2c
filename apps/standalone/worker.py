"""A Faust worker of one of the services, as a child."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.standalone.jars import project_path
from apps.standalone.process import ChildProcess
from apps.standalone.readiness import answers_ok
from apps.standalone.settings import HOST


class FaustWorker(ChildProcess):
    """One worker process of `apps.<service>`."""

    def __init__(
        self, name: str, *, service: str, port: int, data_dir: Path, environment: Mapping[str, str], **kwargs: Any
    ) -> None:
        self.service = service
        self.port = port
        own = {
            "PYTHONPATH": project_path(),
            # Two workers of one service must not share their state directory.
            "DATA_DIR": str(data_dir),
            "WEB_HOST": HOST,
            "WEB_PORT": str(port),
            # Its output is a pipe, but the reader at the other end is a person.
            "LOG_FORMAT": "text",
        }
        super().__init__(name, cwd=data_dir, environment={**own, **environment}, **kwargs)

    @property
    def url(self) -> str:
        """Where its web server listens."""
        return f"http://{HOST}:{self.port}"

    async def prepare(self) -> None:
        self.cwd.mkdir(parents=True, exist_ok=True)

    def command(self) -> list[str]:
        loop = ["-L", "uvloop"] if importlib.util.find_spec("uvloop") else []
        # Quiet leaves out Faust's banner only.
        web = ["--web-port", str(self.port), "--web-host", HOST, "--web-bind", HOST]
        return [
            sys.executable,
            # What the console scripts do. `python -m faust` imports aiokafka before the service can say what to leave out.
            "-c",
            f"from apps.{self.service}.app import main; main()",
            "--quiet",
            *loop,
            "worker",
            "-l",
            "info",
            *web,
        ]

    async def is_ready(self) -> bool:
        return await answers_ok(HOST, self.port, "/ready")
