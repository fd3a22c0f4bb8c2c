"""The definitions that a runner has read."""

import asyncio
from datetime import datetime, timezone
from typing import Any

import pytest

from actions.checking import Surroundings, problems
from actions.registry import WorkflowDefinition
from apps.runner import definitions as definitions_module
from apps.runner.definitions import Definitions
from store.interfaces import Workflow
from tests.fakes.stores import FakeWorkflows

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MANY = "{{ input.x }}" * 4000


def workflow(workflow_id: str, actions: list[dict[str, Any]]) -> Workflow:
    definition = WorkflowDefinition.model_validate(
        {"workflowId": workflow_id, "trigger": {"type": "manual"}, "actions": actions}
    )
    return Workflow(
        workflow_id=workflow_id,
        version=1,
        definition=definition.to_document(),
        total_actions=len(actions),
        shard=0,
        created_at=NOW,
        updated_at=NOW,
        anchor=NOW,
    )


async def test_a_definition_from_before_the_bound_of_templates_is_prepared_whole_while_the_loop_turns() -> None:
    """Heartbeats must go on; one that stays away for ten seconds has all that this runner runs started again elsewhere."""
    actions: list[dict[str, Any]] = [{"type": "set", "values": {"v": MANY}}] * 2
    definition = WorkflowDefinition.model_validate({"workflowId": "w", "trigger": {"type": "manual"}, "actions": actions})
    assert "is beyond the" in str(problems(definition, Surroundings())), "nobody may store it now"
    workflows = FakeWorkflows()
    stored = await workflows.create(workflow("w", actions))
    definitions = Definitions(workflows)
    getting = asyncio.gather(definitions.get("w", 1), definitions.of(stored))
    turns = 0
    while not getting.done():
        turns += 1
        await asyncio.sleep(0)
    found, same = await getting
    assert turns > 100
    assert found is same is definitions.cached("w", 1), "compiled once"
    assert all(step.problems == [] for step in found.prepared)
    assert found.prepared[1].render({"input": {"x": 7}}).values == {"v": "7" * 4000}  # type: ignore[attr-defined]


async def test_definitions_are_kept_up_to_a_number_of_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand of the largest that may be stored would take 20 GB."""
    monkeypatch.setattr(definitions_module, "MOST_CHARACTERS", 20_000)
    workflows = FakeWorkflows()
    definitions = Definitions(workflows)
    for number in range(9):
        message = "x" * (30_000 if number == 8 else 4_000)
        stored = await workflows.create(workflow(f"w{number}", [{"type": "set", "values": {"v": message}}]))
        await definitions.of(stored)
        if number == 7:
            assert [each for each in range(8) if definitions.cached(f"w{each}", 1)] == [4, 5, 6, 7]
    assert [each for each in range(9) if definitions.cached(f"w{each}", 1)] == [8], "one that is larger is kept, alone"
