"""The ``ActionResult`` of a step: what it did, and what its execution is from then on.

What failed is retried, or counts, or does not count (``continueOnError``); what waits goes on later; after anything else
:mod:`domain.flow` says which step comes next, and what the execution is where none does.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from actions.registry import WorkflowDefinition
from actions.running import Awaiting, Delayed, Failed, Outcome, Skipped
from apps.runner.run import Run
from domain.action import Action
from domain.execution import AWAITING, ActionOutcome, Failures, Restart, Status, deadline_of
from domain.flow import failure, following, status_after
from domain.retry import NoRetry, RetryDecision, decide_retry
from events.records import ActionResult
from vault.redaction import Redactor

UNKNOWN_OUTCOME = "unknown-outcome"


class _Onward(NamedTuple):
    """What an execution is after a step."""

    status: Status
    retries_left: int
    wake_at: datetime | None = None
    reason: str | None = None
    next_index: int | None = None  # None: as anybody would think
    deadline: datetime | None = None  # of the handlers, where they follow; None: as it was


def action_result(
    run: Run,
    definition: WorkflowDefinition,
    index: int,
    seq: int,
    outcome: Outcome,
    started_at: datetime,
    finished_at: datetime,
    runner: str,
    outcomes: Sequence[ActionOutcome],
    *,
    uniform: float,
) -> ActionResult:
    """Return the result of the step at ``index``; ``outcomes`` came before it.

    ``uniform`` is a random number between 0 and 1, by which a retry is spread.
    """
    action: Action = definition.prepared[index].action
    error, retry = None, None
    outcome_status = {Skipped: "skipped", Awaiting: AWAITING}.get(type(outcome), "ok")
    if isinstance(outcome, Failed):
        outcome_status = "unknown" if outcome.error_class == UNKNOWN_OUTCOME else "failed"
        error, retry = _failed(run, definition, index, outcome, started_at, finished_at, uniform)
    why = None if error is None else _why_failed(action.action_id, outcome_status, error)
    is_final = error is not None and retry is None
    continued = is_final and bool(action.continue_on_error) and not _is_cut_short(run, definition, index)
    if retry is not None:
        onward = _Onward(Status.WAITING, retry.retries_left, retry.at, why)
    elif isinstance(outcome, Awaiting):
        onward = _Onward(Status.WAITING, run.retries_left, outcome.until, _why_waiting(action, outcome))
    else:
        failed = is_final and not continued
        onward = _after(run, definition, index, outcome, finished_at, outcomes, failed=failed, why=why)
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
        execution_status=onward.status.value,
        retries_left=onward.retries_left,
        total_actions=len(definition.actions),
        started_at=started_at,
        finished_at=finished_at,
        logs=list(outcome.logs),
        error=error,
        output=outcome.output,
        wake_at=onward.wake_at,
        reason=onward.reason,
        recorded=run.recorded if run.epoch > 1 else None,
        execution_started_at=run.started_at if run.epoch > 1 else None,
        next_index=onward.next_index,
        continued=continued or None,
        deadline=onward.deadline,
    )


def _is_cut_short(run: Run, definition: WorkflowDefinition, index: int) -> bool:
    return run.cut_short is not None and index < definition.plan.actions


def _failed(
    run: Run,
    definition: WorkflowDefinition,
    index: int,
    failed: Failed,
    started_at: datetime,
    finished_at: datetime,
    uniform: float,
) -> tuple[Mapping[str, Any], RetryDecision | None]:
    """Return the error of a step that has failed, and its retry where there is to be one."""
    if failed.error_class == UNKNOWN_OUTCOME or _is_cut_short(run, definition, index):
        return failed.error, None  # whatever the policy covers
    before = run.failures.get(index, Failures(0, started_at))
    decision = decide_retry(
        definition.retry_policies[index],
        failed.failure,
        retries_left=run.retries_left,
        failed_before=before.count,
        first_started_at=before.since,
        failed_at=finished_at,
        uniform=uniform,
    )
    if isinstance(decision, RetryDecision) and run.deadline is not None and decision.at >= run.deadline:
        decision = NoRetry("its time is over before the next retry")
    if isinstance(decision, NoRetry):
        return {**failed.error, "notRetried": decision.why}, None
    return failed.error, decision


def _after(
    run: Run,
    definition: WorkflowDefinition,
    index: int,
    outcome: Outcome,
    finished_at: datetime,
    outcomes: Sequence[ActionOutcome],
    *,
    failed: bool,
    why: str | None,
) -> _Onward:
    """Return what an execution is after a step that is done, or has ``failed`` for good; ``why`` tells of its failure."""
    plan, action = definition.plan, definition.prepared[index].action
    first = failure(outcomes)
    cut = None if run.cut_short is None else run.cut_short.why
    next_index = following(plan, index, failed=failed, cut=cut)
    status = status_after(plan, next_index, failed=failed or first is not None, cut=cut)
    wake_at, reason, deadline = None, None, None
    if status is Status.FAILED:
        reason = why if first is None else _why_failed(first.action_id, first.status, first.error)
    elif status is Status.CANCELLED and run.cut_short is not None:
        reason = run.cut_short.reason
    if isinstance(outcome, Delayed) and status is Status.RUNNING:
        status, wake_at, reason = Status.WAITING, outcome.until, _why_waiting(action, outcome)
    # A delay that comes last is one of the actions: their time may be over before it is.
    is_in_time = wake_at is None or run.deadline is None or wake_at < run.deadline
    if index < plan.actions <= next_index < plan.total and is_in_time:
        deadline = deadline_of(wake_at or finished_at, definition.timeout)
    is_expected = next_index == index + (not failed)
    return _Onward(status, run.retries_left, wake_at, reason, None if is_expected else next_index, deadline)


def _why_waiting(action: Action, outcome: Awaiting | Delayed) -> str:
    return f"action {action.action_id}: {outcome.logs[0]}"


def _why_failed(action_id: str | None, status: str, error: Mapping[str, Any] | None) -> str:
    error = error or {}
    if error.get("class") == Restart.GIVEN_UP.value:
        return str(error["message"])
    verb = "is in doubt" if status == "unknown" else "failed"
    why = f"; {error['notRetried']}" if "notRetried" in error else ""
    return f"action {action_id} {verb}: {error.get('message', '')}{why}"


def redact(result: ActionResult, redactor: Redactor) -> None:
    """Take the values of secrets out of everything that an action, or an error of its, may have put into its result."""
    if redactor.is_blank:
        return
    result.logs = redactor.value(result.logs)
    if result.error is not None:
        # Its class was not cut, and others decide by it.
        error_class = redactor.text(result.error["class"])
        result.error = {name: redactor.value(text) for name, text in result.error.items()} | {"class": error_class}
    if result.status != AWAITING:  # whose output names what is waited for, by which it is woken, and nothing of anybody's
        result.output = redactor.data(result.output)
    result.reason = redactor.value(result.reason)
