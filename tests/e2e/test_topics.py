"""The topics on a real broker: how long they keep what."""

from datetime import timedelta

import pytest
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from events.broker import Broker
from events.provision import ensure_topics
from events.retentions import Retentions
from events.topics import ALL, EXECUTION

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_retention_that_is_changed_counts_for_topics_that_are_there(stack):
    there = Broker(stack.kafka_bootstrap)
    admin = there.admin()
    await admin.start()

    async def configured(name):
        (answer,) = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, each.name, configs={name: None}) for each in ALL]
        )
        return [entry[1] for *_, entries in answer.resources for entry in entries]

    day = 86_400_000
    usual = [31 * day, 31 * day, 31 * day, day, 30 * day]
    try:
        assert list(map(int, await configured("retention.ms"))) == usual
        assert list(map(int, await configured("max.message.bytes"))) == [1_048_588] * 4 + [3_145_728]
        # Somebody has set something else by hand, which is to be left alone.
        by_hand = {"retention.ms": str(31 * day), "segment.ms": "3600000"}
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, EXECUTION.name, configs=by_hand)])
        changed = Retentions(history=timedelta(days=2), dead_letters=timedelta(days=90))
        await ensure_topics(there, retentions=changed)
        assert list(map(int, await configured("retention.ms"))) == [2 * day, 2 * day, 2 * day, day, 90 * day]
        assert (await configured("segment.ms"))[0] == "3600000"
    finally:
        await ensure_topics(there)
        await admin.close()
