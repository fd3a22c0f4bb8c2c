"""Fills the store with history: finished executions and workflows that do nothing, straight through the repositories."""

import asyncio
from datetime import datetime, timedelta, timezone

from rich.progress import Progress

from actions.registry import WorkflowDefinition
from domain.execution import ActionFinished as Finished
from domain.execution import ActionOutcome, Admission, Cause, Execution, Status, admit, apply
from domain.identifiers import execution_id
from domain.instants import instant
from events.topics import partition_of
from store.client import MongoStore
from store.interfaces import Workflow

BATCH = 500


async def fill(store: MongoStore, executions: int, workflows: int) -> None:
    """Store ``workflows`` manual workflows and ``executions`` finished executions of theirs."""
    now = instant(datetime.now(timezone.utc))
    with Progress() as progress:
        task = progress.add_task("workflows", total=workflows)
        for start in range(0, workflows, BATCH):
            numbers = range(start, min(start + BATCH, workflows))
            await asyncio.gather(*(store.workflows.create(_workflow(number, now)) for number in numbers))
            progress.update(task, completed=numbers[-1] + 1)
        task = progress.add_task("executions", total=executions)
        for start in range(0, executions, BATCH):
            numbers = range(start, min(start + BATCH, executions))
            await store.executions.replace_all([_execution(number, workflows, now) for number in numbers])
            progress.update(task, completed=numbers[-1] + 1)


def _workflow(number: int, now: datetime) -> Workflow:
    name = f"history-{number}"
    definition = WorkflowDefinition.model_validate(
        {"workflowId": name, "trigger": {"type": "manual"}, "actions": [{"type": "log", "message": "history"}]}
    )
    return Workflow(
        workflow_id=name,
        version=1,
        definition=definition.to_document(),
        total_actions=1,
        shard=partition_of(name),
        created_at=now,
        updated_at=now,
        anchor=now,
    )


def _execution(number: int, workflows: int, now: datetime) -> Execution:
    name = f"history-{number % workflows}"
    at = now - timedelta(milliseconds=10 * (number + 1))
    begun = admit(
        Admission(
            execution_id=execution_id(at, number.to_bytes(10, "big")),
            workflow_id=name,
            version=1,
            cause=Cause.MANUAL,
            created_at=at,
            retries_left=3,
            total_actions=1,
            shard=partition_of(name),
            lock_key=name,
        )
    )
    outcome = ActionOutcome("log-1", 0, 1, "ok", at, at, ("history",))
    return apply(begun, Finished(begun.execution_id, name, 1, 1, outcome, Status.OK, 3))
