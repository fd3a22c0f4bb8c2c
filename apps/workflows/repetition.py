"""Repeating: how a finished execution is taken up again, as a new execution that names its origin.

*Retry* takes up an execution that did not succeed where it failed: the same version of the definition, with the successes of
its origin carried over, so that the first action to run is the one that failed. *Run again* starts from the first action,
under the current version: what somebody wants after mending the definition.

Both are admitted like any other execution, by one insert under the workflow's lock, and published after it.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from apps.workflows.admission import start, startable_input
from apps.workflows.definitions import current_workflow
from apps.workflows.errors import InProgress, NothingToRetry, UnknownExecution, UnknownVersion
from apps.workflows.publishing import Publish
from domain.execution import ActionOutcome, Admission, Cause, Execution, Status, carry_over, deadline_of
from domain.identifiers import execution_id
from events.topics import partition_of
from store.interfaces import Executions, Workflows

_DONE = frozenset({Status.OK, Status.SKIPPED})


class Repeat:
    """Takes up finished executions; the id of the one that is started is made as that of a trigger."""

    def __init__(
        self,
        *,
        workflows: Workflows,
        executions: Executions,
        publish: Publish,
        publish_end: Publish,
        asked_at: datetime,
        entropy: bytes,
        is_unique: bool,
        now: datetime,
    ) -> None:
        self.workflows = workflows
        self.executions = executions
        self.publish = publish
        self.publish_end = publish_end
        self.asked_at = asked_at
        self.entropy = entropy
        self.is_unique = is_unique
        self.now = now

    async def retry(self, origin_id: str) -> str:
        """Take up an execution where it failed, and return the id of the new one.

        Raises:
            UnknownExecution: there is none of that id.
            UnknownWorkflow: its workflow is archived.
            NothingToRetry: it succeeded, or was skipped, or only a step of ``finally`` is to blame.
            InProgress: an execution of the workflow is open, perhaps this one.
        """
        origin = await self._ended(origin_id)
        await current_workflow(origin.workflow_id, self.workflows)
        carried = carry_over(origin)
        if origin.status in _DONE or len({outcome.index for outcome in carried.values()}) >= origin.total_actions:
            raise NothingToRetry(origin_id, origin.status)
        definition = await self.workflows.get_version(origin.workflow_id, origin.version)
        if definition is None:
            raise UnknownVersion(origin.workflow_id, origin.version)
        return await self._start(origin, origin.version, definition, carried, takes_up=True)

    async def run_again(self, origin_id: str) -> str:
        """Start the workflow of a finished execution once more, and return the id of the new execution.

        Raises:
            UnknownExecution: there is none of that id.
            UnknownWorkflow: its workflow is archived.
            NotTriggeredByHand: the workflow runs on its schedule alone.
            BadInput: the input of the finished one does not obey the current version's schema.
            InProgress: an execution of the workflow is open, perhaps this one.
        """
        origin = await self._ended(origin_id)
        workflow = await current_workflow(origin.workflow_id, self.workflows)
        given = startable_input(workflow, origin.input or {})
        again = replace(origin, input=given or None)
        return await self._start(again, workflow.version, workflow.definition, {}, takes_up=False)

    async def _ended(self, origin_id: str) -> Execution:
        origin = await self.executions.get(origin_id)
        if origin is None:
            raise UnknownExecution(origin_id)
        if origin.status.is_open:
            raise InProgress(origin.workflow_id, origin_id, origin.status)
        return origin

    async def _start(
        self,
        origin: Execution,
        version: int,
        definition: Mapping[str, Any],
        carried: Mapping[str, ActionOutcome],
        *,
        takes_up: bool,
    ) -> str:
        admission = Admission(
            execution_id=execution_id(self.asked_at, self.entropy),
            workflow_id=origin.workflow_id,
            version=version,
            cause=Cause.MANUAL,
            created_at=self.asked_at,
            requested_at=self.now,
            due_at=origin.due_at,  # what a report of a day is made of: part of what is repeated, as the input is
            retries_left=definition["retries"],
            total_actions=len(definition["actions"]),
            shard=partition_of(origin.workflow_id),
            deadline=deadline_of(self.now, definition.get("timeout")),
            input=origin.input,
            reference=origin.reference,
            origin_id=origin.execution_id,
            takes_up=takes_up,
            carried=carried,
            is_unique=self.is_unique,
        )
        started = await start(
            admission,
            definition,
            executions=self.executions,
            publish=self.publish,
            publish_end=self.publish_end,
            now=self.now,
        )
        return started.execution_id
