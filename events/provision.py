"""Creates the topics, once; a topic that is there is left as it is."""

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError, for_code

from events.topics import ALL, PARTITIONS


class WrongPartitionCount(Exception):
    """A topic has another number of partitions than this version expects; tables and shards would not line up."""

    def __init__(self, topic: str, found: int) -> None:
        super().__init__(
            f"topic {topic} has {found} partitions, expected {PARTITIONS}; "
            "delete it (open executions are published anew) or point the services to another Kafka"
        )
        self.topic = topic
        self.found = found


async def ensure_topics(bootstrap: str, *, replication_factor: int = 1) -> None:
    """Create what is missing of the topics on the Kafka at ``bootstrap`` (host:port[,host:port]).

    Raises:
        WrongPartitionCount: a topic exists with another number of partitions.
        aiokafka.errors.KafkaError: the broker cannot be reached or refuses.
    """
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        existing = set(await admin.list_topics())
        missing = [
            NewTopic(
                spec.name,
                num_partitions=PARTITIONS,
                replication_factor=replication_factor,
                topic_configs={"retention.ms": str(spec.retention_hours * 3_600_000)},
            )
            for spec in ALL
            if spec.name not in existing
        ]
        if missing:
            answer = await admin.create_topics(missing)
            for topic, code, *_ in answer.topic_errors:
                error = for_code(code)
                # Another service may have created it in between.
                if code and error is not TopicAlreadyExistsError:
                    raise error(f"creating topic {topic}")
        for description in await admin.describe_topics([spec.name for spec in ALL if spec.name in existing]):
            found = len(description["partitions"])
            if found and found != PARTITIONS:
                raise WrongPartitionCount(description["topic"], found)
    finally:
        await admin.close()
