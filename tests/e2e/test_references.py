"""Finding executions by a number of the user's own, whichever way they were started."""

import asyncio
import json

import pytest

from apps.cli.progress import Bars
from apps.projection import session
from apps.settings import ServiceSettings
from domain.reference import REFERENCE_RULE
from tests.e2e.conftest import until

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

        assert (await asyncio.wait_for(ours(), timeout=30))["reason"] == reason
    assert await api.executions(workflow_id) == []
