"""Restarts in between, and more workers than one of a kind."""

import asyncio
import json
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.conftest import Api, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells which libraries a process has loaded")
@pytest.mark.parametrize("service", ["workflows", "scheduler", "runner"])
async def test_a_worker_has_not_loaded_what_it_has_not_needed(stack, service):
    loaded = await asyncio.to_thread(Path(f"/proc/{stack.children[service].pid}/maps").read_text)
    assert "pydantic_core" in loaded
    assert "cramjam" not in loaded


@pytest.mark.parametrize("service", ["workflows", "scheduler", "runner"])
async def test_a_restart_of_any_service_loses_nothing(stack, api, target, workflow_id, service):
    await api.create(
        workflow_id,
        [LOG, {"type": "http-request", "url": f"{target.url}/{workflow_id}?fail=1", "method": "GET"}],
        backoff={"base": "3s", "cap": "3s", "jitter": "none"},
    )
    execution_id = await api.trigger(workflow_id)

    async def failed_once():
        return target.count(workflow_id) >= 1

    await until(failed_once, "the first attempt has failed")
    child = stack.children[service]
    await child.stop()
    await child.start()
    await child.wait_ready()
    execution = await api.finished(execution_id)
    assert (execution["status"], execution["attempt"]) == ("ok", 2)
    assert target.count(workflow_id) == 2
    assert (await api.finished(await api.trigger(workflow_id)))["status"] == "ok"


async def test_a_killed_runner_is_replaced_and_resumes_at_the_interrupted_action(stack, api, target, workflow_id):
    before, held = f"{workflow_id}-before", f"{workflow_id}-held"
    await api.create(
        workflow_id,
        [
            {"type": "http-request", "url": f"{target.url}/{before}", "method": "GET"},
            {"type": "http-request", "url": f"{target.url}/{held}?hold=1", "method": "GET"},
        ],
    )
    execution_id = await api.trigger(workflow_id)

    async def held_up():
        return target.count(held) == 1 and len((await api.execution(execution_id))["executedActions"]) == 1

    await until(held_up, "the second action is under way and the first is recorded")
    stack.children["runner"].kill(signal.SIGKILL)
    target.release.set()
    execution = await api.finished(execution_id)
    assert execution["status"] == "ok"
    assert (target.count(before), target.count(held)) == (1, 2)
    # The receiver got two requests of one attempt: it is told why.
    first, second = execution["executedActions"]
    (lost,) = execution["restarts"]
    assert (lost["why"], lost["attempt"], lost["index"], lost["since"]) == ("lost", 1, 1, first["finishedAt"])
    assert lost["runner"] and lost["since"] < lost["at"] <= second["startedAt"]
    await stack.children["runner"].wait_ready()


async def test_two_runners_and_two_api_workers_share_the_work(stack, api, target, workflow_id):
    runner, second_api = await asyncio.gather(stack.add_worker("runner"), stack.add_worker("workflows"))
    try:
        async with aiohttp.ClientSession() as session:
            other = Api(session, second_api.url)
            ids = [f"{workflow_id}-{number}" for number in range(40)]
            await asyncio.gather(
                *(
                    api.create(each, [{"type": "http-request", "url": f"{target.url}/{each}", "method": "GET"}])
                    for each in ids
                )
            )
            answers = await asyncio.gather(
                *(client.call("POST", f"/workflows/{each}/trigger") for each in ids for client in (api, other))
            )
            started = [answer["executionId"] for status, answer in answers if status == 202]
            finished = await asyncio.gather(*(api.finished(execution_id) for execution_id in started))
            assert {execution["status"] for execution in finished} == {"ok"}
            assert sum(target.count(each) for each in ids) == len(started) >= len(ids)
    finally:
        await asyncio.gather(stack.remove_worker(runner.name), stack.remove_worker(second_api.name))
    assert (await api.finished(await api.trigger(ids[0])))["status"] == "ok"


async def faust(stack, *arguments, input=None):
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "faust", "-A", "apps.runner.app", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        env={**stack.children["runner"].environment, "PATH": "/usr/bin:/bin", "COLUMNS": "120"},
    )  # fmt: skip
    output, _ = await asyncio.wait_for(process.communicate(), timeout=60)
    return process.returncode, output.decode()


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("tables", ["busy", "retries", "Who is busy", "Attempts used"]),
        ("agents", ["execution_requests", "action_results", "Starts an execution"]),
        ("models", ["ExecutionRequest", "ActionResult"]),
    ],
)
async def test_the_faust_cli_shows_tables_agents_and_models(stack, command, shown):
    code, output = await faust(stack, command)
    assert code == 0, output
    for text in shown:
        assert text in output


async def test_faust_send_starts_an_execution(stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    code, output = await faust(
        stack, "send", "workflow.execution", json.dumps({"workflow_id": workflow_id}), "-k", workflow_id
    )
    assert code == 0, output

    async def ran():
        return [e for e in await api.executions(workflow_id) if e["status"] == "ok"]

    await until(ran, "the execution finishes")


async def test_the_busy_command_and_view_show_who_is_busy(stack, api, target, workflow_id):
    await api.create(workflow_id, [{"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}])
    execution_id = await api.trigger(workflow_id)

    async def under_way():
        return target.count(workflow_id) == 1

    await until(under_way, "the action is under way")
    url = stack.children["runner"].url
    code, output = await faust(stack, "busy", "--url", url)
    assert code == 0, output
    assert workflow_id in output
    assert execution_id in output
    async with api.session.get(f"{url}/busy/{workflow_id}") as response:
        assert (await response.json())["executionId"] == execution_id
    target.release.set()
    await api.finished(execution_id)
    code, output = await faust(stack, "busy", "--url", "http://127.0.0.1:9")
    assert code != 0
    assert "--url" in output
