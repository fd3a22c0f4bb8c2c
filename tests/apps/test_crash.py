"""A service that crashes ends, whatever in it does not."""

import subprocess
import sys
from pathlib import Path

import pytest

from apps.service import Worker
from apps.standalone.ports import free_port

PROGRAM = """
import asyncio, sys
from mode import Service
from apps import liveness
from apps.service import ServiceApp
from apps.settings import ServiceSettings

liveness.STOP_TIMEOUT = 0.1
started = asyncio.Event()

class NeverStarts(Service):
    async def on_start(self):
        started.set()
        await asyncio.Event().wait()

class NeverStops(Service):
    async def on_start(self):
        started.set()

    async def on_stop(self):
        await asyncio.Event().wait()

class Crashes(Service):
    @Service.task
    async def _fail(self):
        await started.wait()
        raise RuntimeError("nobody foresaw it")

class App(ServiceApp):
    def on_init_dependencies(self):
        return [kind(beacon=self.beacon) for kind in (Crashes, {kind})]

App("crashing", ServiceSettings(), web_port={port}).main()
"""


@pytest.mark.parametrize("kind", ["NeverStarts", "NeverStops"])
def test_a_crash_ends_the_process_though_a_service_never_does(tmp_path: Path, kind: str) -> None:
    port = free_port()
    program = PROGRAM.replace("{kind}", kind).replace("{port}", str(port))
    done = subprocess.run(
        [sys.executable, "-c", program, "worker", "--web-port", str(port)],
        env={"DATA_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 70, done.stderr
    said = done.stdout + done.stderr
    assert "nobody foresaw it" in said
    assert "did not stop in time; ending this process, to be started anew" in said


def test_when_everything_has_ended_the_process_does_too() -> None:
    """Mode would have it wait for a second more."""
    with pytest.raises(StopIteration):
        Worker._sentinel_task(Worker.__new__(Worker)).send(None)
