"""`wf up` of the dependencies alone as a process: what it prints, how it ends, and that nothing stays behind."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from typer.testing import CliRunner

from apps.cli.up import app
from apps.standalone.ports import free_ports, is_free
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Dependencies, Stack, on_free_ports
from tests.standalone.leftovers import assert_gone, descendants

UP = [sys.executable, "-c", "import typer; from apps.cli.up import up; typer.run(up)", "--only", "kafka,mongodb"]
START_TIMEOUT = 300.0  # with the fetch of the jars, should this be the first test that needs them


class Up:
    """One `wf up`, its output in a file."""

    def __init__(self, data_dir: Path, output: Path) -> None:
        self.data_dir = data_dir
        self.ports = free_ports(2)
        self.output = output
        kafka_port, mongodb_port = map(str, self.ports)
        options = ["--data-dir", str(data_dir), "--kafka-port", kafka_port, "--mongodb-port", mongodb_port]
        with output.open("w") as file:
            self.process = subprocess.Popen([*UP, *options], stdout=file, stderr=subprocess.STDOUT)

    @property
    def text(self) -> str:
        return self.output.read_text()

    def wait_printed(self, text: str, timeout: float = START_TIMEOUT) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.text:
            assert self.process.poll() is None, self.text
            assert time.monotonic() < deadline, self.text
            time.sleep(0.05)


@contextmanager
def _up(tmp_path: Path) -> Iterator[Up]:
    up = Up(tmp_path / "data", tmp_path / "output")
    try:
        yield up
    finally:
        up.process.kill()
        up.process.wait(10)


def test_sigterm_stops_everything(tmp_path: Path) -> None:
    with _up(tmp_path) as up:
        up.wait_printed("ready in")
        assert f"127.0.0.1:{up.ports[0]}" in up.text
        assert f"mongodb://127.0.0.1:{up.ports[1]}" in up.text
        started = descendants(up.process.pid)
        assert len(started) >= 2
        up.process.terminate()
        assert up.process.wait(20) == 0
        assert up.text.rstrip().endswith("stopped")
        assert_gone(started, within=0)
        assert all(is_free(port) for port in up.ports)


def test_ctrl_c_while_it_starts_stops_everything(tmp_path: Path) -> None:
    with _up(tmp_path) as up:
        deadline = time.monotonic() + START_TIMEOUT
        # What an import asks the system is a process as well, but no data are there by then.
        while not (up.data_dir.exists() and (started := descendants(up.process.pid))):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        up.process.send_signal(signal.SIGINT)
        assert up.process.wait(20) == 0
        assert_gone(started, within=0)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills the children of a killed process")
def test_killed_it_leaves_nothing_behind(tmp_path: Path) -> None:
    with _up(tmp_path) as up:
        up.wait_printed("ready in")
        started = descendants(up.process.pid)
        assert started
        up.process.kill()
        up.process.wait(10)
        assert_gone(started)


def test_what_cannot_start_is_named_with_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "data" / "kafka" / "log"
    log.mkdir(parents=True)
    (log / "meta.properties").write_text("version=1\nnode.id=7\ncluster.id=elsewhere\n")
    with _up(tmp_path) as up:
        assert up.process.wait(60) == 1
        assert "error: kafka has" in up.text
        assert "its last lines were" in up.text
        assert "Stored node id 7" in up.text
        assert up.text.count("stopped") == 1
        assert not [one for one in psutil.process_iter(["cmdline"]) if str(tmp_path) in " ".join(one.info["cmdline"] or [])]


def test_a_taken_port_ends_it_with_one_line(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = subprocess.run(
            [*UP, "--data-dir", str(tmp_path), "--kafka-port", str(port)], capture_output=True, text=True, timeout=30
        )
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert str(port) in line
    assert "Kafka" in line
    assert "--kafka-port" in line
    assert not (tmp_path / "kafka").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--only", "kafka,runer"], "there is no part 'runer'; did you mean runner?"),
        (["--only", "all"], "there are kafka, mongodb, workflows, scheduler, runner"),
        (["--only", "mongodb", "--only", "workflows"], "workflows needs kafka, which --only does not name"),
        (["--only", "kafka,mongodb,scheduler", "--runners", "2"], "without runner"),
    ],
)
def test_parts_that_cannot_be_started_alone_are_named(options: list[str], said: str) -> None:
    ended = CliRunner().invoke(app, options, env={"COLUMNS": "200"})
    assert ended.exit_code == 2
    assert said in ended.output


async def test_of_the_parts_those_that_are_named_are_started(tmp_path: Path) -> None:
    settings = on_free_ports(StandaloneSettings(data_dir=tmp_path))
    async with Dependencies(settings, parts=["mongodb"]) as started:
        assert started.mongodb.pid is not None
        assert is_free(settings.kafka_port)
    stack = Stack(settings, services=["workflows"])
    assert [*stack.children] == ["kafka", "mongodb", "workflows"]
