"""``wf retry``, ``wf run-again``, ``wf logs``, ``wf executions --watch``, ``wf versions`` and ``wf rollback``."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import pytest
import yaml
from aiohttp import web

from tests.cli.wf_fake_api import FakeApi, execution, execution_id, outcome, problem, seconds_ago
from tests.cli.wf_process import COMMAND, Run, environment

FAILED, NEW = execution_id(1), execution_id(2)


@pytest.fixture
def failed(api: FakeApi) -> FakeApi:
    """The service, where an execution has failed."""
    api.executions[FAILED] = execution(1, "nightly", "failed")
    return api


@pytest.mark.parametrize(("command", "words"), [("retry", "Taken up"), ("run-again", "Run again")])
async def test_a_failed_execution_is_started_anew(failed: FakeApi, wf: Run, command: str, words: str) -> None:
    result = await wf(command, FAILED)
    assert (result.code, result.out) == (0, f"{words}: execution {NEW}\n")
    assert failed.requests == [f"POST /executions/{FAILED}/{command}"]
    assert f"wf execution {NEW}" in result.err
    as_json = await wf(command, FAILED, "-o", "json")
    assert json.loads(as_json.out)["originId"] == FAILED


@pytest.mark.parametrize(("end", "code"), [("ok", 0), ("failed", 1)])
async def test_it_is_waited_for(failed: FakeApi, wf: Run, end: str, code: int) -> None:
    carried = outcome("log-1", "ok", attempt=0, carriedOver=True)
    failed.states = [{"status": "running"}, {"status": end, "executedActions": [carried, outcome("call", end)]}]
    result = await wf("retry", FAILED, "--wait")
    assert result.code == code
    for words in (f"Repeats    {FAILED}", "Done before, by the execution that this one takes up", "Attempt 1\n"):
        assert words in result.out
    assert (f"wf retry {NEW}" in result.err) == bool(code), "what to do next is said where there is something to do"
    assert result.widest <= 80


async def test_it_is_followed_through_the_line_and_its_retries(failed: FakeApi, wf: Run) -> None:
    first, second = outcome("call", "failed", logs=["one"]), outcome("call", "ok", attempt=2, logs=["two"])
    failed.states = [
        {"status": "queued", "executedActions": []},
        {"status": "pending", "nextAttemptAt": seconds_ago(-1), "executedActions": [first]},
        {"status": "ok", "executedActions": [first, second]},
    ]
    result = await wf("run-again", FAILED, "--follow")
    assert result.code == 0
    assert [line for line in result.out.splitlines() if line.startswith("[")] == [
        "[1] failed  call  500ms",
        "[2] ok  call  500ms",
    ]
    assert f"Run again: execution {NEW}" in result.err
    assert (await wf("logs", "-f", NEW)).out == result.out


@pytest.mark.parametrize(("last", "words"), [("failed", "next attempt"), ("ok", "goes on")])
async def test_a_delay_is_not_told_as_another_attempt(failed: FakeApi, wf: Run, last: str, words: str) -> None:
    waiting = {"status": "pending", "nextAttemptAt": seconds_ago(-60), "lastFailedAction": "call"}
    failed.executions[FAILED] |= {**waiting, "executedActions": [outcome("call", "failed"), outcome("rest", last)]}
    assert f"pending, {words} in " in (await wf("execution", FAILED)).out


async def test_following_stops_at_the_timeout(failed: FakeApi, wf: Run) -> None:
    result = await wf("retry", FAILED, "--follow", "--timeout", "0.3")
    assert (result.code, result.out) == (124, "")
    assert "has not ended within 300ms: " in result.err


async def test_logs_for_programs_are_a_line_each(failed: FakeApi, wf: Run) -> None:
    failed.executions[FAILED]["executedActions"] = [outcome("a", "ok"), outcome("b", "failed")]
    as_json = await wf("logs", FAILED, "--json")
    assert [json.loads(line)["actionId"] for line in as_json.out.splitlines()] == ["a", "b"]
    as_yaml = await wf("logs", FAILED, "-o", "yaml")
    assert [each["actionId"] for each in yaml.safe_load_all(as_yaml.out)] == ["a", "b"]


async def test_what_cannot_be_taken_up(failed: FakeApi, wf: Run) -> None:
    detail = "Only a step of finally failed; POST /executions/…/run-again starts it."
    refusal = problem(409, "nothing-to-retry", "Nothing to retry", detail)
    failed.refusals[f"POST /executions/{FAILED}/retry"] = refusal
    result = await wf("retry", FAILED)
    assert result.code == 3
    assert "Only a step of finally failed" in result.err
    assert "POST" not in result.err
    assert f"wf run-again {FAILED}" in result.err
    busy = {"status": "workflow in progress", "triggerStatus": "busy", "executionId": execution_id(9)}
    failed.refusals[f"POST /executions/{FAILED}/retry"] = web.json_response(busy, status=409)
    result = await wf("retry", FAILED)
    assert result.code == 3
    assert f"wf cancel {execution_id(9)}" in result.err
    missing = await wf("run-again", execution_id(7))
    assert (missing.code, f"there is no execution {execution_id(7)}" in missing.err) == (4, True)


@pytest.mark.parametrize("command", ["retry", "run-again"])
async def test_an_archived_workflow_is_named(failed: FakeApi, wf: Run, command: str) -> None:
    detail = "Workflow nightly is archived; POST /workflows with a definition of that id brings it back."
    refusal = problem(404, "unknown-workflow", "Unknown workflow", detail)
    failed.refusals[f"POST /executions/{FAILED}/{command}"] = refusal
    result = await wf(command, FAILED)
    assert result.code == 4
    assert "nightly is archived" in result.err
    assert "wf apply FILE" in result.err
    assert "POST" not in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
async def test_watching_tells_every_change_until_control_c(failed: FakeApi, tmp_path: Path) -> None:
    failed.executions[execution_id(3)] = execution(3, "nightly", "ok")  # further down the list than what is asked for
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("executions", "--watch", "--limit", "1", "--json"),
        env=environment(failed.url),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert json.loads(await process.stdout.readline())["status"] == "failed"
    failed.executions[NEW] = execution(2, "nightly", "running")
    assert json.loads(await process.stdout.readline())["executionId"] == NEW
    failed.executions[NEW]["status"] = "ok"
    assert json.loads(await process.stdout.readline())["status"] == "ok"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert (process.returncode, err) == (130, b"")


async def test_versions(api: FakeApi, wf: Run) -> None:
    api.add("nightly", version=3)
    listed = await wf("versions", "nightly")
    assert [line.split()[0] for line in listed.out.splitlines()] == ["VERSION", "3", "2", "1"]
    assert listed.out.count("current") == 1
    differences = await wf("versions", "nightly", "--diff", "--limit", "1")
    assert differences.out.splitlines()[:2] == ["--- nightly (version 2)", "+++ nightly (version 3)"]
    assert {"-retries: 2", "+retries: 3"} <= set(differences.out.splitlines())
    assert "+retries: 2" not in differences.out
    one = await wf("versions", "nightly", "2")
    assert yaml.safe_load(one.out)["retries"] == 2
    for missing, words in (("nightly", "`wf versions nightly` lists"), ("nobody", "there is no workflow nobody")):
        result = await wf("versions", missing, "9")
        assert (result.code, words in result.err) == (4, True)


async def test_rollback(api: FakeApi, wf: Run) -> None:
    api.add("nightly", version=3)
    result = await wf("rollback", "nightly", "1")
    assert (result.code, result.out) == (0, "nightly is at version 4, which says what version 1 said\n")
    for missing, words in (("nightly", "`wf versions nightly` lists"), ("nobody", "there is no workflow nobody")):
        result = await wf("rollback", missing, "9")
        assert (result.code, words in result.err) == (4, True)
