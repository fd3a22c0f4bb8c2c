"""The benchmark measures what it says; that it is quick is not asked here."""

import asyncio
import json
import os
import sys
from types import SimpleNamespace

import aiohttp
import pytest

import bench.__main__ as command
from bench import measure
from bench.scenarios import GOALS, SCENARIOS

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.mark.parametrize("name", ["http-16", "round-trip", "kafka", "io-bound", "bare-64", "bare-ticks"])
async def test_a_scenario_gives_figures(stack, name):
    async with aiohttp.ClientSession() as session:
        figures = await SCENARIOS[name](stack, session, 0.02)
    assert {figure for of, figure in GOALS if of == name} <= figures.keys()
    assert all(value > 0 for figure, value in figures.items() if "CPU" not in figure)


async def test_what_was_found_is_judged_and_written(tmp_path, monkeypatch, capsys):
    async def run(given):
        return {"http-64": {"finished/s": [900.0, 1100.0, 1200.0], "CPU ms per execution, api": [0.4]}}

    monkeypatch.setattr(command, "run", run)
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    monkeypatch.setattr(command, "read_arguments", lambda: SimpleNamespace(name="here"))
    monkeypatch.setattr(command.asyncio, "run", lambda work: _result(work))
    command.main()
    written = json.loads((tmp_path / "here.json").read_text())
    assert written["results"]["http-64"]["finished/s"] == {
        "median": 1100.0, "min": 900.0, "max": 1200.0, "runs": [900.0, 1100.0, 1200.0]
    }  # fmt: skip
    assert set(written["pace before"]) == set(measure.pace())
    shown = capsys.readouterr().out
    assert "✓ ≥ 1000" in shown
    assert "✗ ≤ 0.3" in shown


async def test_one_server_alone_is_no_place_to_measure():
    environment = {**os.environ, "MONGODB_URL": "mongodb://127.0.0.1:1"}
    environment.pop("KAFKA_BOOTSTRAP", None)
    bench = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", env=environment, stderr=asyncio.subprocess.PIPE
    )
    _, told = await bench.communicate()
    assert bench.returncode == 1
    assert told.decode() == (
        "error: MONGODB_URL is set, but KAFKA_BOOTSTRAP is not: set both to use servers that run already, or neither\n"
    )


def _result(work):
    """Return what a coroutine returns that never waits."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits")
