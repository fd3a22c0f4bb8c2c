"""Runs one attempt: the actions in order from where the execution stands, stopping at the first failure.

Every action ends in one ``ActionResult``, acknowledged by the broker before the next action starts; the last one says what
the execution is from then on. A failed attempt decides here, at once, whether and when it is retried; waiting for it is the
scheduler's work. A run that learns that its epoch is no longer the current one is cancelled and publishes nothing more.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

import structlog

from actions.registry import WorkflowDefinition, run_action
from actions.running import Context, Failed, Outcome, Resources
from domain.action import Action
from domain.execution import Failures, Status
from domain.instants import instant
from domain.retry import NoRetry, decide_retry
from events.records import ActionResult

log = structlog.get_logger(__name__)

Publish = Callable[[str, ActionResult], Awaitable[None]]


@dataclass(frozen=True)
class Run:
    """One attempt to run: what the request, or the claimed execution, says."""

    execution_id: str
    workflow_id: str
    version: int
    epoch: int
    attempt: int
    retries_left: int
    resume_index: int
    total_actions: int
    cause: str
    failures: Mapping[int, Failures] = field(default_factory=dict)  # of earlier attempts, by position of the action
    started_at: datetime | None = None  # of the execution: that of its first run
    recorded: int = 0  # results recorded before this run


def now() -> datetime:
    """Return the current instant."""
    return instant(datetime.now(timezone.utc))


async def run_attempt(
    run: Run, definition: WorkflowDefinition, *, runner: str, resources: Resources, publish: Publish
) -> None:
    """Run the actions of ``run`` from its resume index on, publishing each result."""
    total = len(definition.actions)
    for seq, index in enumerate(range(run.resume_index, total), start=1):
        action = definition.actions[index]
        # The first run of an execution starts with its first action, to the millisecond, whether or not a start mark is
        # written: folding the topics gives the same instant as the document.
        started_at = (run.started_at if seq == run.epoch == 1 else None) or now()
        outcome = await _run_one(run, action, resources)
        result = _result(run, definition, action, index, seq, outcome, started_at, runner)
        await publish(run.workflow_id, result)
        if isinstance(outcome, Failed):
            return


async def _run_one(run: Run, action: Action, resources: Resources) -> Outcome:
    context = Context(
        execution_id=run.execution_id,
        workflow_id=run.workflow_id,
        action_id=action.action_id or "",
        attempt=run.attempt,
        epoch=run.epoch,
        resources=resources,
    )
    try:
        return await run_action(action, context)
    except asyncio.CancelledError:
        raise
    except Exception as error:  # an action kind must not be able to stop a stream
        log.exception("action raised", execution_id=run.execution_id, action_id=action.action_id)
        return Failed("internal", f"{type(error).__name__}: {error}")


def _result(
    run: Run,
    definition: WorkflowDefinition,
    action: Action,
    index: int,
    seq: int,
    outcome: Outcome,
    started_at: datetime,
    runner: str,
) -> ActionResult:
    finished_at = now()
    status, retries_left, wake_at, reason = Status.RUNNING, run.retries_left, None, None
    error = outcome.error if isinstance(outcome, Failed) else None
    if isinstance(outcome, Failed):
        before = run.failures.get(index, Failures(0, started_at))
        decision = decide_retry(
            definition.retry_policy(action),
            outcome.failure,
            retries_left=run.retries_left,
            failed_before=before.count,
            first_started_at=before.since,
            failed_at=finished_at,
            uniform=random.random(),
        )
        reason = f"action {action.action_id} failed: {outcome.message}"
        if isinstance(decision, NoRetry):
            status, reason = Status.FAILED, f"{reason}; {decision.why}"
        else:
            status, retries_left, wake_at = Status.WAITING, decision.retries_left, decision.at
    elif index + 1 == len(definition.actions):
        status = Status.OK
    return ActionResult(
        workflow_id=run.workflow_id,
        execution_id=run.execution_id,
        epoch=run.epoch,
        seq=seq,
        version=run.version,
        runner=runner,
        attempt=run.attempt,
        action_id=action.action_id or "",
        kind=getattr(action, "type", None),
        index=index,
        status="ok" if error is None else "failed",
        execution_status=status.value,
        retries_left=retries_left,
        total_actions=len(definition.actions),
        started_at=started_at,
        finished_at=finished_at,
        logs=list(outcome.logs),
        error=error,
        output=outcome.output,
        wake_at=wake_at,
        reason=reason,
        recorded=run.recorded if run.epoch > 1 else None,
        execution_started_at=run.started_at if run.epoch > 1 else None,
    )
