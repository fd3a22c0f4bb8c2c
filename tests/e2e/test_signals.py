"""Executions that wait for a signal, on the real stack."""

import pytest

from apps.cli.progress import Bars
from apps.projection import session
from apps.settings import ServiceSettings
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

APPROVE = {"type": "wait-for-signal", "actionId": "approve", "signal": "approved"}
TOLD = {"type": "log", "actionId": "told", "message": "by {{ actions.approve.output.payload.by }}"}
BY_ADA = {"payload": {"by": "Ada"}}


def outcomes(execution):
    return [(action["actionId"], action["status"], action["attempt"]) for action in execution["executedActions"]]


async def awaiting(api, execution_id):
    """Return the execution once it waits for its signal."""

    async def waits():
        execution = await api.execution(execution_id)
        return execution if execution["waitingFor"] else None

    return await until(waits, "the execution waits for its signal")


async def signal(api, execution_id, name, body=None):
    status, answer = await api.call("POST", f"/executions/{execution_id}/signals/{name}", body)
    assert status == 202, answer
    return answer


async def test_what_comes_with_a_signal_is_used_by_the_next_step(stack, api, workflow_id):
    await api.create(workflow_id, [{"type": "log", "message": "x"}, APPROVE, TOLD])
    execution_id = await api.trigger(workflow_id)
    execution = await awaiting(api, execution_id)
    assert (execution["status"], execution["currentStep"]["actionId"]) == ("pending", "approve")
    awaited = {"signal": "approved", "executions": None, "actionId": "approve", "until": execution["nextAttemptAt"]}
    assert execution["waitingFor"] == awaited
    assert (await signal(api, execution_id, "approved", BY_ADA))["goesOn"] is True
    execution = await api.finished(execution_id)
    assert (execution["status"], execution["attempt"], execution["waitingFor"]) == ("ok", 1, None)
    assert outcomes(execution) == [("log-1", "ok", 1), ("approve", "waiting", 1), ("approve", "ok", 1), ("told", "ok", 1)]
    output = execution["executedActions"][2]["output"]
    assert (output["signal"], output["payload"], output["sender"]) == ("approved", {"by": "Ada"}, "anonymous")
    assert execution["executedActions"][3]["logs"] == ["by Ada"]
    assert (await signal(api, execution_id, "approved", BY_ADA))["goesOn"] is True
    # The log tells the same.
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, workflow_id), Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (1, 0, 0), report.findings


async def test_a_signal_that_comes_early_is_found_when_its_step_is_reached(api, target, workflow_id):
    held = {"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}?hold=1"}
    await api.create(workflow_id, [held, APPROVE, TOLD])
    execution_id = await api.trigger(workflow_id)

    async def is_held():
        return target.count(workflow_id) == 1

    await until(is_held, "the first action is under way")
    assert (await signal(api, execution_id, "approved", BY_ADA))["goesOn"] is False
    target.release.set()
    execution = await api.finished(execution_id)
    assert outcomes(execution)[1:] == [("approve", "ok", 1), ("told", "ok", 1)]


async def test_without_a_signal_it_fails_and_the_handlers_run(api, workflow_id):
    handler = {"type": "log", "actionId": "alert", "message": "{{ execution.failure.class }}"}
    await api.create(workflow_id, [{**APPROVE, "within": "1s"}, TOLD], onFailure=[handler])
    execution = await api.finished(await api.trigger(workflow_id))
    assert execution["status"] == "failed"
    assert outcomes(execution) == [("approve", "waiting", 1), ("approve", "failed", 1), ("alert", "ok", 1)]
    assert execution["executedActions"][1]["error"]["class"] == "no-signal"
    assert execution["executedActions"][2]["logs"] == ["no-signal"]
    status, problem = await api.call("POST", f"/executions/{execution['executionId']}/signals/approved")
    assert (status, problem["type"]) == (409, "urn:problem-type:execution-finished")
