"""The topics: names, key, record types, partition count, retention.

All topics share one partition count, because the Faust tables of the runner are partitioned like the topics that feed
them, and because the scheduler shares out workflows by the partition of their id.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from aiokafka.partitioner import murmur2
from faust.types import AppT, TopicT

from events.records import (
    ActionResult,
    DeadLetter,
    Event,
    ExecutionEnded,
    ExecutionRequest,
    HolderEnded,
    WakeUp,
    WorkflowChanged,
)
from events.wire import EventSchema

PARTITIONS: Final = 8


@dataclass(frozen=True)
class TopicSpec:
    """One topic of the contract; the key is always the workflow id."""

    name: str
    records: tuple[type[Event], ...]
    retention_hours: int
    purpose: str

    def bind(self, app: AppT) -> TopicT:
        """Return the Faust topic of ``app``; it is created by :mod:`events.provision`, never by Faust."""
        return app.topic(self.name, schema=EventSchema(*self.records), partitions=PARTITIONS)


EXECUTION: Final = TopicSpec(
    "workflow.execution", (ExecutionRequest,), 7 * 24, "Requests to run a workflow; consumed by the runners."
)
ACTION_RESULT: Final = TopicSpec(
    "workflow.action-result",
    (ActionResult, ExecutionEnded),
    7 * 24,
    "What each action did, and ends without a result; consumed by the runners.",
)
SCHEDULE: Final = TopicSpec(
    "workflow.schedule",
    (WakeUp, WorkflowChanged, HolderEnded),
    24,
    "What the scheduler must hear of at once: executions that wait, definitions that changed, places that are free.",
)
DEAD_LETTER: Final = TopicSpec(
    "workflow.dead-letter", (DeadLetter,), 30 * 24, "Records that no service could take, with the reason."
)
ALL: Final = (EXECUTION, ACTION_RESULT, SCHEDULE, DEAD_LETTER)


@lru_cache(maxsize=100_000)
def partition_of(workflow_id: str) -> int:
    """Return the partition of a workflow id: murmur2 of the key, the default partitioner of every Kafka client."""
    return int(murmur2(workflow_id.encode()) & 0x7FFFFFFF) % PARTITIONS
