"""What the API shows of what is stored: camelCase, instants in RFC 3339, absent values as null.

The same shapes are declared for its documents in :mod:`apps.workflows.answers`.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from actions.registry import WorkflowDefinition
from apps.stored_definitions import UnreadableVersion, read_definition
from apps.workflows.backfills import SHOWN, Plan
from apps.workflows.holding import trigger_of
from domain import flow
from domain.access import Token
from domain.backfill import Backfill
from domain.execution import CARRIED, ActionOutcome, Awaited, Execution, Parent, Restarted, Status
from domain.instants import MILLISECOND, written
from domain.occurrence import Unfired
from domain.retry import RetryPolicy
from domain.trigger import CronTrigger, Trigger
from events.letter_box import StoredLetter
from store.interfaces import AuditEntry, Due, Workflow

_STEPS = {"actions": "actions", "onFailure": "on_failure", "finally": "finally_"}  # by what users call the lists


def workflow_in_list(stored: Workflow, holder: Execution | None) -> dict[str, Any]:
    """Return a workflow as lists show it: one that cannot be read here does not keep the others from being shown."""
    try:
        return workflow(stored, holder)
    except UnreadableVersion as error:
        return {**_with_state(_outline(stored), stored, holder), "unreadable": str(error)}


def workflow(stored: Workflow, holder: Execution | None) -> dict[str, Any]:
    """Return a workflow; ``holder`` is its open execution.

    Raises:
        UnreadableVersion: its definition cannot be read here.
    """
    return _with_state(definition(stored), stored, holder)


def _outline(stored: Workflow) -> dict[str, Any]:
    """Return what a definition says in words that every version knows."""
    shown = {name: stored.definition.get(key) for name, key in _STEPS.items()}
    lists = {
        name: [{"type": step["type"], "actionId": step["action_id"]} for step in steps]
        for name, steps in shown.items()
        if steps is not None
    }
    try:
        trigger = trigger_of(stored).to_wire()
    except UnreadableVersion:
        trigger = {"type": stored.definition["trigger"]["type"]}
    return {"workflowId": stored.workflow_id, "trigger": trigger, **lists}


def _with_state(definition: dict[str, Any], stored: Workflow, holder: Execution | None) -> dict[str, Any]:
    archived = stored.archived_at is not None
    paused = stored.paused_at is not None and not archived
    definition["trigger"]["status"] = (
        "paused" if paused and holder is None else trigger_status(holder.status if holder else None)
    )
    return {
        **definition,
        "version": stored.version,
        "createdAt": instant(stored.created_at),
        "updatedAt": instant(stored.updated_at),
        "nextRun": instant(stored.next_run),
        **({"archivedAt": instant(stored.archived_at)} if archived else {}),
        **({"pausedAt": instant(stored.paused_at)} if paused else {}),
    }


def workflow_in_full(
    stored: Workflow,
    definition: WorkflowDefinition,
    holder: Execution | None,
    latest: Execution | None,
    warnings: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    """Return a workflow with its newest execution, and what would make one fail that began now."""
    return {
        **workflow(stored, holder),
        "retrySchedule": retry_schedule(definition),
        "lastExecution": execution(latest) if latest else None,
        "warnings": warnings,
    }


def retry_schedule(definition: WorkflowDefinition) -> dict[str, Any]:
    """Return the waits in seconds that the retry policies come to: the workflow's, and those of steps that differ."""
    own = {
        action.action_id: _schedule(definition.retry_policy(action))
        for action in definition.steps
        if action.retry is not None
    }
    return {**_schedule(definition.retry_policy()), "actions": own}


def _schedule(policy: RetryPolicy) -> dict[str, Any]:
    waits = [wait.total_seconds() for wait in policy.waits()]
    return {
        "attempts": len(waits) + 1,
        "longestWaits": waits,
        "longestTotal": policy.longest_total().total_seconds(),
        "jitter": policy.backoff.jitter,
        "budget": policy.budget.total_seconds() if policy.budget else None,
    }


def version(stored: Workflow) -> dict[str, Any]:
    """Return one version of a workflow: its number, when it was stored, and the definition.

    Raises:
        UnreadableVersion: that cannot be read here.
    """
    return {**_stored_at(stored), "definition": definition(stored)}


def version_in_list(stored: Workflow) -> dict[str, Any]:
    """Return the same as lists show it: a definition that cannot be read here does not keep the others from being shown."""
    try:
        return version(stored)
    except UnreadableVersion as error:
        return {**_stored_at(stored), "definition": None, "unreadable": str(error)}


def _stored_at(stored: Workflow) -> dict[str, Any]:
    return {
        "version": stored.version,
        "createdAt": instant(stored.updated_at),
        "archivedAt": instant(stored.archived_at),
    }


def definition(stored: Workflow) -> dict[str, Any]:
    """Return a stored definition as its author would write it.

    Raises:
        UnreadableVersion: it cannot be read here.
    """
    return read_definition(stored.workflow_id, stored.version, stored.definition).to_wire()


def definition_in_audit(stored: Workflow) -> Any:
    """Return the same for the audit log, as it is stored where it cannot be read here: it can be changed all the same."""
    try:
        return definition(stored)
    except UnreadableVersion:
        return dict(stored.definition)


def recent(executions: Sequence[Execution]) -> list[dict[str, Any]]:
    """Return executions as the strip of recent results shows them, newest first."""
    return [
        {
            "executionId": found.execution_id,
            "status": found.status.shown,
            "createdAt": instant(found.created_at),
            "startedAt": instant(found.started_at),
            "finishedAt": instant(found.finished_at),
            "nextAttemptAt": instant(found.wake_at),
        }
        for found in executions
    ]


def trigger_status(open_execution: Status | None) -> str:
    """Return ``busy`` while actions run, ``pending`` while an execution is accepted or in backoff, else ``idle``."""
    if open_execution is None:
        return "idle"
    return "busy" if open_execution is Status.RUNNING else "pending"


def execution(found: Execution) -> dict[str, Any]:
    """Return an execution as lists show it."""
    return {
        "executionId": found.execution_id,
        "workflowId": found.workflow_id,
        "version": found.version,
        "status": found.status.shown,
        "cause": found.cause.value,
        "reference": found.reference,
        "createdAt": instant(found.created_at),
        "dueAt": instant(found.due_at),
        "startedAt": instant(found.started_at),
        "finishedAt": instant(found.finished_at),
        "attempt": found.attempt,
        "retriesLeft": found.retries_left,
        "nextAttemptAt": instant(found.wake_at),
        "waitingFor": None if found.awaited is None else waiting_for(found.awaited),
        "resumedAt": instant(found.resumed_at),
        "deadline": instant(found.deadline),
        "lastFailedAction": found.last_failed_action,
        "reason": found.reason,
        "originId": found.origin_id,
        "takesUp": found.takes_up,
        "triggeredBy": None if found.triggered_by is None else _parent(found.triggered_by),
        "totalActions": found.total_actions,
    }


def _parent(parent: Parent) -> dict[str, Any]:
    return {
        "executionId": parent.execution_id,
        "workflowId": parent.workflow_id,
        "actionId": parent.action_id,
    }


def execution_in_full(found: Execution, definition: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return an execution with every attempt of every action, in the order they were run, and the step it is or was at.

    ``definition`` is the one that it runs, as it is stored; it is needed only where :func:`stands_at_a_step`.
    """
    return {
        **execution(found),
        **({} if found.input is None else {"input": dict(found.input)}),
        "epoch": found.epoch,
        **({"restarts": [_restart(each) for each in found.restarts]} if found.restarts else {}),
        "currentStep": _next_step(found, definition) if found.status.is_open else None,
        **_cut_off(found, definition),
        "executedActions": [_outcome(outcome) for outcome in found.ordered_results],
    }


def waiting_for(awaited: Awaited) -> dict[str, Any]:
    """Return what an execution waits for."""
    return {
        "signal": awaited.signal,
        "executions": awaited.executions,
        "actionId": awaited.action_id,
        "until": instant(awaited.until),
    }


def stands_at_a_step(found: Execution) -> bool:
    """Tell whether an execution is at a step, or was when it was ended."""
    return found.status.is_open or found.cut_off_since is not None


def _cut_off(found: Execution, definition: Mapping[str, Any] | None) -> dict[str, Any]:
    step = None if found.cut_off_since is None else _next_step(found, definition)
    return {} if step is None else {"cutOff": {**step, "since": instant(found.cut_off_since)}}


def _next_step(found: Execution, definition: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if definition is None:
        return None
    # Read from the document, not from a model: of a kind of action that only the runners know there is none here.
    lists = {name: definition.get(stored) or () for name, stored in _STEPS.items()}
    plan = flow.Plan(*(len(steps) for steps in lists.values()))
    if found.resume_index >= plan.total:
        return None
    name, index = plan.list_of(found.resume_index)
    return {"list": name, "position": index + 1, "actionId": lists[name][index]["action_id"]}


def ticks(dues: Sequence[datetime], trigger: Trigger) -> dict[str, Any]:
    """Return due instants, in UTC and as the clocks of the schedule's zone show them."""
    zone = trigger.timezone if isinstance(trigger, CronTrigger) else "UTC"
    return {
        "timezone": zone,
        "items": [
            {"dueAt": instant(due), "localTime": due.astimezone(ZoneInfo(zone)).isoformat(timespec="seconds")}
            for due in dues
        ],
    }


def upcoming(due: Due, holder: Execution | None) -> dict[str, Any]:
    """Return the next run of a workflow; ``holder`` is its open execution."""
    trigger = trigger_of(due)
    shown = ticks([due.next_run], trigger)
    return {
        "workflowId": due.workflow_id,
        "version": due.version,
        **shown["items"][0],
        "timezone": shown["timezone"],
        "trigger": {**trigger.to_wire(), "status": trigger_status(holder.status if holder else None)},
    }


def occurrence(found: Execution | Unfired) -> dict[str, Any]:
    """Return what became of a tick, or of consecutive ticks that were not fired."""
    if isinstance(found, Unfired):
        return {
            "disposition": found.disposition.value,
            "dueAt": instant(found.first),
            "until": instant(found.last),
            "ticks": found.ticks,
            "openExecutionId": found.holder,
        }
    shown: dict[str, Any] = {
        "disposition": "fired",
        "dueAt": instant(found.due_at),
        "executionId": found.execution_id,
        "status": found.status.shown,
        "startedAt": instant(found.started_at),
        "nextAttemptAt": instant(found.wake_at),
        "cause": found.cause.value,
        "latenessMs": None,
    }
    if found.started_at is not None and found.due_at is not None:
        shown["latenessMs"] = (found.started_at - found.due_at) // MILLISECOND
    return shown


def backfill_plan(planned: Plan, running: Backfill | None) -> dict[str, Any]:
    """Return what a backfill would do; ``running`` is one that is in its way."""
    shown = ticks(planned.to_run[:SHOWN], planned.trigger)
    last = planned.to_run[SHOWN:][-SHOWN:]
    return {
        "workflowId": planned.workflow.workflow_id,
        "from": instant(planned.first),
        "to": instant(planned.until),
        "ticks": planned.ticks,
        "alreadyRun": planned.ticks - len(planned.to_run),
        "toRun": len(planned.to_run),
        "timezone": shown["timezone"],
        "firstTicks": shown["items"],
        "lastTicks": ticks(last, planned.trigger)["items"],
        "rate": planned.asked.rate,
        "atOnce": planned.asked.at_once,
        "shortestSeconds": planned.shortest.total_seconds(),
        "runningBackfillId": running.backfill_id if running else None,
    }


def backfill(found: Backfill) -> dict[str, Any]:
    """Return a backfill."""
    return {
        "backfillId": found.backfill_id,
        "workflowId": found.workflow_id,
        "status": found.status.value,
        "from": instant(found.first),
        "to": instant(found.until),
        "rate": found.rate,
        "atOnce": found.at_once,
        "beyondRetention": found.beyond_retention,
        "ticks": found.ticks,
        "alreadyRun": found.already_run,
        "started": found.started,
        "open": len(found.open),
        "ok": found.ok,
        "failed": found.failed,
        "left": found.left,
        "nextTick": instant(found.position),
        "createdAt": instant(found.created_at),
        "finishedAt": instant(found.finished_at),
        "reason": found.reason,
    }


def _outcome(outcome: ActionOutcome) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "actionId": outcome.action_id,
        "index": outcome.index,
        "status": outcome.status,
        "logs": list(outcome.logs),
        "startedAt": instant(outcome.started_at),
        "finishedAt": instant(outcome.finished_at),
        "attempt": outcome.attempt,
    }
    if outcome.attempt == CARRIED:
        shown["carriedOver"] = True
    if outcome.error is not None:
        shown["error"] = dict(outcome.error)
    if outcome.output is not None:
        shown["output"] = dict(outcome.output)
    if outcome.continued:
        shown["continued"] = True
    return shown


def _restart(restart: Restarted) -> dict[str, Any]:
    return {
        "at": instant(restart.at),
        "why": restart.why.value,
        "attempt": restart.attempt,
        "index": restart.index,
        **({} if restart.runner is None else {"runner": restart.runner}),
        **({} if restart.since is None else {"since": instant(restart.since)}),
        **({} if restart.reason is None else {"reason": restart.reason}),
    }


def token(stored: Token) -> dict[str, Any]:
    """Return a token without its digest."""
    return {
        "tokenId": stored.token_id,
        "name": stored.name,
        "scope": stored.scope.value,
        "createdAt": instant(stored.created_at),
        "expiresAt": instant(stored.expires_at),
        "revokedAt": instant(stored.revoked_at),
        "lastUsedAt": instant(stored.last_used_at),
    }


def audit_entry(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry of the audit log."""
    return {
        "entryId": entry.entry_id,
        "at": instant(entry.at),
        "who": entry.who,
        "tokenId": entry.token_id,
        "operation": entry.operation,
        "path": entry.path,
        "status": entry.status,
        "requestId": entry.request_id,
        "address": entry.address,
        "changes": [dict(change) for change in entry.changes],
    }


def dead_letter(stored: StoredLetter) -> dict[str, Any]:
    """Return a dead letter; bytes that are not text are shown in base64 instead."""
    letter = stored.letter
    shown: dict[str, Any] = {
        "id": stored.letter_id,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "at": instant(letter.at),
    }
    for name, raw, encoded in (("key", stored.key, letter.key), ("value", stored.value, letter.value)):
        try:
            shown[name] = None if raw is None else raw.decode()
        except UnicodeDecodeError:
            shown[name] = None
            shown[f"{name}Base64"] = encoded
    return shown


def instant(value: datetime | None) -> str | None:
    """Return an instant in UTC to the millisecond, as in 2026-01-31T12:00:00.000Z."""
    return None if value is None else written(value)
