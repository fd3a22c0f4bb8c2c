"""The definitions that a runner has read."""

import asyncio
from datetime import datetime, timezone

from actions.checking import Surroundings, problems
from actions.registry import WorkflowDefinition
from apps.runner.definitions import Definitions
from store.interfaces import Workflow
from tests.fakes.stores import FakeWorkflows

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)
MANY = "{{ input.x }}" * 4000


async def test_a_definition_from_before_the_bound_of_templates_is_prepared_whole_while_the_loop_turns() -> None:
    """Heartbeats must go on; one that stays away for ten seconds has all that this runner runs started again elsewhere."""
    definition = WorkflowDefinition.model_validate(
        {"workflowId": "w", "trigger": {"type": "manual"}, "actions": [{"type": "set", "values": {"v": MANY}}] * 2}
    )
    assert "is beyond the" in str(problems(definition, Surroundings())), "nobody may store it now"
    workflows = FakeWorkflows()
    stored = await workflows.create(
        Workflow(
            workflow_id="w",
            version=1,
            definition=definition.to_document(),
            total_actions=2,
            shard=0,
            created_at=NOW,
            updated_at=NOW,
            anchor=NOW,
        )
    )
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
