"""Topics that workflows are subscribed to: each record starts one execution."""

import asyncio
import json
import signal
import time
import uuid

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.records_to_delete import RecordsToDelete

from events.broker import Broker, close
from tests.cli.wf_process import environment
from tests.e2e.conftest import until
from tests.e2e.test_executions import letter_of

pytestmark = pytest.mark.asyncio(loop_scope="session")

LOG = {"type": "log", "message": "{{ input.value }}"}
ALL_AT_ONCE = {"policy": "allow", "max": 100}


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

    async def subscribe(workflow_id, topic, actions=(LOG,), overlap=ALL_AT_ONCE, **more):
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


async def measured(stack, api, topic):
    """Return what the runner's metrics tell of a topic of one partition."""
    async with api.session.get(f"{stack.workers['runner'].url}/metrics") as response:
        lines = [line for line in (await response.text()).splitlines() if f'topic="{topic}"' in line]
    lags = [float(line.split()[-1]) for line in lines if line.startswith("runner_subscription_lag{")]
    started = [float(line.split()[-1]) for line in lines if 'outcome="started"' in line]
    return lags, started


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
    assert (execution["cause"], execution["status"], told(execution)) == ("event", "ok", ['{"order":17}'])
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


async def test_records_wait_for_a_place_in_their_order_and_none_is_skipped(
    stack, api, producer, target, make_topic, subscribe, topic_name, workflow_id
):
    topic, key = await make_topic(topic_name), workflow_id
    request = {"type": "http-request", "method": "GET", "url": f"{target.url}/{key}?hold=first&at={{{{ input.offset }}}}"}
    for number in range(6):
        await producer.send_and_wait(topic, str(number).encode())
    await subscribe(workflow_id, topic, [request], overlap="skip", kafka={"from": "earliest"})

    async def is_held():
        return target.count(key) == 1

    async def is_behind():
        return await measured(stack, api, topic) == ([5], [1])

    async def is_done():
        return await measured(stack, api, topic) == ([0], [6])

    await until(is_held, "the first one runs")
    await until(is_behind, "the metrics tell how many wait")
    assert len(await api.executions(workflow_id)) == 1
    target.release.set()
    executions = await started(api, workflow_id, 6)
    await until(is_done, "the metrics tell that none waits")
    assert {each["status"] for each in executions} == {"ok"}
    assert [request.query["at"] for request in target.requests[key]] == [*"012345"]


async def test_records_that_may_run_at_once_are_handed_out_in_their_order(
    stack, api, producer, make_topic, subscribe, topic_name, workflow_id
):
    topic = await make_topic(topic_name)
    await asyncio.gather(*[await producer.send(topic, str(number).encode()) for number in range(60)])
    await subscribe(workflow_id, topic, kafka={"from": "earliest"})
    executions = await started(api, workflow_id, 60)
    assert sorted(each["input"]["value"] for each in executions) == list(range(60))
    ids = {each["executionId"]: each["input"]["value"] for each in executions}
    handed_out = {}  # for the first time: one that waits for long may be handed out again
    async with AIOKafkaConsumer(
        "workflow.execution", bootstrap_servers=stack.kafka_bootstrap, auto_offset_reset="earliest"
    ) as consumer:
        while len(handed_out) < 60:
            record = await consumer.getone()
            if record.key == workflow_id.encode():  # other tests ask for executions, too, by odd records
                handed_out.setdefault(ids[json.loads(record.value)["execution_id"]])
    assert [*handed_out] == list(range(60))


async def test_what_is_queued_runs_in_the_order_of_the_records_of_one_millisecond(
    api, producer, make_topic, subscribe, topic_name, workflow_id
):
    topic = await make_topic(topic_name)
    await subscribe(workflow_id, topic, overlap={"policy": "queue", "max": 3}, kafka={"from": "earliest"})
    at = int(time.time() * 1000)
    sending = [await producer.send(topic, str(number).encode(), timestamp_ms=at) for number in range(12)]
    await asyncio.gather(*sending)
    executions = await started(api, workflow_id, 12)
    executions.sort(key=lambda each: each["startedAt"])
    assert [each["input"]["value"] for each in executions] == list(range(12))


@pytest.mark.parametrize(
    ("word", "value", "reason"),
    [
        ("not as the schema says", b"text", 'input.value: "text" is not of type "object"'),
        ("a key twice", b'{"a": 1, "a": 2}', "value: a is given twice in one object"),
        ("too large", json.dumps({"a": "x" * 300_000}).encode(), "input: must be at most 262144 bytes"),
        ("a number too large", b'{"a": 1e999}', "input.value.a: is not a number"),
        ("too deep", b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "value is nested deeper than"),
    ],
)
async def test_what_cannot_be_started_is_a_dead_letter_and_passed_over(
    api, producer, dead_letters, make_topic, subscribe, topic_name, workflow_id, word, value, reason
):
    topic = await make_topic(topic_name)
    await subscribe(workflow_id, topic, inputSchema={"properties": {"value": {"type": "object"}}})
    sent = await producer.send_and_wait(topic, value)
    await producer.send_and_wait(topic, b'{"good": true}')
    letter = await letter_of(dead_letters, sent)
    assert letter["reason"].startswith(f"workflow {workflow_id}: {reason}")
    (execution,) = await started(api, workflow_id, 1)
    assert execution["input"]["value"] == {"good": True}


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
async def test_compressed_records_are_read(stack, api, make_topic, subscribe, topic_name, workflow_id, codec):
    if codec != "gzip":
        pytest.importorskip("cramjam")  # an environment may be older than this dependency
    topic = await make_topic(topic_name)
    await subscribe(workflow_id, topic)
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, compression_type=codec) as producer:
        await producer.send_and_wait(topic, json.dumps(codec * 100).encode())
    (execution,) = await started(api, workflow_id, 1)
    assert execution["input"]["value"] == codec * 100


async def test_the_history_of_what_records_have_started_can_be_verified(
    stack, processes, api, producer, make_topic, subscribe, topic_name, workflow_id, tmp_path
):
    topic = await make_topic(topic_name)
    await subscribe(workflow_id, topic, overlap="queue")
    for number in range(5):
        await producer.send_and_wait(topic, str(number).encode(), timestamp_ms=1000 if number == 4 else None)
    await started(api, workflow_id, 5)
    names = {"KAFKA_BOOTSTRAP": stack.kafka_bootstrap, "MONGODB_URL": stack.mongodb_url}
    result = await processes.run("verify", "--json", cwd=tmp_path, env={**environment(stack.api_url, 200), **names})
    assert result.code == 0, result.out + result.err


async def test_what_a_transaction_took_back_starts_nothing(stack, api, make_topic, subscribe, topic_name, workflow_id):
    topic = await make_topic(topic_name)
    await subscribe(workflow_id, topic)
    async with AIOKafkaProducer(bootstrap_servers=stack.kafka_bootstrap, transactional_id=topic) as producer:
        for value, is_kept in ((b"1", False), (b"2", True)):
            await producer.begin_transaction()
            await producer.send_and_wait(topic, value)
            await (producer.commit_transaction() if is_kept else producer.abort_transaction())
    (execution,) = await started(api, workflow_id, 1)
    assert execution["input"]["value"] == 2


async def test_a_topic_may_come_later_and_its_records_are_all_started(
    stack, api, producer, make_topic, subscribe, topic_name, workflow_id
):
    await subscribe(workflow_id, topic_name)

    def told_of_it():
        return [line for line in stack.lines if "waiting for a topic" in line and topic_name in line]

    async def is_awaited():
        return told_of_it()

    await until(is_awaited, "the runner says that it waits")
    await make_topic(topic_name)
    await producer.send_and_wait(topic_name, b"1")
    await started(api, workflow_id, 1)
    assert len(told_of_it()) == 1


async def test_a_subscription_to_another_topic_leaves_the_first_and_to_it_again_begins_anew(
    api, producer, make_topic, subscribe, topic_name, workflow_id
):
    first, second = await make_topic(topic_name), await make_topic(f"{topic_name}-2")
    await subscribe(workflow_id, first)
    await until_read(api, producer, workflow_id, first)

    async def name(topic):
        body = {"trigger": {"type": "manual"}, "actions": [LOG], "overlap": "allow", "kafka": topic and {"topic": topic}}
        status, answer = await api.call("PUT", f"/workflows/{workflow_id}", body)
        assert status == 200, answer

    await name(second)
    await producer.send_and_wait(first, b'"left"')
    await producer.send_and_wait(second, b'"second"')
    await started(api, workflow_id, 2)
    await name(None)
    await producer.send_and_wait(first, b'"meanwhile"')
    await name(first)
    await producer.send_and_wait(first, b'"third"')
    executions = await started(api, workflow_id, 3)
    assert [each["input"]["value"] for each in executions] == ["first", "second", "third"]


async def members(admin, workflow_id):
    """Return how many read for each group of a workflow."""
    groups = [group for group, _ in await admin.list_consumer_groups() if group.startswith(f"workflow.{workflow_id}.")]
    return [await members_of(admin, group) for group in groups]


async def members_of(admin, group):
    (answer,) = await admin.describe_consumer_groups([group])
    (described,) = answer.groups
    return len(described[5])


async def test_nobody_reads_for_an_archived_workflow(api, producer, admin, make_topic, subscribe, topic_name, workflow_id):
    topic = await make_topic(topic_name)
    await subscribe(workflow_id, topic)
    await until_read(api, producer, workflow_id, topic)
    assert await members(admin, workflow_id) == [1]
    await api.call("DELETE", f"/workflows/{workflow_id}")
    await producer.send_and_wait(topic, b'"late"')

    async def nobody():
        return await members(admin, workflow_id) == [0]

    await until(nobody, "the group is left")
    assert len(await api.executions(workflow_id)) == 1


async def test_what_is_gone_before_it_is_read_is_told_and_the_rest_is_started(
    stack, api, producer, admin, make_topic, subscribe, topic_name, workflow_id
):
    topic = await make_topic(topic_name)
    await subscribe(workflow_id, topic)
    await until_read(api, producer, workflow_id, topic)
    runner = stack.children["runner"]
    await runner.stop()
    for number in range(1, 6):
        await producer.send_and_wait(topic, str(number).encode())
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=4)})
    await runner.start()
    await runner.wait_ready()
    executions = await started(api, workflow_id, 3)
    assert [each["input"]["value"] for each in executions] == ["first", 4, 5]
    assert [line for line in stack.lines if "records were gone before they were read" in line and topic in line]


async def test_what_cannot_be_read_holds_up_nothing_before_it_nor_beside_it_and_can_be_passed(
    stack, api, producer, admin, make_topic, subscribe, topic_name, workflow_id
):
    topic = await make_topic(topic_name, 2)
    await producer.send_and_wait(topic, b'"before"', partition=0)
    bad = await producer.send_and_wait(topic, b'"damaged"', partition=0)
    await producer.send_and_wait(topic, b'"behind"', partition=0)
    await producer.send_and_wait(topic, b'"beside"', partition=1)
    (segment,) = (stack.children["kafka"].log_dir / f"{topic}-0").glob("*.log")
    with segment.open("r+b") as written:
        written.seek(written.read().index(b"damaged"))
        written.write(b"demaged")
    await subscribe(workflow_id, topic, kafka={"from": "earliest"})
    executions = await started(api, workflow_id, 2)
    assert {each["input"]["value"] for each in executions} == {"before", "beside"}

    async def stops():
        async with api.session.get(f"{stack.workers['runner'].url}/metrics") as response:
            lines = (await response.text()).splitlines()
        return [line for line in lines if "unreadable_offset{" in line and f'topic="{topic}"' in line]

    (stop,) = await until(stops, "the metrics tell where it stands still")
    assert 'partition="0"' in stop
    assert float(stop.split()[-1]) == bad.offset
    assert [line for line in stack.lines if "stands still" in line and topic in line]
    await admin.delete_records({TopicPartition(topic, 0): RecordsToDelete(before_offset=bad.offset + 1)})
    executions = await started(api, workflow_id, 3)
    assert sorted(each["input"]["value"] for each in executions) == ["before", "behind", "beside"]

    async def goes_on():
        return not await stops()

    await until(goes_on, "the metrics tell that it goes on")


async def test_two_runners_share_the_partitions(stack, api, producer, admin, make_topic, subscribe, topic_name, workflow_id):
    topic = await make_topic(topic_name, 4)
    second = await stack.add_worker("runner")
    try:
        await subscribe(workflow_id, topic)

        async def both():
            return await members(admin, workflow_id) == [2]

        await until(both, "both runners are in the group")
        await asyncio.gather(*(producer.send_and_wait(topic, str(number).encode()) for number in range(40)))
        executions = await started(api, workflow_id, 40)
        assert sorted(each["input"]["value"] for each in executions) == list(range(40))
    finally:
        await stack.remove_worker(second.name)
    assert await members(admin, workflow_id) == [1], "the one that was stopped has left"


async def test_a_reader_that_is_stopped_while_it_joins_its_group_is_no_member(stack, admin, make_topic, topic_name):
    topic = await make_topic(topic_name)
    there = Broker(stack.kafka_bootstrap)
    # It looks every 10 s whether somebody has joined.
    slow = there.consumer(topic, group_id=topic, session_timeout_ms=40_000, heartbeat_interval_ms=10_000)
    await slow.start()
    joining = there.consumer(topic, group_id=topic)
    starting = asyncio.create_task(joining.start())
    try:

        async def both():
            return await members_of(admin, topic) == 2

        await until(both, "the group awaits the first one")
        starting.cancel()
        await close(joining)
        assert await members_of(admin, topic) == 1
        assert joining._coordinator._coordination_task.done(), "nothing is left of it"
    finally:
        starting.cancel()
        await close(slow)


async def test_a_runner_that_is_killed_amid_the_records_loses_none_and_starts_none_twice(
    stack, api, producer, make_topic, subscribe, topic_name, workflow_id
):
    topic = await make_topic(topic_name, 3)
    await subscribe(workflow_id, topic)
    sending = [await producer.send(topic, str(number).encode()) for number in range(200)]
    await asyncio.gather(*sending)

    async def some():
        return len(await api.executions(workflow_id)) >= 30

    await until(some, "some are started")
    stack.children["runner"].kill(signal.SIGKILL)
    executions = await started(api, workflow_id, 200)
    assert {each["status"] for each in executions} == {"ok"}
    assert sorted(each["input"]["value"] for each in executions) == list(range(200))
    await stack.children["runner"].wait_ready()
