"""Runs one attempt: the actions in order from where the execution stands, stopping at the first failure.

Every action ends in one ``ActionResult``, acknowledged by the broker before the next action starts; the last one says what
the execution is from then on. A failed attempt decides here, at once, whether and when it is retried; waiting for it is the
scheduler's work. A run that learns that its epoch is no longer the current one is cancelled and publishes nothing more.

An action that must not be repeated blindly (``onUnknown: fail``) is begun only when MongoDB knows of the intent. Should the
runner die before the result is recorded, the next run finds the intent without a result, and the action ends ``unknown``
rather than being sent again.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone

import structlog
from async_timeout import timeout

from actions.registry import WorkflowDefinition, run_action
from actions.running import Context, Failed, Outcome, Resources
from domain.action import Action
from domain.durations import parse_duration
from domain.execution import Failures, Status, outcome_key
from domain.instants import instant
from domain.retry import NoRetry, decide_retry
from events.records import ActionResult

log = structlog.get_logger(__name__)

# A kind that keeps its own time says more precisely what was late: it gets this much (seconds) to do so.
TIMEOUT_GRACE = 0.5
UNKNOWN_OUTCOME = "unknown-outcome"

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
    deadline: datetime | None = None
    in_doubt: frozenset[int] = frozenset()  # begun by an earlier run that did not live to tell what became of them
    lost: int = 0  # earlier runs that died with their runner


Intend = Callable[[Run, str], Awaitable[bool]]
"""Makes it durable that a run is about to bring about an outcome; False where the run is not the current one any more."""


def now() -> datetime:
    """Return the current instant."""
    return instant(datetime.now(timezone.utc))


async def run_attempt(
    run: Run, definition: WorkflowDefinition, *, runner: str, resources: Resources, publish: Publish, intend: Intend
) -> None:
    """Run the actions of ``run`` from its resume index on, publishing each result."""
    total = len(definition.actions)
    for seq, index in enumerate(range(run.resume_index, total), start=1):
        action = definition.actions[index]
        # The first run of an execution starts with its first action, to the millisecond, whether or not a start mark is
        # written: folding the topics gives the same instant as the document.
        started_at = (run.started_at if seq == run.epoch == 1 else None) or now()
        outcome: Outcome
        if index in run.in_doubt and not may_repeat(action):
            outcome = _unknown(action)
        elif not may_repeat(action) and not await intend(run, outcome_key(run.attempt, index)):
            log.info("run is not the current one", execution_id=run.execution_id, epoch=run.epoch)
            return
        else:
            outcome = await _run_one(run, action, resources)
            if isinstance(outcome, Failed) and outcome.error_class == "timeout" and not may_repeat(action):
                outcome = Failed(UNKNOWN_OUTCOME, f"{outcome.message}; whether it was done is not known", outcome.logs)
        result = _result(run, definition, action, index, seq, outcome, started_at, runner)
        await publish(run.workflow_id, result)
        if isinstance(outcome, Failed):
            return


def may_repeat(action: Action) -> bool:
    """Tell whether an action that may have been done already may be done again."""
    return getattr(action, "on_unknown", "retry") == "retry"


def _unknown(action: Action) -> Failed:
    return Failed(
        UNKNOWN_OUTCOME,
        "its runner died after the action was begun and before its outcome was recorded; "
        "look whether it was done before you start it again",
    )


async def _run_one(run: Run, action: Action, resources: Resources) -> Outcome:
    context = Context(
        execution_id=run.execution_id,
        workflow_id=run.workflow_id,
        action_id=action.action_id or "",
        attempt=run.attempt,
        epoch=run.epoch,
        resources=resources,
    )
    limit = timeout(parse_duration(action.timeout).total_seconds() + TIMEOUT_GRACE)
    try:
        async with limit:
            return await run_action(action, context)
    except asyncio.CancelledError:
        raise
    except asyncio.TimeoutError as error:
        if not limit.expired:
            log.warning("action raised", execution_id=run.execution_id, action_id=action.action_id, error=repr(error))
        return Failed("timeout", f"did not finish within {action.timeout}")
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
    outcome_status = "ok"
    if isinstance(outcome, Failed):
        unknown = outcome.error_class == UNKNOWN_OUTCOME
        outcome_status = "unknown" if unknown else "failed"
        before = run.failures.get(index, Failures(0, started_at))
        decision = decide_retry(
            definition.retry_policy(action),
            outcome.failure,
            retries_left=0 if unknown else run.retries_left,
            failed_before=before.count,
            first_started_at=before.since,
            failed_at=finished_at,
            uniform=random.random(),
        )
        reason = f"action {action.action_id} {'is in doubt' if unknown else 'failed'}: {outcome.message}"
        if isinstance(decision, NoRetry):
            status, reason = Status.FAILED, reason if unknown else f"{reason}; {decision.why}"
        elif run.deadline is not None and decision.at >= run.deadline:
            status, reason = Status.FAILED, f"{reason}; its time is over before the next retry"
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
        status=outcome_status,
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
