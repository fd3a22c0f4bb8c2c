"""What breaks: runners killed, suspended, poisoned, Kafka and the database away or emptied. Nothing is lost or done twice.

A stack of its own, whose runners are missed sooner than by default, so that its faults disturb no other test.
"""

import asyncio
import pathlib
import signal

import aiohttp
import pytest
import pytest_asyncio

from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports
from tests.e2e.conftest import Api, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
ENVIRONMENT = {
    "ACTION_PLUGINS": "tests.e2e.crashing",
    "LIVENESS_INTERVAL": "1",
    "KAFKA_SESSION_TIMEOUT": "6",
    "MAX_LOST_ATTEMPTS": "1",
    "REPUBLISH_AFTER": "3",
    "RUNNER_HEARTBEAT_INTERVAL": "0.5",
    "RUNNER_STALE_AFTER": "3",
    "RUNNER_GRACE_PERIOD": "1",
    "SCHEDULER_INTERVAL": "1",
    "SCHEDULER_WATCH_INTERVAL": "0.5",
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def stack(tmp_path_factory):
    settings = on_free_ports(StandaloneSettings(data_dir=tmp_path_factory.mktemp("faults")))
    log = pathlib.Path("/tmp/rel-stack.log").open("w", buffering=1)
    async with Stack(settings, environment=ENVIRONMENT, sink=lambda n, l: log.write(f"{n}: {l}\n")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def api(stack):
    async with aiohttp.ClientSession() as session:
        yield Api(session, stack.api_url)


def http(target, key, **more):
    return {"type": "http-request", "url": f"{target.url}/{key}", "method": "GET", **more}


async def arrived(target, key, times=1):
    async def there():
        return target.count(key) >= times

    await until(there, f"{key} has been requested {times} times")


async def test_a_pending_and_a_running_execution_are_cancelled(api, target, workflow_id):
    retried, held = f"{workflow_id}-retried", f"{workflow_id}-held"
    await api.create(retried, [http(target, f"{retried}?fail=9")], backoff={"base": "1h", "cap": "1h", "jitter": "none"})
    await api.create(held, [http(target, f"{held}?hold=1"), LOG])
    waiting, running = await api.trigger(retried), await api.trigger(held)
    await asyncio.gather(arrived(target, retried), arrived(target, held))

    async def waits():
        return (await api.execution(waiting))["nextAttemptAt"]

    await until(waits, "the first one waits for its retry")
    for execution_id, name in ((waiting, retried), (running, held)):
        status, answer = await api.call("POST", f"/executions/{execution_id}/cancel", {"reason": "no need"})
        assert (status, answer["status"], answer["reason"]) == (200, "cancelled", "no need")
        assert await api.status_of(name) == "idle"

    async def let_go():
        return target.closed[held]

    await until(let_go, "the request of the running one is broken off")
    target.release.set()
    status, again = await api.call("POST", f"/executions/{running}/cancel")
    assert (status, again["executionStatus"]) == (409, "cancelled")
    assert (await api.finished(await api.trigger(held)))["status"] == "ok"
    assert (await api.execution(running))["executedActions"] == []


async def test_a_run_stops_though_kafka_cannot_tell_it(stack, api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1")])
    execution_id = await api.trigger(workflow_id)
    await arrived(target, workflow_id)
    stack.children["kafka"].kill(signal.SIGSTOP)
    try:
        status, answer = await api.call("POST", f"/executions/{execution_id}/cancel")
        assert (status, answer["status"]) == (200, "cancelled")

        async def let_go():
            return target.closed[workflow_id]

        await until(let_go, "the request is broken off")
    finally:
        stack.children["kafka"].kill(signal.SIGCONT)
    target.release.set()
    assert (await api.finished(await api.trigger(workflow_id)))["status"] == "ok"


async def test_an_execution_ends_at_its_timeout_and_its_run_stops(api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1")], timeout="2s")
    execution = await api.finished(await api.trigger(workflow_id))
    assert (execution["status"], execution["reason"]) == ("failed", "timed out after 2s")

    async def let_go():
        return target.closed[workflow_id]

    await until(let_go, "its request is broken off")
    assert await api.status_of(workflow_id) == "idle"


async def test_an_action_ends_at_its_timeout(api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1", timeout="1s")], retries=0)
    execution = await api.finished(await api.trigger(workflow_id))
    assert execution["status"] == "failed"
    assert execution["executedActions"][0]["error"]["class"] == "timeout"


async def test_a_timeout_is_kept_while_the_runner_is_being_replaced(stack, api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1")], timeout="2s")
    execution_id = await api.trigger(workflow_id)
    await arrived(target, workflow_id)
    runner = stack.children["runner"]
    runner.kill(signal.SIGSTOP)
    try:
        execution = await api.finished(execution_id)
    finally:
        runner.kill(signal.SIGKILL)
    assert (execution["status"], execution["reason"]) == ("failed", "timed out after 2s")
    await runner.wait_ready()
    assert target.count(workflow_id) == 1


async def test_a_request_in_doubt_is_sent_again_only_where_it_may_be(stack, api, target, workflow_id):
    retry, fail = f"{workflow_id}-retry", f"{workflow_id}-fail"
    await api.create(retry, [LOG, http(target, f"{retry}?hold=1")])
    await api.create(fail, [LOG, http(target, f"{fail}?hold=1", onUnknown="fail"), LOG])
    repeated, doubtful = await api.trigger(retry), await api.trigger(fail)
    await asyncio.gather(arrived(target, retry), arrived(target, fail))
    stack.children["runner"].kill(signal.SIGKILL)
    target.release.set()
    execution = await api.finished(doubtful)
    assert (execution["status"], execution["lastFailedAction"]) == ("failed", "http-request-2")
    assert [(a["actionId"], a["status"]) for a in execution["executedActions"]] == [
        ("log-1", "ok"),
        ("http-request-2", "unknown"),
    ]
    assert execution["executedActions"][1]["error"]["class"] == "unknown-outcome"
    assert (await api.finished(repeated))["status"] == "ok"
    assert (target.count(retry), target.count(fail)) == (2, 1)
    keys = {request.headers["Idempotency-Key"] for request in target.requests[retry]}
    assert keys == {f"{repeated}:http-request-2"}


async def test_an_action_that_kills_its_runner_is_given_up_and_others_live(stack, api, target, workflow_id):
    poison, other = f"{workflow_id}-poison", f"{workflow_id}-other"
    await api.create(poison, [LOG, {"type": "crash"}])
    await api.create(other, [http(target, f"{other}?hold=1")])
    runner = stack.children["runner"]
    await runner.wait_ready()
    innocent = await api.trigger(other)
    await arrived(target, other)
    launches = runner.launches
    execution = await api.finished(await api.trigger(poison))
    assert execution["status"] == "failed"
    assert "2 attempts were lost with their runner" in execution["reason"]
    assert runner.launches >= launches + 2
    target.release.set()
    assert (await api.finished(innocent))["status"] == "ok"
    assert await api.status_of(poison) == "idle"
