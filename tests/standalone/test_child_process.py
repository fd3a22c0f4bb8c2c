"""Supervision, asserted on a small program: launching, reading, relaunching, giving up, stopping, leaving nothing behind."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from apps.standalone import process
from apps.standalone.errors import ChildFailed
from apps.standalone.mongodb import MongoDB
from apps.standalone.ports import free_port
from apps.standalone.readiness import answers_ok
from apps.standalone.settings import HOST
from tests.standalone.leftovers import assert_gone
from tests.standalone.stub_child import Stub


async def test_its_output_reaches_the_sink_line_by_line() -> None:
    seen: list[tuple[str, str]] = []
    async with Stub(sink=lambda name, line: seen.append((name, line))) as child:
        await child.wait_ready()
        await child.wait_line("a complaint")
        assert ("stub", f"hello from {child.pid}") in seen
        assert ("stub", "a complaint") in seen
        assert [line for _, line in seen] == list(child.lines)


async def test_an_endless_line_arrives_in_pieces() -> None:
    async with Stub("talkative") as child:
        last = await child.wait_line("end")
        assert len(last) < 200_000
        assert sum(line.count("x") for line in child.lines) == 200_000


async def test_killed_it_is_launched_again() -> None:
    async with Stub() as child:
        await child.wait_ready()
        first = child.pid
        child.kill(signal.SIGKILL)
        await child.wait_relaunched(1)
        await child.wait_ready()
        assert child.pid != first
        assert any("died of SIGKILL" in line for line in child.lines)


async def test_unsupervised_it_stays_dead_until_started() -> None:
    async with Stub(supervised=False) as child:
        await child.wait_ready()
        child.kill(signal.SIGKILL)
        assert await child.wait_exit() == -signal.SIGKILL
        await asyncio.sleep(0.5)
        assert not child.running
        with pytest.raises(ChildFailed, match="died of SIGKILL"):
            await child.wait_ready(5)
        await child.start()
        await child.wait_ready()


async def test_it_is_given_up_when_it_never_becomes_ready() -> None:
    async with Stub("fails") as child:
        with pytest.raises(ChildFailed, match="exited with status 3 3 times before it was ready") as raised:
            await child.wait_ready()
        assert "a complaint" in raised.value.last_lines
        assert child.launches == 3
        assert child.failure is raised.value


async def test_alive_but_not_ready_is_told_within_the_time_given() -> None:
    async with Stub("unready") as child:
        with pytest.raises(ChildFailed, match="was not ready within 1 s"):
            await child.wait_ready(1)


async def test_one_that_worked_before_is_never_given_up() -> None:
    async with Stub() as child:
        await child.wait_ready()
        child.mode = "fails"
        child.kill(signal.SIGKILL)
        await child.wait_relaunched(3)
        assert child.failure is None
        child.mode = "good"
        await child.wait_ready()


async def test_one_that_ignores_the_request_is_killed_after_the_grace() -> None:
    child = Stub("stubborn", stop_timeout=0.5)
    async with child:
        await child.wait_ready()
        pid = child.pid
        assert pid
    assert child.returncode == -signal.SIGKILL
    assert_gone([pid])


async def test_a_halted_one_is_stopped_without_waiting_for_the_grace() -> None:
    async with Stub() as child:
        await child.wait_ready()
        child.kill(signal.SIGSTOP)
    assert child.returncode == -signal.SIGTERM


@pytest.mark.parametrize("death", ["stop", "crash"])
async def test_what_it_started_goes_with_it(death: str) -> None:
    async with Stub("parent", supervised=False) as child:
        line = await child.wait_line("child is")
        grandchild = psutil.Process(int(line.split()[-1]))
        if death == "crash":
            assert child.pid
            os.kill(child.pid, signal.SIGKILL)
            await child.wait_exit()
            await asyncio.to_thread(assert_gone, [grandchild])
    assert_gone([grandchild])


async def test_stopped_it_can_be_started_again() -> None:
    async with Stub() as child:
        await child.wait_ready()
        first = child.pid
        await child.stop()
        assert not child.running
        assert child.pid is None
        await child.start()
        await child.wait_ready()
        assert child.pid not in (None, first)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed process")
def test_it_dies_with_a_supervisor_that_was_killed() -> None:
    script = """
import asyncio
from tests.standalone.stub_child import Stub

async def main():
    async with Stub() as child:
        await child.wait_ready()
        print(child.pid, flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
    here = Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), str(here.parents[1])])}
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as supervisor:
        assert supervisor.stdout
        child = psutil.Process(int(supervisor.stdout.readline()))
        assert child.is_running()
        supervisor.kill()
        supervisor.wait(10)
    assert_gone([child])


class HardOfHearing(MongoDB):
    """A database that does not hear the first request to stop, as SecantusDB every fourth time or so."""

    def command(self) -> list[str]:
        return Stub("hard of hearing", port=self.port).command()

    async def is_ready(self) -> bool:
        return await answers_ok(HOST, self.port, "/")


async def test_a_database_that_does_not_hear_that_it_is_to_stop_is_told_again(tmp_path: Path) -> None:
    async with HardOfHearing(port=free_port(), data_dir=tmp_path) as database:
        await database.wait_ready()
    assert database.returncode == 0
    assert not any("killing it" in line for line in database.lines)


class Panicking(MongoDB):
    """A database whose storage gives up, once, while its process lives on: SecantusDB on a full disk."""

    def command(self) -> list[str]:
        return Stub("good" if self.launches else "panics", port=self.port).command()

    async def is_ready(self) -> bool:
        return self.launches > 1 and await answers_ok(HOST, self.port, "/")


async def test_a_database_whose_storage_has_given_up_is_started_again(tmp_path: Path) -> None:
    async with Panicking(port=free_port(), data_dir=tmp_path) as database:
        await database.wait_ready()
        assert database.launches == 2


class Crowded(Stub):
    """There is no space for what its second launch needs, once."""

    refused = 0

    async def prepare(self) -> None:
        if self.launches == 1 and not self.refused:
            self.refused = 1
            raise OSError(errno.ENOSPC, "No space left on device", "server.properties")


async def test_on_a_full_disk_it_says_so_and_is_tried_until_there_is_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "LONGEST_PAUSE", 0.1)
    async with Crowded() as child:
        await child.wait_ready()
        monkeypatch.setattr(process.shutil, "disk_usage", lambda _: SimpleNamespace(free=40_000))
        child.kill(signal.SIGKILL)
        await child.wait_relaunched(1)
        await child.wait_ready()
        ended, refused = (line for line in child.lines if "again" in line)
        assert "died of SIGKILL (the disk is full: 0.0 MB are left for" in ended
        assert refused == "cannot be started: [Errno 28] No space left on device: 'server.properties'; trying again in 0.1 s"
