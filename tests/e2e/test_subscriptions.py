"""Topics that workflows are subscribed to: each record starts one execution."""

import asyncio
import json
import signal
import uuid

import pytest
import pytest_asyncio
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic

from tests.e2e.conftest import until
from tests.e2e.test_executions import letter_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "{{ input.value }}"}


@pytest_asyncio.fixture(loop_scope="session")
async def admin(stack):
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka_bootstrap)
    await admin.start()
    yield admin
    await admin.close()


@pytest_asyncio.fixture(loop_scope="session")
async def make_topic(admin):
    async def make(name, partitions=1):
        await admin.create_topics([NewTopic(name, partitions, 1)])
        return name

    return make


@pytest.fixture
def topic_name():
    return f"orders-{uuid.uuid4().hex[:8]}"


@pytest_asyncio.fixture(loop_scope="session")
async def subscribe(api):
    """Create workflows that are archived when the test is over, so that nobody reads for them any more."""
    made = []

    async def subscribe(workflow_id, topic, actions=(LOG,), overlap={"policy": "allow", "max": 100}, **more):
        kafka = {"topic": topic, **more.pop("kafka", {})}
        await api.create(workflow_id, list(actions), kafka=kafka, overlap=overlap, **more)
        made.append(workflow_id)

    yield subscribe
    for workflow_id in made:
        await api.call("DELETE", f"/workflows/{workflow_id}")


async def started(api, workflow_id, count, ended=True):
    """Return the executions of a workflow when there are as many, the first one first."""

    async def are_there():
        found = await api.executions(workflow_id)
        is_over = not ended or all(each["finishedAt"] for each in found)
        return found[::-1] if len(found) >= count and is_over else None

    found = await until(are_there, f"{workflow_id} is started {count} times")
    assert len(found) == count
    return [await api.execution(each["executionId"]) for each in found]


async def until_read(api, producer, workflow_id, topic, partition=0):
    """Return when the topic is read for the workflow."""
    await producer.send_and_wait(topic, b'"first"', partition=partition)
    await started(api, workflow_id, 1)


def told(execution):
    return execution["executedActions"][0]["logs"]


async def test_each_record_since_the_workflow_was_created_starts_one_execution(
    api, producer, make_topic, subscribe, topic_name, workflow_id
):
    topic = await make_topic(topic_name, 3)
    await producer.send_and_wait(topic, b'"before"', partition=0)
    await subscribe(workflow_id, topic)
    # Nobody reads yet: what comes in between is not lost.
    sent = await producer.send_and_wait(
        topic, b'{"order": 17}', key=b"k", partition=1, headers=[("a", b"1"), ("a", b"2"), ("b", None)]
    )
    (execution,) = await started(api, workflow_id, 1)
    assert (execution["cause"], execution["status"], told(execution)) == ("event", "ok", ["{'order': 17}"])
    assert execution["input"] == {
        "topic": topic,
        "partition": 1,
        "offset": sent.offset,
        "key": "k",
        "timestamp": execution["createdAt"],
        "headers": {"a": ["1", "2"], "b": None},
        "value": {"order": 17},
    }
    await producer.send_and_wait(topic, b"plain text", partition=0)
    await producer.send_and_wait(topic, b"\xff\x00", partition=0)
    await producer.send_and_wait(topic, None, key=b"gone", partition=0)
    executions = await started(api, workflow_id, 4)
    found = {(each["input"]["value"], each["input"].get("base64")) for each in executions[1:]}
    assert found == {("plain text", None), (None, "/wA="), (None, None)}


async def test_from_earliest_begins_with_what_is_there_and_two_workflows_read_one_topic(
    api, producer, make_topic, subscribe, topic_name, workflow_id
):
    topic, other = await make_topic(topic_name), f"{workflow_id}-2"
    for number in range(3):
        await producer.send_and_wait(topic, str(number).encode())
    await subscribe(workflow_id, topic, kafka={"from": "earliest"})
    await subscribe(other, topic)
    await producer.send_and_wait(topic, b"3")
    assert [each["input"]["value"] for each in await started(api, workflow_id, 4)] == [0, 1, 2, 3]
    assert [each["input"]["value"] for each in await started(api, other, 1)] == [3]
