"""Runs one attempt: the steps from where the execution stands, in the order that :mod:`domain.flow` gives them.

Every action ends in one ``ActionResult``, acknowledged by the broker before the next action starts; the last one says what
the execution is from then on. An action that waits for a signal, or for the end of others, has one before for each time
that it has begun to. A failed attempt decides here, at once, whether and when it is retried; waiting for it is the
scheduler's work. A run that learns that its epoch is no longer the current one is cancelled and publishes nothing more.

An action that must not be repeated blindly (``onUnknown: fail``, or ``retryUnsafe: false`` where it is not idempotent) is
begun only when MongoDB knows of the intent. Should the runner die before the result is recorded, the next run finds the
intent without a result, and the action ends ``unknown`` rather than being sent again; with ``onUnknown: fail`` so it does
where the runner lives to see that no answer comes.

An action whose runners die one after the other is run in a process of its own (:mod:`apps.runner.isolation`).

Where the execution is cut short (:mod:`apps.cutting_short`), the step at which it stood fails without being run, and the
handlers follow as after any failure. They have a time of their own, as long as the timeout, from when they begin.

Before a step runs, its condition is asked and its templates are rendered with what is known by then. Whatever it answers is
redacted before it is published, and later steps see it as it was published, in this run or in one that resumes it.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import structlog
from async_timeout import Timeout, timeout

from actions.registry import WorkflowDefinition, run_action
from actions.running import Context, Failed, Outcome, Resources, Skipped, Succeeded
from actions.steps import Step
from apps.runner.clock import now
from apps.runner.data import execution_data
from apps.runner.isolation import CRASHED, Isolation
from apps.runner.results import UNKNOWN_OUTCOME, action_result, redact
from apps.runner.run import Run
from domain.action import Action
from domain.durations import parse_duration
from domain.execution import AWAITING, CUT_CLASSES, ActionOutcome, Restart, Restarted, Status, outcome_key
from domain.instants import EPOCH
from events.folding import result_transition
from events.records import ActionResult
from events.wire import json_bytes
from store.interfaces import StoreUnavailable
from templates.errors import RenderError
from vault.interfaces import UnknownSecret, UnknownVariable

log = structlog.get_logger(__name__)

# A kind that keeps its own time says more precisely what was late: it gets this much (seconds) to do so.
TIMEOUT_GRACE = 0.5
# Together they, with everything around them, must stay below the broker's 1 MiB; a character may take six bytes of JSON.
LARGEST_OUTPUT = 400_000  # bytes of JSON
LARGEST_LOGS = 50_000  # characters
LONGEST_TEXT = 10_000  # characters of an error's message
LARGEST_EXECUTION = 12_000_000  # bytes of all its results; its document must stay below MongoDB's 16 MiB

Publish = Callable[[str, ActionResult], Awaitable[None]]


Intend = Callable[[Run, str], Awaitable[bool]]
"""Makes it durable that a run is about to bring about an outcome; False where the run is not the current one any more."""

Abandon = Callable[[str], Awaitable[None]]
"""Cancels what the step of an execution waited for, or has started in order to, when it was cut short."""


async def run_attempt(
    run: Run,
    definition: WorkflowDefinition,
    *,
    runner: str,
    resources: Resources,
    publish: Publish,
    intend: Intend,
    abandon: Abandon,
    isolation: Isolation,
) -> None:
    """Run the steps of ``run`` from its resume index on, publishing each result."""
    index, seq = run.resume_index, 0
    outcomes = list(run.outcomes)
    room = LARGEST_EXECUTION - sum(_size(each.output, each.logs, each.error) for each in outcomes)
    while index < definition.plan.total:
        seq += 1
        # The first run of an execution starts with its first action, to the millisecond, whether or not a start mark is
        # written: folding the topics gives the same instant as the document.
        started_at = (run.started_at if seq == run.epoch == 1 else None) or now()
        step = definition.prepared[index]
        outcome: Outcome
        repeatable = may_repeat(definition, index)
        cut = run.cut_short if index < definition.plan.actions else None
        if cut is not None:
            await abandon(run.execution_id)
            started_at = cut.since or cut.at
            outcome = Failed(cut.why.value, _why_cut_short(run, cut, definition, index))
        elif index in run.in_doubt and not repeatable:
            outcome = _unknown()
        elif not repeatable and not await intend(run, outcome_key(run.attempt, index)):
            log.info("run is not the current one", execution_id=run.execution_id, epoch=run.epoch)
            return
        else:
            # Also the actions that follow: whether a result of this run is recorded before its runner dies is not known.
            is_suspect = run.lost >= isolation.after or _has_crashed(index, outcomes)
            outcome = await _run_one(run, index, step, resources, outcomes, isolation if is_suspect else None)
            if isinstance(outcome, Failed) and step.fails_in_doubt and _is_in_doubt(outcome):
                outcome = replace(
                    outcome, error_class=UNKNOWN_OUTCOME, message=f"{outcome.message}; whether it was done is not known"
                )
        size = _size(outcome.output, outcome.logs, outcome.error if isinstance(outcome, Failed) else None)
        if size > room and cut is None:
            outcome = Failed("too-large", f"the results of this execution are more than {LARGEST_EXECUTION} bytes together")
        room -= min(size, room)
        result = action_result(
            run, definition, index, seq, outcome, started_at, now(), runner, outcomes, uniform=random.random()
        )
        redact(result, resources.secrets.redactor)
        await publish(run.workflow_id, result)
        if result.execution_status != Status.RUNNING.value:
            return
        if result.deadline is not None:
            run = replace(run, deadline=result.deadline)
        outcomes.append(result_transition(result).outcome)
        index = outcomes[-1].resume_index


def may_repeat(definition: WorkflowDefinition, index: int) -> bool:
    """Tell whether a step that may have been done already may be done again."""
    step = definition.prepared[index]
    if step.fails_in_doubt:
        return False
    return step.action.is_idempotent or definition.retry_policies[index].retry_unsafe


def _is_in_doubt(failed: Failed) -> bool:
    return failed.is_in_doubt or failed.error_class in ("timeout", CRASHED)


def _unknown() -> Failed:
    return Failed(
        UNKNOWN_OUTCOME,
        "its runner died after the action was begun and before its outcome was recorded; "
        "look whether it was done before you start it again",
    )


def _why_cut_short(run: Run, cut: Restarted, definition: WorkflowDefinition, index: int) -> str:
    said = cut.reason or f"timed out after {definition.timeout}"  # by an earlier version, which does not give up like this
    if cut.why is Restart.GIVEN_UP:  # which tells by itself that nobody has seen it done
        return said
    # Nor has an earlier run told what became of it, which was interrupted before the time was over.
    was_interrupted = index in run.in_doubt or (index in run.failures and not run.failures[index].count)
    doubt = "; whether it was done is not known" if cut.since is not None or was_interrupted else ""
    return f"{said}{doubt}"


def _waited(run: Run, index: int, outcomes: Sequence[ActionOutcome]) -> Mapping[str, Any] | None:
    waits = [each for each in outcomes if (each.attempt, each.index, each.status) == (run.attempt, index, AWAITING)]
    return waits[-1].output or {} if waits else None


def _has_crashed(index: int, outcomes: Sequence[ActionOutcome]) -> bool:
    return any(each.index == index and (each.error or {}).get("class") == CRASHED for each in outcomes)


async def _run_one(
    run: Run,
    index: int,
    step: Step,
    resources: Resources,
    outcomes: Sequence[ActionOutcome],
    isolation: Isolation | None,
) -> Outcome:
    action = step.action
    context = Context(
        execution_id=run.execution_id,
        workflow_id=run.workflow_id,
        action_id=action.action_id or "",
        attempt=run.attempt,
        epoch=run.epoch,
        resources=resources,
        created_at=run.created_at or EPOCH,
        waited=_waited(run, index, outcomes),
        triggered_by=run.triggered_by,
        takes_up=run.takes_up,
    )
    limit: Timeout | None = None
    try:
        if not step.is_plain:
            data = await _data(run, step, resources, outcomes)
            if not step.holds(data):
                return Skipped(logs=(f"skipped: {action.condition} does not hold",))
            action = step.render(data)
        if isolation is not None:
            log.warning("action is run apart", execution_id=run.execution_id, action_id=action.action_id, lost=run.lost)
            # To wait for a place and for Python to start is not the action's fault.
            async with isolation.process() as process, _limit(action) as limit:
                outcome = await process.run(action, context)
        elif action.waits:
            async with _limit(action) as limit:
                outcome = await run_action(action, context)
        else:
            outcome = await run_action(action, context)
        return bounded(outcome)
    except asyncio.TimeoutError as error:
        if limit is None or not limit.expired:
            log.warning("action raised", execution_id=run.execution_id, action_id=action.action_id, error=repr(error))
        return Failed("timeout", f"did not finish within {action.timeout}", maybe_done=not action.is_idempotent)
    except Exception as error:  # an action kind must not be able to stop a stream
        return failed_by(error, run.execution_id, action.action_id)


def _limit(action: Action) -> Timeout:
    return timeout(parse_duration(action.timeout).total_seconds() + TIMEOUT_GRACE)


def failed_by(error: Exception, execution_id: str, action_id: str | None) -> Failed:
    """Return what becomes of an action that raised."""
    if isinstance(error, RenderError):
        return Failed("template", str(error))
    if isinstance(error, UnknownSecret):
        return Failed("secret", str(error))
    if isinstance(error, UnknownVariable):
        return Failed("variable", str(error))
    if isinstance(error, StoreUnavailable):
        return Failed("internal", f"secrets and variables cannot be read: {error}")
    log.error("action raised", execution_id=execution_id, action_id=action_id, exc_info=error)
    return Failed("internal", f"{type(error).__name__}: {error}"[:LONGEST_TEXT])


async def _data(run: Run, step: Step, resources: Resources, outcomes: Sequence[ActionOutcome]) -> dict[str, Any]:
    data = execution_data(
        execution_id=run.execution_id,
        workflow_id=run.workflow_id,
        version=run.version,
        attempt=run.attempt,
        cause=run.cause,
        created_at=run.created_at,
        due_at=run.due_at,
        reference=run.reference,
        given=run.input,
        outcomes=outcomes,
    )
    secrets = {name: await resources.secrets.get(name) for name in sorted(step.secrets)}
    variables = {name: await resources.variables.get(name) for name in sorted(step.variables)}
    return {**data, "secrets": secrets, "vars": variables}


def bounded(outcome: Outcome) -> Outcome:
    """Return ``outcome`` as it can be recorded, failed where its output cannot.

    What cannot be written, or is more than the broker takes, would never be published, and its execution never end.
    """
    if not isinstance(outcome, Outcome):
        return Failed("internal", f"the action's kind answered with {type(outcome).__name__} rather than an outcome")
    if not all(type(line) is str for line in outcome.logs) or sum(map(len, outcome.logs)) > LARGEST_LOGS:
        outcome = replace(outcome, logs=_bounded_logs(outcome.logs))
    if isinstance(outcome, Failed) and outcome.error_class in CUT_CLASSES:
        outcome = replace(outcome, error_class="internal", message=f"{outcome.error_class}: {outcome.message}")
    if isinstance(outcome, Failed) and len(outcome.message) > LONGEST_TEXT:
        outcome = replace(outcome, message=outcome.message[:LONGEST_TEXT])
    if outcome.output is None:
        return outcome
    error_class, message = "internal", ""
    if not isinstance(outcome.output, dict):
        message = f"its output is {type(outcome.output).__name__} rather than an object"
    else:
        try:
            size = len(json_bytes(outcome.output))
            if size > LARGEST_OUTPUT:
                error_class, message = "too-large", f"its output of {size} bytes of JSON is more than {LARGEST_OUTPUT}"
        except (TypeError, ValueError, RecursionError) as error:
            message = f"its output cannot be written as JSON: {error}"
    if not message:
        return outcome
    if isinstance(outcome, Succeeded):
        return Failed(error_class, message, logs=outcome.logs)
    return replace(outcome, output=None, logs=(*outcome.logs, message))


def _size(output: Mapping[str, Any] | None, logs: Sequence[str], error: Mapping[str, Any] | None) -> int:
    """Return about how many bytes of the execution's document an outcome takes."""
    texts = [*logs, *map(str, (error or {}).values())]
    return 500 + sum(4 * len(text) for text in texts) + (0 if output is None else len(json_bytes(dict(output))))


def _bounded_logs(logs: Sequence[str]) -> tuple[str, ...]:
    kept: list[str] = []
    left = LARGEST_LOGS
    for line in map(str, logs):
        if len(line) > left:
            return (*kept, line[:left], f"… the first {LARGEST_LOGS} characters are kept")
        kept.append(line)
        left -= len(line) + 1
    return tuple(kept)
