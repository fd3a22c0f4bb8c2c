"""Workflows that trigger others, on the real stack."""

import signal

import pytest

from apps.cli.progress import Bars
from apps.projection import session
from apps.settings import ServiceSettings
from tests.e2e.conftest import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

MANY = 30
PER_ITEM = {"type": "trigger-workflow", "actionId": "each", "forEach": "{{ input.numbers }}", "timeout": "2m"}


def asks(target, workflow_id):
    """An action that asks the target under the number of its item."""
    return {"type": "http-request", "method": "GET", "url": f"{target.url}/{workflow_id}-{{{{ input.item }}}}"}


async def trigger(api, workflow_id, **given):
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", {"input": given})
    assert status == 202, answer
    return answer["executionId"]


async def all_ended(api, workflow_id, count):
    async def ended():
        found = await api.executions(workflow_id)
        return found if len(found) >= count and all(each["finishedAt"] for each in found) else None

    return await until(ended, f"{count} executions of {workflow_id} have ended")


async def test_for_each_item_of_a_list_a_workflow_runs_once(stack, api, target, workflow_id):
    child = f"{workflow_id}-child"
    # What triggers another may be there first.
    await api.create(workflow_id, [{**PER_ITEM, "workflowId": child, "input": {"of": "{{ execution.id }}"}}])
    await api.create(child, [asks(target, child)], overlap={"policy": "allow", "max": 5})
    parent = await trigger(api, workflow_id, numbers=list(range(MANY)))
    execution = await api.finished(parent)
    assert execution["status"] == "ok", execution
    (done,) = execution["executedActions"]
    ids = done["output"]["executionIds"]
    assert done["output"] == {"workflowId": child, "executionIds": ids, "count": MANY}
    assert done["logs"] == [f"{child}: {MANY} triggered"]

    found = await all_ended(api, child, MANY)
    assert [each["executionId"] for each in reversed(found)] == ids, "lists show them in the order of the items"
    assert {each["status"] for each in found} == {"ok"}
    assert [target.count(f"{child}-{number}") for number in range(MANY)] == [1] * MANY
    assert {each["cause"] for each in found} == {"workflow"}
    told = {"executionId": parent, "workflowId": workflow_id, "actionId": "each"}
    assert all(each["triggeredBy"] == told for each in found)
    last = await api.execution(ids[-1])
    assert (last["input"], last["triggeredBy"]) == ({"of": parent, "item": MANY - 1}, told)

    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, child), Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (MANY, 0, 0), report.findings


async def test_one_is_triggered_and_not_waited_for(api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [asks(target, child)])
    await api.create(workflow_id, [{"type": "trigger-workflow", "workflowId": child, "input": {"item": "a?hold=1"}}])
    execution = await api.finished(await trigger(api, workflow_id))
    (done,) = execution["executedActions"]
    child_id = done["output"]["executionId"]
    assert done["output"] == {"workflowId": child, "executionId": child_id, "status": "pending"}
    assert (await api.execution(child_id))["status"] in ("pending", "running")
    target.release.set()
    assert (await api.finished(child_id))["status"] == "ok"


async def test_one_is_waited_for_and_its_result_used(stack, api, target, workflow_id):
    child = f"{workflow_id}-child"
    result = {"type": "set", "values": {"double": "{{ input.number * 2 }}"}}
    await api.create(child, [asks(target, child), result], backoff={"base": "1s", "jitter": "none"})
    await api.create(
        workflow_id,
        [
            {
                "type": "trigger-workflow", "actionId": "call", "workflowId": child, "waitForEnd": "5m",
                "input": {"number": "{{ input.number }}", "item": "a?hold=1"},
            },
            {"type": "log", "message": "it is {{ actions.call.output.result.double }}"},
        ],
    )  # fmt: skip
    parent = await trigger(api, workflow_id, number=21)

    async def waits():
        found = await api.execution(parent)
        return found if found["status"] == "pending" and found["executedActions"] else None

    waiting = await until(waits, "it waits")
    (begun,) = waiting["executedActions"]
    assert (begun["status"], begun["output"]["executionIds"]) == (
        "waiting",
        [(await api.executions(child))[0]["executionId"]],
    )
    target.release.set()
    execution = await api.finished(parent)
    assert (execution["status"], execution["attempt"]) == ("ok", 1)
    assert [each["status"] for each in execution["executedActions"]] == ["waiting", "ok", "ok"]
    assert execution["executedActions"][-1]["logs"] == ["it is 42"]

    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, workflow_id), Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (1, 0, 0), report.findings


async def test_one_that_is_cancelled_fails_what_waits_for_it(api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [asks(target, child)])
    await api.create(
        workflow_id, [{"type": "trigger-workflow", "workflowId": child, "waitForEnd": "5m", "input": {"item": "a?hold=1"}}]
    )
    parent = await trigger(api, workflow_id)

    async def begun():
        return await api.executions(child)

    (found,) = await until(begun, "the child is started")
    assert (await api.call("POST", f"/executions/{found['executionId']}/cancel"))[0] == 200
    execution = await api.finished(parent)
    assert execution["status"] == "failed"
    error = execution["executedActions"][-1]["error"]
    assert error["class"] == "child-failed"
    assert error["message"] == f"1 of 1 did not succeed: {found['executionId']} cancelled: cancelled by hand"


async def test_what_is_waited_for_is_cancelled_with_what_waits_for_it(api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [asks(target, child)])
    call = {"type": "trigger-workflow", "workflowId": child, "waitForEnd": "5m", "input": {"item": "a?hold=1"}}
    await api.create(workflow_id, [call])
    parent = await trigger(api, workflow_id)

    async def waits():
        return (await api.execution(parent))["waitingFor"]

    await until(waits, "it waits")
    assert (await api.call("POST", f"/executions/{parent}/cancel"))[0] == 200
    (found,) = await api.executions(child)
    cancelled = await api.finished(found["executionId"])
    assert (cancelled["status"], cancelled["reason"]) == (
        "cancelled", f"execution {parent}, which waited for it, was ended",
    )  # fmt: skip


async def test_so_it_is_while_the_list_is_still_being_started(api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [asks(target, child)])
    call = {"type": "trigger-workflow", "workflowId": child, "waitForEnd": "5m", "forEach": ["a?hold=1", "b"]}
    await api.create(workflow_id, [call])
    parent = await trigger(api, workflow_id)

    async def has_begun():
        return [each["executionId"] for each in await api.executions(child)]

    await until(has_begun, "the first is started, and the second waits for its place")
    assert (await api.call("POST", f"/executions/{parent}/cancel"))[0] == 200
    (first,) = await has_begun()
    cancelled = await api.finished(first)
    assert (cancelled["status"], cancelled["reason"]) == (
        "cancelled", f"execution {parent}, which waited for it, was ended",
    )  # fmt: skip


async def test_a_retry_starts_of_a_list_only_what_has_failed(stack, api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [asks(target, child)], overlap={"policy": "allow", "max": 5}, retries=0)
    await api.create(workflow_id, [{**PER_ITEM, "workflowId": child, "waitForEnd": "1m"}], retries=0)
    origin = await trigger(api, workflow_id, numbers=["0", "1?fail=2", "2"])
    failed = await api.finished(origin)
    assert (failed["status"], failed["executedActions"][-1]["error"]["class"]) == ("failed", "child-failed"), failed
    ids = failed["executedActions"][-1]["output"]["executionIds"]

    taken_up = origin
    for status in ("failed", "ok"):
        _, answer = await api.call("POST", f"/executions/{taken_up}/retry")
        taken_up = answer["executionId"]
        ended = await api.finished(taken_up)
        assert (ended["status"], ended["takesUp"]) == (status, True), ended
        waited, done = ended["executedActions"]
        assert waited["logs"][0].endswith(", 2 of them kept: the execution that this one takes up had triggered them")
        now = done["output"]["executionIds"]
        assert (now[0], now[2]) == (ids[0], ids[2])
    assert done["output"]["statuses"] == ["ok"] * 3
    assert [target.count(f"{child}-{number}") for number in (0, 1, 2)] == [1, 3, 1]

    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, workflow_id), Bars(), keep=10)
    assert (report.clean, report.differing, report.uncovered) == (3, 0, 0), report.findings


async def test_a_busy_workflow_fails_the_action_which_is_tried_again_and_finds_what_it_has_started(api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(child, [asks(target, f"{child}")])
    await api.create(
        workflow_id,
        [{**PER_ITEM, "workflowId": child, "timeout": "3s"}],  # within which the first one must be triggered
        backoff={"base": "1s", "cap": "1s", "jitter": "none"},
        retries=50,
    )
    parent = await trigger(api, workflow_id, numbers=["a?hold=1", "b"])

    async def failed():
        return (await api.execution(parent))["executedActions"]

    first = (await until(failed, "the action has failed once"))[0]
    (held,) = await api.executions(child)
    assert first["error"] == {
        "class": "busy",
        "message": f"1 of 2 triggered; workflow {child} is busy: execution {held['executionId']} is open; gave up after 3s",
    }
    target.release.set()
    execution = await api.finished(parent)
    assert execution["status"] == "ok"
    assert execution["executedActions"][-1]["output"]["executionIds"][0] == held["executionId"]
    found = await all_ended(api, child, 2)
    assert [each["status"] for each in found] == ["ok", "ok"], "nothing is recorded as skipped"


async def test_a_workflow_that_starts_itself_for_the_next_page_runs_to_the_last(api, workflow_id):
    again = {
        "type": "trigger-workflow",
        "workflowId": workflow_id,
        "if": "input.page < 3",
        "input": {"page": "{{ input.page + 1 }}"},
    }
    await api.create(workflow_id, [{"type": "log", "message": "{{ input.page }}"}, again], overlap={"policy": "queue"})
    await trigger(api, workflow_id, page=1)
    found = await all_ended(api, workflow_id, 3)
    assert [(each["status"], each["cause"]) for each in found] == [("ok", "workflow"), ("ok", "workflow"), ("ok", "manual")]


@pytest.mark.parametrize("overlap", ["skip", "queue", "cancel-running"])
async def test_a_circle_is_noticed_by_the_step_that_closes_it(api, workflow_id, overlap):
    child = f"{workflow_id}-child"
    call = {"type": "trigger-workflow", "waitForEnd": "1h", "timeout": "1h", "actionId": "call"}
    await api.create(workflow_id, [{**call, "workflowId": child}], overlap={"policy": overlap})
    await api.create(child, [{**call, "workflowId": workflow_id}])
    execution = await api.finished(await trigger(api, workflow_id))
    (closing,) = await api.executions(child)
    error = (await api.execution(closing["executionId"]))["executedActions"][-1]["error"]
    assert error["class"] == "circle"
    assert f"({workflow_id} > {child} > {workflow_id})" in error["message"]
    assert execution["executionId"] in error["message"]
    assert (execution["status"], execution["executedActions"][-1]["error"]["class"]) == ("failed", "child-failed")
    assert len(await api.executions(workflow_id)) == 1, "the step that closes it has started nothing"


async def test_a_runner_that_is_killed_amid_a_list_starts_nothing_twice(stack, api, target, workflow_id):
    child = f"{workflow_id}-child"
    await api.create(workflow_id, [{**PER_ITEM, "workflowId": child, "waitForEnd": "5m"}])
    await api.create(child, [asks(target, child)], overlap={"policy": "allow", "max": 5}, retries=5)
    held = MANY // 3  # from there on they end when they may, so that nobody comes to the end of the list before
    items = [f"{number}?hold=1" if number >= held else f"{number}" for number in range(MANY)]
    parent = await trigger(api, workflow_id, numbers=items)

    async def amid():
        # Before it is known to run, nobody knows that it was begun: the next runner begins it as if for the first time.
        is_known = (await api.execution(parent))["status"] == "running"
        return is_known and len(await api.executions(child)) > held

    await until(amid, "some of the list is started")
    stack.children["runner"].kill(signal.SIGKILL)
    target.release.set()
    execution = await api.finished(parent)
    assert execution["status"] == "ok", execution
    assert [each["why"] for each in execution["restarts"]] == ["lost"]
    done = execution["executedActions"][-1]
    assert done["output"]["statuses"] == ["ok"] * MANY, "it has waited for all of them"
    found = await api.executions(child)
    assert all(each["finishedAt"] <= execution["finishedAt"] for each in found)
    assert [each["executionId"] for each in reversed(found)] == done["output"]["executionIds"]
    assert len({each["executionId"] for each in found}) == MANY
    assert {each["status"] for each in found} == {"ok"}
    given = [(await api.execution(each["executionId"]))["input"]["item"] for each in reversed(found)]
    assert given == items
    await stack.children["runner"].wait_ready()
