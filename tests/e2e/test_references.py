"""Finding executions by a number of the user's own, whichever way they were started."""

import asyncio
import json

import pytest

from apps.cli.progress import Bars
from apps.projection import session
from apps.settings import ServiceSettings
from domain.reference import REFERENCE_RULE
from tests.e2e.conftest import DEADLINE, until

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest.fixture
def found(api):
    async def found(reference, **more):
        query = "".join(f"&{name}={value}" for name, value in more.items())
        status, answer = await api.call("GET", f"/executions?reference={reference}{query}")
        assert status == 200, answer
        return answer["items"]

    return found


async def test_it_comes_with_a_trigger_and_with_a_record_and_the_log_tells_it(
    stack, api, producer, target, found, workflow_id
):
    reference, url = f"order-{workflow_id}", f"{target.url}/{workflow_id}?hold=first"
    await api.create(
        workflow_id,
        [
            {"type": "http-request", "url": url, "method": "GET"},
            {"type": "log", "message": "{{ execution.reference }}"},
        ],
    )
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", {"reference": reference})
    assert status == 202, answer
    (running,) = await found(reference)
    assert (running["executionId"], running["reference"]) == (answer["executionId"], reference)

    async def send():
        record = json.dumps({"workflow_id": workflow_id, "reference": reference}).encode()
        await producer.send_and_wait("workflow.execution", record, key=workflow_id.encode())

    await send()
    (skipped,) = await until(lambda: found(reference, status="skipped"), "the record is skipped")
    target.release.set()
    await api.finished(running["executionId"])
    await send()

    async def both():
        done = await found(reference, status="ok")
        return done if len(done) == 2 else None

    done = await until(both, "what the second record asks for has ended")
    for each in done:
        shown = await api.execution(each["executionId"])
        assert shown["executedActions"][-1]["logs"] == [reference]
    everything = await found(reference)
    assert [each["executionId"] for each in everything] == [
        done[0]["executionId"], skipped["executionId"], running["executionId"],
    ]  # fmt: skip
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, workflow_id), Bars(), keep=10)
    assert (report.clean, report.uncovered, report.findings) == (3, 0, [])


async def test_a_definition_makes_it_of_the_input_whichever_way_that_comes(stack, api, producer, found, workflow_id):
    """Over HTTP, in a record, from the step of another workflow; retry keeps it; the log tells it."""
    order, parent = f"order-{workflow_id}", f"{workflow_id}-all"
    await api.create(
        workflow_id,
        [{"type": "fail", "message": "no luck"}],
        retries=0,
        overlap={"policy": "queue", "max": 9},
        reference="order-{{ input.item }}",
    )
    await api.create(
        parent,
        [{"type": "trigger-workflow", "workflowId": workflow_id, "forEach": [workflow_id, "none", "two\nlines"]}],
    )
    status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger", {"input": {"item": workflow_id}})
    assert status == 202, answer
    record = json.dumps({"workflow_id": workflow_id, "input": {"item": workflow_id}}).encode()
    await producer.send_and_wait("workflow.execution", record, key=workflow_id.encode())
    await api.finished(await api.trigger(parent))

    async def all_of(count):
        every = await api.executions(workflow_id)
        return every if len(every) == count and all(each["status"] == "failed" for each in every) else None

    every = await until(lambda: all_of(5), "all five have ended")
    assert sorted(each["cause"] for each in await found(order)) == ["event", "manual", "workflow"]
    assert sorted(each["cause"] for each in every if each["reference"] is None) == ["workflow"]
    assert [each["reference"] for each in every if each["reference"] not in (order, None)] == ["order-none"]
    origin = (await found(order))[0]["executionId"]
    assert (await api.call("POST", f"/executions/{origin}/retry"))[0] == 202
    await until(lambda: all_of(6), "the retry has ended")
    assert (await found(order))[0]["originId"] == origin
    settings = ServiceSettings(kafka_bootstrap=stack.kafka_bootstrap, mongodb_url=stack.mongodb_url)
    report = await session.verify(session.Target(settings, workflow_id), Bars(), keep=10)
    assert (report.clean, report.uncovered, report.findings) == (6, 0, [])


async def test_a_record_with_what_is_no_reference_is_a_dead_letter_that_says_so(api, producer, dead_letters, workflow_id):
    await api.create(workflow_id, [{"type": "log", "message": "x"}])
    for value, reason in (("two\nlines", f"reference: {REFERENCE_RULE}"), (17, "reference: Input should be a valid string")):
        record = json.dumps({"workflow_id": workflow_id, "reference": value}).encode()
        sent = await producer.send_and_wait("workflow.execution", record, key=workflow_id.encode())

        async def ours(sent=sent):
            while True:
                letter = json.loads((await dead_letters.getone()).value)
                if (letter["partition"], letter["offset"]) == (sent.partition, sent.offset):
                    return letter

        assert (await asyncio.wait_for(ours(), timeout=DEADLINE))["reason"] == reason
    assert await api.executions(workflow_id) == []
