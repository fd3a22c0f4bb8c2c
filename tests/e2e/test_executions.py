"""Create, trigger, retry, overlap: the main job through HTTP and Kafka."""

import asyncio
import base64
import hashlib
import hmac
import json

import aiohttp
import pytest

from tests.e2e.conftest import DEADLINE, until

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "hello"}


async def test_a_triggered_workflow_runs_its_actions_in_order(api, target, workflow_id):
    await api.create(workflow_id, [LOG, {"type": "http-request", "url": f"{target.url}/{workflow_id}", "method": "GET"}])
    assert await api.status_of(workflow_id) == "idle"
    execution = await api.finished(await api.trigger(workflow_id))
    assert execution["status"] == "ok"
    assert execution["totalActions"] == 2
    assert [(a["actionId"], a["status"], a["logs"]) for a in execution["executedActions"]] == [
        ("log-1", "ok", ["hello"]),
        ("http-request-2", "ok", [f"{target.url}/{workflow_id} [STATUS 200] => {f'hello {workflow_id}'[:50]}"]),
    ]
    assert execution["createdAt"] <= execution["startedAt"] <= execution["finishedAt"]
    assert await api.status_of(workflow_id) == "idle"


async def test_a_failing_action_is_retried_until_it_recovers_and_what_succeeded_is_not_repeated(api, target, workflow_id):
    first, second = f"{workflow_id}-1", f"{workflow_id}-2"
    await api.create(
        workflow_id,
        [
            {"type": "http-request", "url": f"{target.url}/{first}", "method": "POST", "json": {"n": 1}},
            {"type": "http-request", "url": f"{target.url}/{second}?fail=2", "method": "GET"},
        ],
        backoff={"base": "1s", "cap": "1s"},
    )
    execution_id = await api.trigger(workflow_id)
    execution = await api.finished(execution_id)
    assert execution["status"] == "ok"
    assert execution["attempt"] == 3
    assert execution["retriesLeft"] == 1
    assert (target.count(first), target.count(second)) == (1, 3)
    keys = {request.headers["Idempotency-Key"] for request in target.requests[second]}
    assert keys == {f"{execution_id}:http-request-2"}


async def test_a_failing_action_ends_failed_when_its_retries_are_used_up(api, target, workflow_id):
    await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{target.url}/{workflow_id}?fail=99", "method": "GET"}, LOG],
        retries=1,
        backoff={"base": "1s", "cap": "1s"},
    )
    execution = await api.finished(await api.trigger(workflow_id))
    assert (execution["status"], execution["retriesLeft"], execution["attempt"]) == ("failed", 0, 2)
    assert execution["lastFailedAction"] == "http-request-1"
    assert "503" in execution["reason"]
    assert target.count(workflow_id) == 2
    assert await api.status_of(workflow_id) == "idle"


async def test_a_busy_or_pending_workflow_refuses_another_trigger(api, target, workflow_id):
    await api.create(
        workflow_id,
        [{"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1&fail=1", "method": "GET"}],
        backoff={"base": "2s", "cap": "2s", "jitter": "none"},
    )
    execution_id = await api.trigger(workflow_id)

    async def refused_as(expected):
        status, answer = await api.call("POST", f"/workflows/{workflow_id}/trigger")
        assert status == 409
        assert answer["status"] == "workflow in progress"
        assert answer["executionId"] == execution_id
        return answer["triggerStatus"] == expected

    await until(lambda: refused_as("pending"), "the workflow waits for its retry")
    await until(lambda: refused_as("busy"), "the workflow runs")
    target.release.set()
    assert (await api.finished(execution_id))["status"] == "ok"
    await api.finished(await api.trigger(workflow_id))


async def test_fifty_triggers_at_once_start_one_execution(api, target, workflow_id):
    await api.create(workflow_id, [{"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}])
    answers = await asyncio.gather(*(api.call("POST", f"/workflows/{workflow_id}/trigger") for _ in range(50)))
    accepted = [answer["executionId"] for status, answer in answers if status == 202]
    assert len(accepted) == 1
    assert {status for status, _ in answers} == {202, 409}
    target.release.set()
    assert (await api.finished(accepted[0]))["status"] == "ok"
    assert target.count(workflow_id) == 1
    assert len(await api.executions(workflow_id)) == 1


async def letter_of(dead_letters, sent):
    """Return the dead letter of a record."""

    async def ours():
        while True:
            letter = json.loads((await dead_letters.getone()).value)
            if (letter["topic"], letter["partition"], letter["offset"]) == (sent.topic, sent.partition, sent.offset):
                return letter

    return await asyncio.wait_for(ours(), timeout=DEADLINE)


async def test_a_record_published_straight_to_kafka_starts_an_execution(api, producer, workflow_id):
    await api.create(workflow_id, [LOG])
    await producer.send_and_wait(
        "workflow.execution", json.dumps({"workflow_id": workflow_id}).encode(), key=workflow_id.encode()
    )

    async def one():
        executions = await api.executions(workflow_id)
        return executions if executions and executions[0]["status"] == "ok" else None

    (execution,) = await until(one, "the execution finishes")
    assert execution["cause"] == "event"


async def test_a_record_without_a_key_runs_as_well_and_an_id_makes_it_idempotent(api, producer, workflow_id):
    await api.create(workflow_id, [LOG])
    execution_id = "019ab5d0-0000-7000-8000-" + workflow_id[-6:].rjust(12, "0")
    value = json.dumps({"workflow_id": workflow_id, "execution_id": execution_id}).encode()
    for _ in range(3):
        await producer.send_and_wait("workflow.execution", value)

    async def there():
        status, _ = await api.call("GET", f"/executions/{execution_id}")
        return status == 200

    await until(there, "the execution exists")
    assert (await api.finished(execution_id))["status"] == "ok"
    await producer.send_and_wait("workflow.execution", value, key=workflow_id.encode())
    other = await api.trigger(workflow_id)
    await api.finished(other)
    assert {execution["executionId"] for execution in await api.executions(workflow_id)} == {execution_id, other}


async def test_a_record_tells_an_execution_what_it_waits_for(api, producer, dead_letters, workflow_id):
    told = {"type": "log", "message": "by {{ actions.approve.output.payload.by }}"}
    await api.create(workflow_id, [{"type": "wait-for-signal", "actionId": "approve"}, told])
    execution_id = await api.trigger(workflow_id)
    signal = {"workflow_id": workflow_id, "execution_id": execution_id, "signal": "approve", "payload": {"by": "Ada"}}
    for _ in range(2):
        await producer.send_and_wait("workflow.signal", json.dumps(signal).encode(), key=workflow_id.encode())
    execution = await api.finished(execution_id)
    assert (execution["status"], execution["executedActions"][-1]["logs"]) == ("ok", ["by Ada"])
    signal["payload"] = {"by": "Bob"}
    value = json.dumps(signal).encode()
    sent = await producer.send_and_wait("workflow.signal", value, key=workflow_id.encode())
    letter = await letter_of(dead_letters, sent)
    assert "with another payload; that one counts" in letter["reason"]


@pytest.mark.parametrize(
    ("overlap", "records", "said"),
    [
        ("skip", 1, " was still open"),
        ({"policy": "allow", "max": 1}, 1, " was still open, and at most 1 may run at once"),
        ("queue", 2, " was still open, and at most 1 may wait"),
    ],
)
async def test_a_record_for_a_busy_workflow_is_recorded_as_skipped(
    api, producer, target, workflow_id, overlap, records, said
):
    action = {"type": "http-request", "url": f"{target.url}/{workflow_id}?hold=1", "method": "GET"}
    await api.create(workflow_id, [action], overlap=overlap)
    running = await api.trigger(workflow_id)
    for _ in range(records):
        await producer.send_and_wait(
            "workflow.execution", json.dumps({"workflow_id": workflow_id}).encode(), key=workflow_id.encode()
        )

    async def skipped():
        return [e for e in await api.executions(workflow_id) if e["status"] == "skipped"]

    (execution,) = await until(skipped, "the last one is skipped")
    assert execution["reason"].startswith("skipped: execution ")
    assert execution["reason"].endswith(said)
    assert overlap == "queue" or running in execution["reason"]
    target.release.set()
    await api.finished(running)


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        ("no JSON", b"{oops", "Invalid JSON"),
        ("no workflow", b"{}", "workflow_id"),
        ("bad id", b'{"workflow_id": "a b"}', "workflow_id"),
        ("unknown workflow", b'{"workflow_id": "nobody-knows-me"}', "does not exist"),
        ("bad execution id", b'{"workflow_id": "x", "execution_id": "7"}', "execution_id"),
    ],
)
async def test_a_malformed_record_is_dead_lettered_and_stops_nothing(
    api, producer, dead_letters, workflow_id, word, value, reason
):
    await api.create(workflow_id, [LOG])
    sent = await producer.send_and_wait("workflow.execution", value, key=workflow_id.encode())
    letter = await letter_of(dead_letters, sent)
    assert reason in letter["reason"]
    assert base64.b64decode(letter["value"]) == value
    assert (await api.finished(await api.trigger(workflow_id)))["status"] == "ok"


async def test_a_webhook_starts_a_workflow_with_what_was_sent(stack, api, workflow_id):
    await api.call("PUT", "/secrets/hook", {"value": "a secret of a sender"})
    logged = {"type": "log", "message": "{{ input.headers['x-event'] }} {{ input.body.number + 1 }} {{ trigger.cause }}"}
    webhook = {"type": "hmac", "keySecret": "hook", "header": "X-Signature", "deliveryHeader": "X-Delivery"}
    await api.create(workflow_id, [logged], webhook=webhook)
    body = b'{"number": 41}'
    signature = hmac.new(b"a secret of a sender", body, hashlib.sha256).hexdigest()
    headers = {"X-Signature": signature, "X-Delivery": "1", "X-Event": "opened", "Content-Type": "application/json"}
    url = f"{stack.api_url}/v1/workflows/{workflow_id}/webhook"
    async with aiohttp.ClientSession() as sender:
        answers = []
        for _ in range(2):
            async with sender.post(url, data=body, headers=headers) as response:
                answers.append((response.status, await response.json()))
        async with sender.post(url, data=body + b" ", headers=headers) as response:
            assert response.status == 403
    assert answers[0] == answers[1]
    execution = await api.finished(answers[0][1]["executionId"])
    assert execution["executedActions"][0]["logs"] == ["opened 42 webhook"]
    assert len(await api.executions(workflow_id)) == 1
