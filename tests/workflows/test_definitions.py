"""Where the schedule's grid stands after a change."""

from datetime import timedelta
from typing import Any

import pytest

from actions.registry import WorkflowDefinition
from apps.workflows import definitions
from events.records import Event
from store.interfaces import Workflow
from tests.workflows.client import LOG
from tests.workflows.clock import START
from tests.workflows.memory import MemoryStore

LATER = START + timedelta(seconds=25)


async def silent(workflow_id: str, event: Event) -> bool:
    return False


def definition(trigger: dict[str, Any], **more: Any) -> WorkflowDefinition:
    return WorkflowDefinition.model_validate({"workflowId": "a", "trigger": trigger, "actions": [LOG], **more})


async def changed(store: MemoryStore, before: dict[str, Any], after: dict[str, Any]) -> Workflow:
    await definitions.create(definition(before), workflows=store.workflows, announce=silent, now=START)
    return await definitions.replace(
        definition(after, retries=0),
        workflows=store.workflows,
        executions=store.executions,
        occurrences=store.occurrences,
        announce=silent,
        now=LATER,
    )


@pytest.mark.parametrize(
    ("word", "before", "after", "since"),
    [
        ("the first", None, {"topic": "t"}, LATER),
        ("the same", {"topic": "t"}, {"topic": "t", "from": "earliest"}, START),
        ("another topic", {"topic": "t"}, {"topic": "u"}, LATER),
        ("none any more", {"topic": "t"}, None, None),
    ],
)
async def test_a_subscription_begins_when_its_topic_is_named_and_goes_on_with_it(
    store: MemoryStore, word: str, before: dict[str, Any] | None, after: dict[str, Any] | None, since: Any
) -> None:
    made, manual = definition({"type": "manual"}, kafka=before), {"type": "manual"}
    await definitions.create(made, workflows=store.workflows, announce=silent, now=START)
    stored = await definitions.replace(
        definition(manual, kafka=after),
        workflows=store.workflows,
        executions=store.executions,
        occurrences=store.occurrences,
        announce=silent,
        now=LATER,
    )
    assert stored.subscribed_at == since


async def test_a_subscription_of_what_was_archived_begins_anew(store: MemoryStore) -> None:
    made = definition({"type": "manual"}, kafka={"topic": "t"})
    await definitions.create(made, workflows=store.workflows, announce=silent, now=START)
    await definitions.archive(
        "a",
        workflows=store.workflows,
        executions=store.executions,
        occurrences=store.occurrences,
        announce=silent,
        now=START,
    )
    assert await store.workflows.subscribed() == []
    stored = await definitions.create(made, workflows=store.workflows, announce=silent, now=LATER)
    assert stored.subscribed is not None
    assert stored.subscribed.since == LATER


@pytest.mark.parametrize(
    "after",
    [
        pytest.param({"type": "periodic", "interval": "10s"}, id="same trigger"),
        pytest.param({"type": "periodic", "interval": "10s", "allowManual": True}, id="by hand as well"),
    ],
)
async def test_the_same_schedule_keeps_its_grid_and_the_tick_that_is_due(store: MemoryStore, after: dict[str, Any]) -> None:
    stored = await changed(store, {"type": "periodic", "interval": "10s"}, after)
    assert stored.version == 2
    assert stored.anchor == START
    # Due 15 s ago and not released yet: it must not be lost by an edit.
    assert stored.next_run == START + timedelta(seconds=10)


async def test_an_interval_that_is_written_otherwise_keeps_its_grid(store: MemoryStore) -> None:
    stored = await changed(store, {"type": "periodic", "interval": "24h"}, {"type": "periodic", "interval": "1d"})
    assert stored.next_run == START + timedelta(hours=24)


async def test_another_interval_starts_a_new_grid(store: MemoryStore) -> None:
    stored = await changed(store, {"type": "periodic", "interval": "10s"}, {"type": "periodic", "interval": "1m"})
    assert stored.anchor == LATER
    assert stored.next_run == LATER + timedelta(minutes=1)


async def test_a_manual_workflow_has_no_next_run(store: MemoryStore) -> None:
    stored = await changed(store, {"type": "periodic", "interval": "10s"}, {"type": "manual"})
    assert stored.next_run is None


async def test_a_manual_workflow_becomes_periodic(store: MemoryStore) -> None:
    stored = await changed(store, {"type": "manual"}, {"type": "periodic", "interval": "10s"})
    assert stored.next_run == LATER + timedelta(seconds=10)
