"""Kafka and the database, as their clients see them: they answer, keep what they acknowledged, and come back."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError
from pymongo import AsyncMongoClient

from apps.standalone.errors import DataDirInUse, PortGivenTwice, PortInUse
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Dependencies, on_free_ports

pytestmark = pytest.mark.asyncio(loop_scope="module")
TOPIC = "standalone-test"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dependencies(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dependencies]:
    settings = on_free_ports(StandaloneSettings(data_dir=tmp_path_factory.mktemp("data")))
    async with Dependencies(settings) as running:
        yield running


async def _publish(dependencies: Dependencies, value: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=dependencies.kafka_bootstrap, acks="all")
    await producer.start()
    try:
        await producer.send_and_wait(TOPIC, value, partition=0)
    finally:
        await producer.stop()


async def _published(dependencies: Dependencies) -> list[bytes]:
    consumer = AIOKafkaConsumer(bootstrap_servers=dependencies.kafka_bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        partition = TopicPartition(TOPIC, 0)
        consumer.assign([partition])
        end = (await consumer.end_offsets([partition]))[partition]
        values: list[bytes] = []
        while len(values) < end:
            values += [record.value for record in (await consumer.getmany(timeout_ms=1000)).get(partition, [])]
        return values
    finally:
        await consumer.stop()


async def _topics(dependencies: Dependencies) -> list[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=dependencies.kafka_bootstrap)
    await admin.start()
    try:
        return list(await admin.list_topics())
    finally:
        await admin.close()


async def _create_topic(dependencies: Dependencies) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=dependencies.kafka_bootstrap)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, num_partitions=1, replication_factor=1)])
    finally:
        await admin.close()


async def _insert(dependencies: Dependencies, name: str) -> None:
    async with AsyncMongoClient[dict[str, str]](dependencies.mongodb_url) as client:
        await client.test.names.insert_one({"_id": name})


async def _inserted(dependencies: Dependencies) -> list[str]:
    async with AsyncMongoClient[dict[str, str]](dependencies.mongodb_url) as client:
        return sorted([document["_id"] async for document in client.test.names.find()])


async def test_what_was_acknowledged_survives_restarts_and_kill_9(dependencies: Dependencies) -> None:
    await _create_topic(dependencies)
    await _publish(dependencies, b"first")
    await _insert(dependencies, "first")

    await dependencies.stop()
    assert not any(child.running for child in dependencies.children.values())
    await dependencies.start()
    assert await _published(dependencies) == [b"first"]
    assert await _inserted(dependencies) == ["first"]

    await _publish(dependencies, b"second")
    await _insert(dependencies, "second")
    for child in dependencies.children.values():
        launches = child.launches
        child.kill(signal.SIGKILL)
        await child.wait_relaunched(launches)
    for child in dependencies.children.values():
        await child.wait_ready()
    assert await _published(dependencies) == [b"first", b"second"]
    assert await _inserted(dependencies) == ["first", "second"]


def _is_halted(pid: int | None) -> bool:
    """Tell whether a process stands still: on a busy machine some of its threads answer for a moment after the signal."""
    threads = Path(f"/proc/{pid}/task")
    if not threads.exists():
        return True  # not told on this system
    try:
        # The state follows the name, which may hold anything, in brackets.
        states = [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads.iterdir()]
    except OSError:
        return False  # a thread ended meanwhile
    return set(states) <= {"T", "t"}


async def test_a_halted_server_is_not_ready_until_it_continues(dependencies: Dependencies) -> None:
    for child in dependencies.children.values():
        child.kill(signal.SIGSTOP)
        try:
            while not _is_halted(child.pid):  # noqa: ASYNC110 - the system tells nobody of it
                await asyncio.sleep(0.01)
            assert not await child.is_ready(), child.name
        finally:
            child.kill(signal.SIGCONT)
        await child.wait_ready()


async def test_kafka_creates_no_topic_by_itself(dependencies: Dependencies) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=dependencies.kafka_bootstrap, request_timeout_ms=1000)
    await producer.start()
    try:
        with pytest.raises(KafkaError):
            await producer.send_and_wait("never-created", b"value")
    finally:
        await producer.stop()
    assert "never-created" not in await _topics(dependencies)


async def test_kafka_can_be_wiped(dependencies: Dependencies) -> None:
    await dependencies.wipe_kafka()
    assert TOPIC not in await _topics(dependencies)
    assert await _inserted(dependencies)


async def test_a_second_one_on_the_same_data_is_refused(dependencies: Dependencies) -> None:
    second = Dependencies(on_free_ports(dependencies.settings))
    with pytest.raises(DataDirInUse, match="another `wf up`"):
        await second.start()
    assert not any(child.running for child in second.children.values())
    assert all([await child.is_ready() for child in dependencies.children.values()])


@pytest.mark.parametrize(
    ("field", "option"), [("kafka_port", "--kafka-port"), ("mongodb_port", "--mongodb-port")], ids=["kafka", "mongodb"]
)
async def test_a_taken_port_is_named(
    dependencies: Dependencies, tmp_path_factory: pytest.TempPathFactory, field: str, option: str
) -> None:
    taken = getattr(dependencies.settings, field)
    settings = on_free_ports(StandaloneSettings(data_dir=tmp_path_factory.mktemp("other")))
    other = Dependencies(settings.model_copy(update={field: taken}))
    with pytest.raises(PortInUse, match=f"port {taken} .*{option}"):
        await other.start()
    assert not any(child.launches for child in other.children.values())


async def test_one_port_for_two_is_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    settings = on_free_ports(StandaloneSettings(data_dir=tmp_path_factory.mktemp("twice")))
    other = Dependencies(settings.model_copy(update={"mongodb_port": settings.kafka_port}))
    with pytest.raises(PortGivenTwice):
        await other.start()
