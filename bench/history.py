"""Fills the database with history: finished executions, and workflows that do nothing.

The documents are what the repositories would store, but written by the hundreds: one by one a million takes half an hour.
"""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

from pymongo import MongoClient
from pymongo.collection import Collection
from rich.progress import Progress

from actions.registry import WorkflowDefinition
from domain.execution import ActionFinished as Finished
from domain.execution import ActionOutcome, Admission, Cause, Execution, Status, admit, apply
from domain.identifiers import execution_id
from domain.instants import instant
from events.topics import partition_of
from store import execution_documents
from store import workflows as stored_workflows
from store.interfaces import Workflow

BATCH = 500


def fill(url: str, database: str, executions: int, workflows: int) -> None:
    """Store ``workflows`` manual workflows and ``executions`` finished executions of theirs; the indexes must be there."""
    now = instant(datetime.now(timezone.utc))
    with MongoClient[dict[str, Any]](url, tz_aware=True) as client, Progress() as progress:
        places = client[database]

        def put(what: str, collection: Collection[dict[str, Any]], total: int, document: Callable[[int], Any]) -> None:
            task = progress.add_task(what, total=total)
            for start in range(0, total, BATCH):
                numbers = range(start, min(start + BATCH, total))
                collection.insert_many([document(number) for number in numbers], ordered=False)
                progress.update(task, completed=numbers[-1] + 1)

        put("workflows", places.workflows, workflows, lambda number: stored_workflows.to_document(_workflow(number, now)))
        put(
            "executions",
            places.executions,
            executions,
            lambda number: execution_documents.to_document(_execution(number, workflows, now)),
        )


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
