"""Circles: what an action triggers would wait for a place that becomes free only when the action is over.

Each place of the workflow is held by the execution that asks, or by one that waits for the end of that: it has triggered
it, or one above it, with ``waitForEnd`` at each step on the way. Under the policy ``cancel-running`` it would be cancelled,
and the one that asks with it, by one that may do the same again, and so on.

Looked at is what is recorded, from the execution that asks up by ``triggered_by``. Such an execution waits until it is
recorded that it has gone past the step, whether or not its wait is recorded yet: what it has triggered may be faster. One
that waits for nothing ends the walk, and so does one whose definition this runner cannot read. Not found are executions
that have not triggered each other and are queued behind each other, nor those that need a place of one that was started
beside them.

Whatever is above the execution that asks was there before it: who finds no circle finds none later, unless the policy is
another one by then, and the next runner that comes to the step finds the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from actions.running import Context
from actions.trigger_workflow import TriggerWorkflowAction
from apps.runner.definitions import Definitions, UnknownVersion
from apps.runner.patience import stubbornly
from apps.runner.startable import Startable
from apps.stored_definitions import UnreadableVersion
from domain.excerpts import excerpt
from domain.execution import Cause, Execution, Parent
from store.interfaces import Executions

_FARTHEST: Final = 100  # executions up: as many as may run at once
_LONGEST_WAY: Final = 500  # characters


@dataclass(frozen=True)
class Circle:
    """A circle that an action would close."""

    target: Startable
    asking: Context
    above: Sequence[Parent]  # what waits for the one that asks, nearest first, up to the last one that holds a place
    queues: bool  # what is asked for may stand in line, where there is room

    def told(self, *, waits: bool) -> str:
        """Return what is wrong, and how it is mended; ``waits`` tells whether the end of what is asked for is waited for."""
        workflow_id, overlap = self.target.workflow.workflow_id, self.target.definition.overlap
        cancels = overlap.policy == "cancel-running" and not self.queues
        limit = "" if waits and overlap.policy == "queue" else self.target.limit  # where there may be room to wait
        allow = "a larger max" if overlap.policy == "allow" else "allow"
        if not self.above:
            room = allow if waits else f"queue with room for all, or {allow}"
            if cancels:
                return (
                    f"workflow {workflow_id} would cancel this execution, which triggers it (overlap policy cancel-running);"
                    f" choose {room}"
                )
            return f"workflow {workflow_id} triggers itself and would wait for its own end{limit}; choose {room}"
        last = self.above[-1]
        way = [*(each.workflow_id for each in reversed(self.above)), self.asking.workflow_id, workflow_id]
        circle = excerpt(" > ".join(way), _LONGEST_WAY)
        mend = f"choose {allow}, or leave waitForEnd out of step {last.action_id} of workflow {last.workflow_id}"
        if cancels:
            return (
                f"workflow {workflow_id} would cancel execution {last.execution_id}, which waits for the end of this one"
                f" ({circle}), and so this one as well (overlap policy cancel-running); {mend}"
            )
        return (
            f"workflow {workflow_id} has no place to run until this execution has ended, for which execution"
            f" {last.execution_id} waits ({circle}){limit}; {mend}"
        )


class Circles:
    """Finds circles."""

    def __init__(self, executions: Executions, definitions: Definitions) -> None:
        self._executions = executions
        self._definitions = definitions

    async def above(self, context: Context) -> Sequence[Parent]:
        """Return what waits for the end of an execution, nearest first, with the actions that do."""
        found: list[Parent] = []
        child_id, parent = context.execution_id, context.triggered_by
        while parent is not None and len(found) < _FARTHEST:
            execution = await self._get(parent.execution_id)
            if execution is None or not await self._waits(execution, parent.action_id, child_id):
                break
            found.append(parent)
            child_id, parent = parent.execution_id, execution.triggered_by
        return found

    async def find(self, target: Startable, context: Context, above: Sequence[Parent]) -> Circle | None:
        """Return the circle that an execution would close by triggering a workflow.

        ``above`` is what waited for its end when it was last looked at.
        """
        workflow_id, overlap = target.workflow.workflow_id, target.definition.overlap
        if workflow_id not in (context.workflow_id, *(each.workflow_id for each in above)):
            return None
        places = overlap.places(workflow_id)
        holders = await stubbornly(lambda: self._executions.holders(places))
        order = [context.execution_id, *(each.execution_id for each in above)]
        if len(holders) < len(places) or not all(each.execution_id in order for each in holders.values()):
            return None
        last = max(order.index(each.execution_id) for each in holders.values())
        if last and len(await self.above(context)) < last:
            return None  # somebody has gone on since
        gives_way = len(places) == 1 and holders[workflow_id].cause is Cause.BACKFILL
        return Circle(target, context, above[:last], queues=overlap.policy == "queue" or gives_way)

    async def _waits(self, execution: Execution, action_id: str, child_id: str) -> bool:
        """Tell whether an execution waits in an action, or is about to, for the end of another that this has triggered."""
        if not execution.status.is_open:
            return False
        try:
            definition = await stubbornly(lambda: self._definitions.get(execution.workflow_id, execution.version))
        except (UnknownVersion, UnreadableVersion):
            return False
        steps = enumerate(definition.steps)
        index, step = next((each for each in steps if each[1].action_id == action_id), (0, None))
        if not isinstance(step, TriggerWorkflowAction) or step.wait_for_end is None:
            return False
        if execution.cut_short is not None and index < execution.total_actions:
            return False
        last = execution.last_outcome
        if last is not None and last.index == index and last.awaited is not None:
            return child_id in last.awaited.execution_ids  # a list may have become shorter
        return execution.step_index <= index

    async def _get(self, execution_id: str) -> Execution | None:
        return await stubbornly(lambda: self._executions.get(execution_id))
