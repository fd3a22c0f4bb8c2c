"""Runs one attempt: the steps from where the execution stands, in the order that :mod:`domain.flow` gives them.

Every action ends in one ``ActionResult``, acknowledged by the broker before the next action starts; the last one says what
the execution is from then on. A failed attempt decides here, at once, whether and when it is retried; waiting for it is the
scheduler's work. A run that learns that its epoch is no longer the current one is cancelled and publishes nothing more.

An action that must not be repeated blindly (``onUnknown: fail``) is begun only when MongoDB knows of the intent. Should the
runner die before the result is recorded, the next run finds the intent without a result, and the action ends ``unknown``
rather than being sent again.

Before a step runs, its condition is asked and its templates are rendered with what is known by then. Whatever it answers is
redacted before it is published, and later steps see it as it was published, in this run or in one that resumes it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any

import orjson
import structlog
from async_timeout import timeout

from actions.registry import WorkflowDefinition, run_action
from actions.running import Context, Delayed, Failed, Outcome, Resources, Skipped, Succeeded
from actions.steps import Step
from apps.runner.data import execution_data
from domain.action import Action
from domain.durations import parse_duration
from domain.execution import ActionOutcome, Failures, Status, outcome_key
from domain.flow import failure, following, status_after
from domain.retry import NoRetry, RetryDecision, decide_retry
from events.folding import result_transition
from events.records import ActionResult
from store.interfaces import StoreUnavailable
from templates.errors import RenderError
from vault.redaction import Redactor
from vault.values import UnknownSecret

log = structlog.get_logger(__name__)

# A kind that keeps its own time says more precisely what was late: it gets this much (seconds) to do so.
TIMEOUT_GRACE = 0.5
UNKNOWN_OUTCOME = "unknown-outcome"
LARGEST_OUTPUT = 400_000  # bytes of JSON; a record with everything around it must stay below the broker's 1 MiB

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
    created_at: datetime | None = None
    due_at: datetime | None = None
    input: Mapping[str, Any] = field(default_factory=dict)
    outcomes: tuple[ActionOutcome, ...] = ()  # what was recorded before this run
    deadline: datetime | None = None
    in_doubt: frozenset[int] = frozenset()  # begun by an earlier run that did not live to tell what became of them


Intend = Callable[[Run, str], Awaitable[bool]]
"""Makes it durable that a run is about to bring about an outcome; False where the run is not the current one any more."""


def now() -> datetime:
    """Return the current instant."""
    found = datetime.now(timezone.utc)
    return found.replace(microsecond=found.microsecond // 1000 * 1000)


async def run_attempt(
    run: Run, definition: WorkflowDefinition, *, runner: str, resources: Resources, publish: Publish, intend: Intend
) -> None:
    """Run the steps of ``run`` from its resume index on, publishing each result."""
    index, seq = run.resume_index, 0
    outcomes = list(run.outcomes)
    while index < definition.plan.total:
        seq += 1
        # The first run of an execution starts with its first action, to the millisecond, whether or not a start mark is
        # written: folding the topics gives the same instant as the document.
        started_at = (run.started_at if seq == run.epoch == 1 else None) or now()
        step = definition.prepared[index]
        action = step.action
        outcome: Outcome
        if index in run.in_doubt and not may_repeat(action):
            outcome = _unknown(action)
        elif not may_repeat(action) and not await intend(run, outcome_key(run.attempt, index)):
            log.info("run is not the current one", execution_id=run.execution_id, epoch=run.epoch)
            return
        else:
            outcome = await _run_one(run, step, resources, outcomes)
            if isinstance(outcome, Failed) and outcome.error_class == "timeout" and not may_repeat(action):
                outcome = Failed(UNKNOWN_OUTCOME, f"{outcome.message}; whether it was done is not known", outcome.logs)
        result = _result(run, definition, index, seq, outcome, started_at, runner, outcomes)
        _redact(result, resources.secrets.redactor)
        await publish(run.workflow_id, result)
        if result.execution_status != Status.RUNNING.value:
            return
        outcomes.append(result_transition(result).outcome)
        index = outcomes[-1].resume_index


def may_repeat(action: Action) -> bool:
    """Tell whether an action that may have been done already may be done again."""
    return getattr(action, "on_unknown", "retry") == "retry"


def _unknown(action: Action) -> Failed:
    return Failed(
        UNKNOWN_OUTCOME,
        "its runner died after the action was begun and before its outcome was recorded; "
        "look whether it was done before you start it again",
    )


async def _run_one(run: Run, step: Step, resources: Resources, outcomes: Sequence[ActionOutcome]) -> Outcome:
    action = step.action
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
        if not step.is_plain:
            data = await _data(run, step, resources, outcomes)
            if not step.holds(data):
                return Skipped(logs=(f"skipped: {action.condition} does not hold",))
            action = step.render(data)
        if action.waits:
            async with limit:
                outcome = await run_action(action, context)
        else:
            outcome = await run_action(action, context)
    except asyncio.CancelledError:
        raise
    except asyncio.TimeoutError as error:
        if not limit.expired:
            log.warning("action raised", execution_id=run.execution_id, action_id=action.action_id, error=repr(error))
        return Failed("timeout", f"did not finish within {action.timeout}", maybe_done=not action.is_idempotent)
    except RenderError as error:
        return Failed("template", str(error))
    except UnknownSecret as error:
        return Failed("secret", str(error))
    except StoreUnavailable as error:
        return Failed("internal", f"secrets cannot be read: {error}")
    except Exception as error:  # an action kind must not be able to stop a stream
        log.exception("action raised", execution_id=run.execution_id, action_id=action.action_id)
        return Failed("internal", f"{type(error).__name__}: {error}")
    return _bounded(outcome)


async def _data(run: Run, step: Step, resources: Resources, outcomes: Sequence[ActionOutcome]) -> dict[str, Any]:
    data = execution_data(
        execution_id=run.execution_id,
        workflow_id=run.workflow_id,
        version=run.version,
        attempt=run.attempt,
        cause=run.cause,
        created_at=run.created_at,
        due_at=run.due_at,
        given=run.input,
        outcomes=outcomes,
    )
    return {**data, "secrets": {name: await resources.secrets.get(name) for name in sorted(step.secrets)}}


def _bounded(outcome: Outcome) -> Outcome:
    """Return ``outcome``, failed where its output is too large to be recorded."""
    if outcome.output is None:
        return outcome
    try:
        size = len(orjson.dumps(outcome.output))
    except TypeError:
        return outcome  # what orjson refuses and JSON allows is written otherwise, and rare
    if size <= LARGEST_OUTPUT:
        return outcome
    message = f"its output of {size} bytes of JSON is more than {LARGEST_OUTPUT}"
    if isinstance(outcome, Succeeded):
        return Failed("too-large", message, logs=outcome.logs)
    return replace(outcome, output=None, logs=(*outcome.logs, message))


def _redact(result: ActionResult, redactor: Redactor) -> None:
    """Take the values of secrets out of everything that an action, or an error of its, may have put into its result."""
    result.logs = redactor.value(result.logs)
    result.error = redactor.value(result.error)
    result.output = redactor.value(result.output)
    result.reason = redactor.value(result.reason)


def _result(
    run: Run,
    definition: WorkflowDefinition,
    index: int,
    seq: int,
    outcome: Outcome,
    started_at: datetime,
    runner: str,
    outcomes: Sequence[ActionOutcome],
) -> ActionResult:
    finished_at = now()
    action: Action = definition.prepared[index].action
    plan = definition.plan
    retries_left, wake_at, reason, next_index = run.retries_left, None, None, None
    error = outcome.error if isinstance(outcome, Failed) else None
    decision: RetryDecision | NoRetry | None = None
    outcome_status = "skipped" if isinstance(outcome, Skipped) else "ok"
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
            reason = reason if unknown else f"{reason}; {decision.why}"
        elif run.deadline is not None and decision.at >= run.deadline:
            decision = NoRetry("its time is over before the next retry")
            reason = f"{reason}; {decision.why}"
    continued = isinstance(decision, NoRetry) and bool(action.continue_on_error)
    if isinstance(decision, RetryDecision):
        status, retries_left, wake_at = Status.WAITING, decision.retries_left, decision.at
    else:
        failed = error is not None and not continued
        first = failure(outcomes)
        next_index = following(plan, index, failed=failed)
        status = status_after(plan, next_index, failed=failed or first is not None)
        if first is not None:
            reason = f"action {first.action_id} failed: {(first.error or {}).get('message', '')}"
        if status is not Status.FAILED:
            reason = None
        if isinstance(outcome, Delayed) and status is Status.RUNNING:
            status, wake_at, reason = Status.WAITING, outcome.until, f"action {action.action_id}: {outcome.logs[0]}"
        if next_index == index + (error is None or continued):
            next_index = None  # as anybody would think
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
        next_index=next_index,
        continued=continued or None,
    )
