"""What breaks: runners killed, suspended, poisoned, Kafka and the database away or emptied. Nothing is lost or done twice.

A stack of its own, whose runners are missed sooner than by default, so that its faults disturb no other test.
"""

import asyncio
import re
import signal
import time
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from pymongo import AsyncMongoClient

from apps.cli.progress import Bars
from apps.projection import session
from apps.settings import ServiceSettings
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}
ENVIRONMENT = {
    "ACTION_PLUGINS": "tests.e2e.crashing",
    "LIVENESS_INTERVAL": "1",
    "KAFKA_SESSION_TIMEOUT": "6",
    "RUNNER_ISOLATE_AFTER": "1",
    "MAX_LOST_ATTEMPTS": "2",
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
    lines = []
    stack = Stack(settings, environment=ENVIRONMENT, sink=lambda name, line: lines.append(f"{name}: {line}"))
    mongodb = stack.dependencies.mongodb
    command = mongodb.command()
    mongodb.command = lambda: [*command, "--enable-test-commands"]  # such as configureFailPoint
    async with stack as running:
        running.lines = lines
        yield running


def http(target, key, **more):
    return {"type": "http-request", "url": f"{target.url}/{key}", "method": "GET", **more}


async def arrived(target, key, times=1):
    async def there():
        return target.count(key) >= times

    await until(there, f"{key} has been requested {times} times")


async def first_of(*waits):
    """Wait for one of several things to happen; a failure of all of them is one of theirs."""
    done, left = await asyncio.wait(list(map(asyncio.ensure_future, waits)), return_when=asyncio.FIRST_COMPLETED)
    for each in left:
        each.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await next(iter(done))


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


@asynccontextmanager
async def stopped(*services):
    """Tell services to stop, which they do by themselves, and start them again."""
    for service in services:
        service.supervised = False
        service.kill(signal.SIGTERM)
    try:
        assert [await service.wait_exit(50) for service in services] == [0] * len(services)  # 60: mode gives up its thread
        yield
    finally:
        for service in services:
            service.supervised = True
        await asyncio.gather(*(service.start() for service in services))
        await asyncio.gather(*(service.wait_ready() for service in services))


async def test_nobody_is_ready_while_kafka_is_frozen_and_whoever_is_told_to_stop_does(stack):
    """Its connections stand, and take what is written to them, but nothing answers."""
    kafka, services = stack.children["kafka"], [stack.children[name] for name in ("workflows", "scheduler", "runner")]

    async def ready():
        return [await service.is_ready() for service in services]

    async def everybody_is():
        return all(await ready())

    async def nobody_is():
        return not any(await ready())

    await until(everybody_is, "every service is ready")
    kafka.kill(signal.SIGSTOP)
    try:
        await until(nobody_is, "no service is ready")
        async with stopped(*services[1:]):
            kafka.kill(signal.SIGCONT)
    finally:
        kafka.kill(signal.SIGCONT)
    await until(everybody_is, "every service is ready again")


async def test_an_execution_ends_at_its_timeout_and_its_run_stops(api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1")], timeout="5s")  # in which it must begin
    execution = await api.finished(await api.trigger(workflow_id))
    assert (execution["status"], execution["reason"]) == ("failed", "timed out after 5s")

    async def let_go():
        return target.closed[workflow_id]

    await until(let_go, "its request is broken off")
    assert await api.status_of(workflow_id) == "idle"


HANDLERS = {
    "onFailure": [{"type": "log", "actionId": "alert", "message": "{{ execution.failure.message }}"}],
    "finally": [{"type": "log", "actionId": "tidy", "message": "{{ execution.failure.class }}"}],
}


def told(execution):
    return [(each["actionId"], each["status"], each["logs"]) for each in execution["executedActions"]]


async def test_what_its_timeout_ends_runs_its_handlers_and_is_taken_up_at_that_step(stack, api, target, workflow_id):
    actions = [{"type": "log", "actionId": "begin", "message": "begun"}, http(target, f"{workflow_id}?hold=1")]
    await api.create(workflow_id, actions, timeout="5s", **HANDLERS)
    execution = await api.finished(await api.trigger(workflow_id))
    late = "timed out after 5s; whether it was done is not known"
    ran = [("alert", "ok", [late]), ("tidy", "ok", ["timed-out"])]
    call = execution["executedActions"][1]["actionId"]
    assert (execution["status"], execution["reason"]) == ("failed", f"action {call} failed: {late}")
    assert told(execution) == [("begin", "ok", ["begun"]), (call, "failed", []), *ran]
    (restart,) = execution["restarts"]
    assert (restart["why"], restart["index"], "since" in restart) == ("timed-out", 1, True)

    async def let_go():
        return target.closed[workflow_id]

    await until(let_go, "its request is broken off")
    assert target.count(workflow_id) == 1
    status, started = await api.call("POST", f"/v1/executions/{execution['executionId']}/retry")
    assert status == 202, started
    again = await api.finished(started["executionId"])
    assert [each.get("carriedOver") for each in again["executedActions"]] == [True, None, None, None]
    assert target.count(workflow_id) == 2
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, workflow_id), Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (2, 0, 0), report.findings


@pytest.mark.parametrize(
    ("action", "statuses"),
    [
        pytest.param({"type": "delay", "duration": "1h"}, ["ok", "failed"], id="a delay"),
        pytest.param({"type": "wait-for-signal", "signal": "go", "within": "1h"}, ["waiting", "failed"], id="a signal"),
    ],
)
async def test_what_waits_at_its_timeout_runs_its_handlers(api, action, statuses, workflow_id):
    await api.create(workflow_id, [{**action, "actionId": "wait"}], timeout="2s", **HANDLERS)
    execution = await api.finished(await api.trigger(workflow_id))
    assert [each["status"] for each in execution["executedActions"]] == [*statuses, "ok", "ok"]
    assert execution["reason"] == "action wait failed: timed out after 2s"


async def test_the_handlers_end_when_their_own_time_is_over(api, target, workflow_id):
    handlers = {"finally": [http(target, f"{workflow_id}?hold=1")]}
    await api.create(workflow_id, [{"type": "delay", "duration": "1h"}], timeout="3s", **handlers)
    execution = await api.finished(await api.trigger(workflow_id))
    assert (execution["status"], execution["reason"]) == ("failed", "timed out after 3s, and so did finally")
    assert execution["cutOff"]["list"] == "finally"


async def test_an_action_ends_at_its_timeout(api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1", timeout="1s")], retries=0)
    execution = await api.finished(await api.trigger(workflow_id))
    assert execution["status"] == "failed"
    assert execution["executedActions"][0]["error"]["class"].startswith("timeout")


async def test_a_timeout_is_kept_while_the_runner_is_being_replaced(stack, api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1")], timeout="5s")
    execution_id = await api.trigger(workflow_id)
    await arrived(target, workflow_id)
    runner = stack.children["runner"]
    runner.kill(signal.SIGSTOP)
    try:
        execution = await api.finished(execution_id)
    finally:
        runner.kill(signal.SIGKILL)
    assert (execution["status"], execution["reason"]) == ("failed", "timed out after 5s")
    await runner.wait_ready()
    assert target.count(workflow_id) == 1


async def test_handlers_run_when_the_runner_that_was_at_the_step_has_been_replaced(stack, api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1")], timeout="10s", onFailure=HANDLERS["onFailure"])
    execution_id = await api.trigger(workflow_id)
    await arrived(target, workflow_id)

    async def has_timed_out():
        _, found = await api.call("GET", f"/v1/executions/{execution_id}")
        return "timed-out" in [each["why"] for each in found.get("restarts", ())]

    runner = stack.children["runner"]
    runner.kill(signal.SIGSTOP)
    try:
        await until(has_timed_out, "its actions are ended")
    finally:
        runner.kill(signal.SIGKILL)
    execution = await api.finished(execution_id)
    assert [each["status"] for each in execution["executedActions"]] == ["failed", "ok"]
    await runner.wait_ready()
    assert target.count(workflow_id) == 1


async def test_what_is_given_up_runs_its_handlers_and_is_taken_up_at_that_step(stack, api, target, workflow_id):
    actions = [{"type": "log", "actionId": "begin", "message": "begun"}, http(target, f"{workflow_id}?hold=1")]
    await api.create(workflow_id, actions, **HANDLERS)
    execution_id = await api.trigger(workflow_id)

    async def is_recorded():
        return len((await api.execution(execution_id))["executedActions"]) == 1

    await until(is_recorded, "its first action is recorded")
    for times in range(1, 4):
        await arrived(target, workflow_id, times=times)
        stack.children["runner"].kill(signal.SIGKILL)
    execution = await api.finished(execution_id)
    call, reason = execution["executedActions"][1]["actionId"], execution["reason"]
    assert re.fullmatch("given up: 3 attempts were lost with their runner, the last with .+", reason)
    assert execution["status"] == "failed"
    assert [each["why"] for each in execution["restarts"]] == ["lost", "lost", "given-up"]
    ran = [("begin", "ok", ["begun"]), (call, "failed", []), ("alert", "ok", [reason]), ("tidy", "ok", ["given-up"])]
    assert told(execution) == ran
    target.release.set()
    status, started = await api.call("POST", f"/v1/executions/{execution_id}/retry")
    assert status == 202, started
    again = await api.finished(started["executionId"])
    assert [each.get("carriedOver") for each in again["executedActions"]] == [True, None, None]
    assert again["executedActions"][1]["status"] == "ok"
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, workflow_id), Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (2, 0, 0), report.findings


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


async def test_an_action_that_kills_its_runner_is_found_out_and_whoever_is_beside_it_lives(stack, api, target, workflow_id):
    poison, beside = f"{workflow_id}-poison", f"{workflow_id}-beside"
    await api.create(poison, [LOG, {"type": "crash"}])
    await api.create(beside, [http(target, f"{beside}?hold=1"), LOG])
    runner = stack.children["runner"]
    await runner.wait_ready()
    innocent = await api.trigger(beside)
    await arrived(target, beside)
    launches = runner.launches
    execution = await api.finished(await api.trigger(poison))
    assert execution["status"] == "failed"
    assert execution["lastFailedAction"] == "crash-2"
    assert execution["executedActions"][-1]["error"]["class"] == "crashed"
    assert "ended the process that ran it, alone: exit status 1" in execution["reason"]
    # A runner that dies within its first moment with a request has not said yet that it has it: that loss is not counted.
    assert launches + 1 <= runner.launches <= launches + 2
    # It is a suspect as well, and is sent from a process of its own.
    await arrived(target, beside, times=1 + runner.launches - launches)
    target.release.set()
    assert (await api.finished(innocent))["status"] == "ok"
    assert target.count(beside) == 1 + runner.launches - launches
    assert await api.status_of(poison) == "idle"


async def is_running_something(api, worker):
    async with api.session.get(f"{worker.url}/metrics") as response:
        (count,) = re.findall(r"^runner_running_executions (\S+)$", await response.text(), re.MULTILINE)
    return float(count) > 0


async def test_what_triggers_others_goes_on_in_a_process_of_its_own_and_starts_nothing_twice(
    stack, api, target, workflow_id
):
    child = f"{workflow_id}-child"
    each = {"type": "trigger-workflow", "workflowId": child, "forEach": list(range(6)), "timeout": "2m"}
    await api.create(workflow_id, [each])
    await api.create(child, [http(target, f"{child}?hold=1")], overlap={"policy": "allow", "max": 2}, retries=5)
    parent = await api.trigger(workflow_id)
    await arrived(target, child, times=2)

    async def is_marked():
        return (await api.execution(parent))["status"] == "running"

    # Before that nobody knows that it was begun, and the next runner begins it as if for the first time.
    await until(is_marked, "it is known to run")
    stack.children["runner"].kill(signal.SIGKILL)

    async def apart():
        return any("action is run apart" in line and parent in line for line in stack.lines)

    await until(apart, "the list is worked off apart")
    target.release.set()
    execution = await api.finished(parent)
    assert execution["status"] == "ok", execution
    ids = execution["executedActions"][0]["output"]["executionIds"]
    assert [(await api.finished(each))["status"] for each in ids] == ["ok"] * 6
    found = await api.executions(child)
    assert [each["executionId"] for each in reversed(found)] == ids
    assert {each["triggeredBy"]["executionId"] for each in found} == {parent}
    await stack.children["runner"].wait_ready()


async def test_a_stopped_runner_hands_over_at_once(stack, api, target, workflow_id, record_property):
    await api.create(workflow_id, [LOG, http(target, f"{workflow_id}?hold=1")])
    await stack.children["runner"].wait_ready()
    await stack.add_worker("runner", name="relief")
    try:
        execution_id = await api.trigger(workflow_id)
        await arrived(target, workflow_id)

        # Whichever of the two has it: one stops, the other resumes.
        (holder,) = [name for name in ("runner", "relief") if await is_running_something(api, stack.workers[name])]
        began = time.monotonic()
        await stack.children[holder].stop()
        await arrived(target, workflow_id, times=2)
        record_property("seconds_to_resume", round(time.monotonic() - began, 1))
        target.release.set()
        execution = await api.finished(execution_id)
        assert (execution["status"], execution["attempt"]) == ("ok", 1)
        assert [(each["why"], each["index"]) for each in execution["restarts"]] == [("handed-back", 1)]
        assert target.count(workflow_id) == 2
    finally:
        await stack.children["runner"].start()
        await stack.children["runner"].wait_ready()
        await stack.remove_worker("relief")


@pytest.mark.parametrize("answer", ["waits for it", "is still to come"])
async def test_a_runner_that_was_suspended_changes_nothing_when_it_wakes(stack, api, target, workflow_id, answer):
    workflow_id = f"{workflow_id}-{answer.split()[0]}"
    before, held = f"{workflow_id}-before", f"{workflow_id}-held"
    path = f"{held}?hold={'1' if answer == 'waits for it' else 'first'}"
    await api.create(workflow_id, [http(target, before), http(target, path), LOG])
    execution_id = await api.trigger(workflow_id)
    await arrived(target, held)
    sleeper = stack.children["runner"]
    relief = await stack.add_worker("runner", name="relief")
    if target.count(held) > 1:
        pytest.fail("a second runner alone must not start it again")
    sleeper.kill(signal.SIGSTOP)
    try:
        await arrived(target, held, times=2)
        if answer == "waits for it":
            target.release.set()
        execution = await api.finished(execution_id)
        assert execution["status"] == "ok"
    finally:
        sleeper.kill(signal.SIGCONT)
    if answer == "waits for it":
        # It may be quicker to send on what it received than to learn that its run is over.
        await first_of(
            sleeper.wait_line("run is over; stopping it", execution_id),
            *(runner.wait_line("result turned away", execution_id) for runner in (sleeper, relief)),
        )
    else:

        async def let_go():
            return target.closed[held]

        await until(let_go, "the request of the run that is over is broken off")
    assert await api.execution(execution_id) == execution
    assert (target.count(before), target.count(held)) == (1, 2)
    target.release.set()
    assert (await api.finished(await api.trigger(workflow_id)))["status"] == "ok"
    await sleeper.wait_ready()
    await stack.remove_worker(relief.name)


def pids(stack):
    return {name: stack.children[name].pid for name in ("workflows", "scheduler", "runner")}


async def test_with_kafka_away_triggers_are_accepted_and_run_when_it_is_back(stack, api, workflow_id):
    await api.create(workflow_id, [LOG])
    before, heard = pids(stack), len(stack.lines)
    kafka = stack.children["kafka"]
    kafka.supervised = False
    kafka.kill(signal.SIGKILL)
    await kafka.wait_exit()
    try:
        execution_id = await api.trigger(workflow_id)
        assert (await api.execution(execution_id))["status"] == "pending"

        async def missed():
            # Whatever they were about: nothing of a client's gets further than this.
            said = [line for line in stack.lines[heard:] if "Unable connect to node" in line]
            return {line.split(":")[0] for line in said} >= {"scheduler", "runner"}

        await until(missed, "both have noticed, and look for Kafka")
        assert pids(stack) == before, "a service died"
        async with stopped(stack.children["scheduler"], stack.children["runner"]):
            await kafka.start()
    finally:
        kafka.supervised = True
        await kafka.start()
        await kafka.wait_ready()
    assert (await api.finished(execution_id))["status"] == "ok"


async def test_with_the_database_away_everybody_waits_for_it(stack, api, target, workflow_id):
    await api.create(workflow_id, [http(target, f"{workflow_id}?hold=1"), LOG])
    execution_id = await api.trigger(workflow_id)
    await arrived(target, workflow_id)
    before = pids(stack)
    mongodb = stack.children["mongodb"]
    mongodb.supervised = False
    mongodb.kill(signal.SIGKILL)
    await mongodb.wait_exit()
    try:
        target.release.set()
        async with api.session.post(f"{api.url}/workflows/{workflow_id}/trigger") as response:
            assert response.status == 503
            assert int(response.headers["Retry-After"]) > 0
            assert (await response.json())["type"] == "urn:problem-type:database-unavailable"
        late = await stack.start_unready("runner", name="late")
        await late.wait_line("waiting for a dependency")
    finally:
        mongodb.supervised = True
        await mongodb.start()
        await mongodb.wait_ready()
    assert (await api.finished(execution_id))["status"] == "ok"
    assert pids(stack) == before, "a service died"
    assert target.count(workflow_id) == 1
    await late.wait_ready()
    await stack.remove_worker("late")


async def test_with_all_of_kafkas_data_gone_every_open_execution_finishes(stack, api, target, workflow_id, record_property):
    running, waiting, periodic = (f"{workflow_id}-{name}" for name in ("running", "waiting", "periodic"))
    await api.create(running, [http(target, f"{running}?hold=1"), LOG])
    await api.create(
        waiting,
        [http(target, f"{waiting}?fail=1")],
        backoff={"base": "8s", "cap": "8s", "jitter": "none"},
    )
    await api.create(periodic, [LOG], trigger={"type": "periodic", "interval": "1s"})
    ids = [await api.trigger(running), await api.trigger(waiting)]
    await asyncio.gather(arrived(target, running), arrived(target, waiting))
    began = time.monotonic()
    await stack.dependencies.wipe_kafka()
    target.release.set()
    ids.append(await api.trigger((await api.create(f"{workflow_id}-new", [LOG]))["workflowId"]))
    for execution_id in ids:
        assert (await api.finished(execution_id))["status"] == "ok"
    record_property("seconds_to_recover", round(time.monotonic() - began, 1))
    wiped_at = (await api.execution(ids[-1]))["createdAt"]
    for service in ("runner", "scheduler"):  # a supervisor that starts only what failed must do so as well
        await stack.children[service].wait_line("exited with status 70")

    async def ticks_again():
        return [e for e in await api.executions(periodic) if e["status"] == "ok" and e["createdAt"] > wiped_at]

    await until(ticks_again, "the periodic one ticks again")
    await api.call("DELETE", f"/workflows/{periodic}")


async def test_dead_letters_are_listed_shown_and_sent_again(stack, api, producer, workflow_id):
    bad = b'{"workflow_id": "%s"' % workflow_id.encode()
    sent = [await producer.send_and_wait("workflow.execution", bad, key=workflow_id.encode()) for _ in range(3)]
    await api.create(workflow_id, [LOG])

    async def ours():
        status, answer = await api.call("GET", "/dead-letters?limit=500")
        assert status == 200, answer
        letters = [each for each in answer["items"] if each["key"] == workflow_id]
        return letters if len(letters) == 3 else None

    letters = await until(ours, "three dead letters are there")
    assert [each["offset"] for each in letters] == [record.offset for record in reversed(sent)]
    assert {each["value"] for each in letters} == {bad.decode()}

    seen, cursor = [], ""
    while cursor is not None:
        _, page = await api.call("GET", f"/dead-letters?limit=2{cursor and f'&cursor={cursor}'}")
        seen += [each["id"] for each in page["items"]]
        cursor = page["nextCursor"]
    assert len(set(seen)) == len(seen)
    assert {each["id"] for each in letters} <= set(seen)

    status, letter = await api.call("GET", f"/dead-letters/{letters[0]['id']}")
    assert (status, letter) == (200, letters[0])
    status, answer = await api.call("POST", f"/dead-letters/{letter['id']}/resend", {"value": {"workflow_id": workflow_id}})
    assert (status, answer["topic"]) == (202, "workflow.execution")

    async def ran():
        return [e for e in await api.executions(workflow_id) if e["status"] == "ok"]

    await until(ran, "the mended record has started an execution")
    status, audit = await api.call("GET", f"/audit?path=/dead-letters/{letter['id']}")
    assert (status, [entry["operation"] for entry in audit["items"]]) == (200, ["resendDeadLetter"])
    for letter_id, expected in (("7-999999999", 404), ("99-1", 404), ("nonsense", 400)):
        assert (await api.call("GET", f"/dead-letters/{letter_id}"))[0] == expected


async def test_a_record_too_large_for_others_is_a_dead_letter_too(api, producer, workflow_id):
    """It grows by a third in its letter; what the broker refused would hold up everything behind it for ever."""
    await api.create(workflow_id, [LOG])
    bad = b'{"workflow_id": "%s", "padding": "%s"' % (workflow_id.encode(), b"x" * 1_000_000)
    await producer.send_and_wait("workflow.execution", bad, key=workflow_id.encode())
    good = b'{"workflow_id": "%s"}' % workflow_id.encode()
    await producer.send_and_wait("workflow.execution", good, key=workflow_id.encode())

    async def ran():
        return [e for e in await api.executions(workflow_id) if e["status"] == "ok"]

    await until(ran, "the record behind it is taken")
    _, answer = await api.call("GET", "/dead-letters?limit=1")
    (letter,) = answer["items"]
    assert (letter["key"], letter["value"]) == (workflow_id, bad.decode())


@asynccontextmanager
async def refusing(stack, service, *commands, mode="alwaysOn", **how):
    """Have the database fail commands of one service."""
    async with AsyncMongoClient(stack.mongodb_url) as client:
        fail = {"failCommands": list(commands), "appName": f"workflow-automation-{service}", **how}
        await client.admin.command("configureFailPoint", "failCommand", mode=mode, data=fail)
        try:
            yield
        finally:
            await client.admin.command("configureFailPoint", "failCommand", mode="off")


DISK_FULL = {"errorCode": 14031}


@pytest.mark.parametrize(
    ("command", "how", "detail"),
    [
        ("insert", DISK_FULL, "refused to do it"),
        ("insert", {"errorCode": 10107}, "cannot be reached"),  # NotWritablePrimary
        ("insert", {"writeConcernError": {"code": 64, "errmsg": "not replicated"}}, "refused to do it"),
        ("find", {"errorCode": 50}, "cannot be reached"),  # ExceededTimeLimit
        ("find", DISK_FULL, "refused to do it"),
    ],
    ids=["disk full", "no primary", "not durable", "too slow", "refused to read"],
)
async def test_what_the_database_does_not_do_is_told_and_done_once_when_it_is_asked_again(
    stack, api, target, workflow_id, command, how, detail
):
    await api.create(workflow_id, [http(target, workflow_id)])
    async with (
        refusing(stack, "workflows", command, mode={"times": 1}, **how),
        api.session.post(f"{api.url}/workflows/{workflow_id}/trigger") as response,
    ):
        problem = await response.json()
    assert (response.status, problem["type"]) == (503, "urn:problem-type:database-unavailable")
    assert (response.headers["Retry-After"], response.content_type) == ("5", "application/problem+json")
    assert detail in problem["detail"]
    # What was stored, though that could not be made sure of, is in progress; whatever else was not.
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger")
    assert status == (409 if "writeConcernError" in how else 202), answer
    assert (await api.finished(answer["executionId"]))["status"] == "ok"
    assert [each["executionId"] for each in await api.executions(workflow_id)] == [answer["executionId"]]
    assert target.count(workflow_id) == 1


async def test_what_the_database_does_not_take_from_a_runner_is_written_later(stack, api, target, workflow_id):
    """Marks, intents, results, ends: each is refused for a while, and nothing is done twice for it."""
    names = [f"{workflow_id}-{name}" for name in ("held", "once", "retried")]
    held, once, retried = names
    await api.create(held, [http(target, f"{held}?hold=1"), LOG])
    await api.create(once, [http(target, once, onUnknown="fail"), LOG])
    await api.create(retried, [http(target, f"{retried}?fail=1")], backoff={"base": "1s", "cap": "1s"})
    runner = stack.children["runner"]
    await runner.wait_ready()
    target.release.clear()
    async with refusing(stack, "runner", "insert", "update", "delete", **DISK_FULL):
        ids = [await api.trigger(name) for name in names]
        await asyncio.gather(
            arrived(target, held),
            runner.wait_line("start marks not written", ""),
            runner.wait_line("intent not written", ids[1]),
            runner.wait_line("results not written", ""),
        )
        assert target.count(once) == 0, "sent, though it is not known to have been begun"
        target.release.set()
    for execution_id in ids:
        assert (await api.finished(execution_id))["status"] == "ok"
    assert [target.count(name) for name in names] == [1, 1, 2]
    assert [len(await api.executions(name)) for name in names] == [1, 1, 1]
