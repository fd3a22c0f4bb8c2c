"""What the records mean to the core: conversions between wire records and the transitions of an execution."""

from dataclasses import asdict
from typing import cast

from domain.execution import (
    CARRIED,
    ActionFinished,
    ActionOutcome,
    Admission,
    Cause,
    Ended,
    Execution,
    Parent,
    Restart,
    Restarted,
    Status,
    admit,
)
from domain.instants import instant
from events.records import ActionResult, ExecutionEnded, ExecutionRequest, ParentRecord, RestartRecord
from events.topics import partition_of

_STATUSES = frozenset(Status)


def result_transition(record: ActionResult) -> ActionFinished:
    """Return the transition that a result stands for."""
    return ActionFinished(
        execution_id=record.execution_id,
        workflow_id=record.workflow_id,
        epoch=record.epoch,
        seq=record.seq,
        outcome=ActionOutcome(
            action_id=record.action_id,
            index=record.index,
            attempt=record.attempt,
            status=record.status,
            started_at=instant(record.started_at),
            finished_at=instant(record.finished_at),
            logs=tuple(record.logs),
            error=record.error,
            output=record.output,
            next_index=record.next_index,
            continued=bool(record.continued),
        ),
        status=_status(record.execution_status),
        retries_left=record.retries_left,
        runner=record.runner,
        wake_at=instant(record.wake_at) if record.wake_at else None,
        reason=record.reason,
        version=record.version,
        deadline=instant(record.deadline) if record.deadline else None,
    )


def _status(word: str) -> Status:
    """Return what an execution is to become, which must be known here.

    Raises:
        ValueError: it is a word of a later version.
    """
    status = Status(word)
    if status not in _STATUSES:
        raise ValueError(f"{word!r} is not a status")
    return status


def ended_transition(record: ExecutionEnded) -> Ended:
    """Return the transition that an end without a result stands for."""
    return Ended(
        execution_id=record.execution_id,
        workflow_id=record.workflow_id,
        status=_status(record.ended),
        reason=record.reason,
        at=instant(record.at),
    )


def ended_record(execution: Execution) -> ExecutionEnded:
    """Return the record that tells of an execution that ended without a result."""
    if execution.finished_at is None:
        raise ValueError(f"execution {execution.execution_id} is still open")
    return ExecutionEnded(
        workflow_id=execution.workflow_id,
        execution_id=execution.execution_id,
        ended=execution.status.value,
        at=execution.finished_at,
        reason=execution.reason or "",
        version=execution.version,
        cause=execution.cause.value,
        epoch=execution.epoch,
        attempt=execution.attempt,
        lost_attempts=execution.lost,
        restarts=_restart_records(execution),
        cut_off_since=execution.cut_off_since,
        retries_left=execution.retries_left,
        total_actions=execution.total_actions,
        recorded=len(execution.results),
        created_at=execution.created_at,
        due_at=execution.due_at,
        started_at=execution.started_at,
        origin_id=execution.origin_id,
        takes_up=execution.takes_up or None,
        carried=_carried(execution),
        triggered_by=_parent_record(execution),
        reference=execution.reference,
    )


def request_record(execution: Execution) -> ExecutionRequest:
    """Return the request that hands a pending execution to the runners."""
    return ExecutionRequest(
        workflow_id=execution.workflow_id,
        execution_id=execution.execution_id,
        epoch=execution.epoch,
        version=execution.version,
        cause=execution.cause.value,
        attempt=execution.attempt,
        retries_left=execution.retries_left,
        total_actions=execution.total_actions,
        lost=execution.lost > 0,
        created_at=execution.created_at,
        requested_at=execution.requested_at,
        due_at=execution.due_at,
        lost_attempts=execution.lost or None,
        restarts=_restart_records(execution),
        recorded=len(execution.results) if execution.epoch > 1 else None,
        started_at=execution.started_at,
        deadline=execution.deadline,
        input=None if execution.input is None else dict(execution.input),
        reference=execution.reference,
        origin_id=execution.origin_id,
        takes_up=execution.takes_up or None,
        carried=_carried(execution),
        triggered_by=_parent_record(execution),
    )


def _restart_records(execution: Execution) -> list[RestartRecord] | None:
    return [cast("RestartRecord", restart.known()) for restart in execution.restarts] if execution.restarts else None


def _parent_record(execution: Execution) -> ParentRecord | None:
    return None if execution.triggered_by is None else cast("ParentRecord", asdict(execution.triggered_by))


def parent_of(record: ExecutionRequest | ExecutionEnded) -> Parent | None:
    """Return the action that has triggered the execution, as a record tells it."""
    return None if record.triggered_by is None else Parent(**record.triggered_by)


def restarts_of(record: ExecutionRequest | ExecutionEnded) -> tuple[Restarted, ...]:
    """Return the restarts that a record tells."""
    return tuple(
        Restarted(
            at=instant(each["at"]),
            why=Restart(each["why"]),
            attempt=each["attempt"],
            index=each["index"],
            runner=each.get("runner"),
            since=instant(each["since"]) if "since" in each else None,
            reason=each.get("reason"),
        )
        for each in record.restarts or ()
    )


def _carried(execution: Execution) -> int | None:
    return sum(outcome.attempt == CARRIED for outcome in execution.results.values()) or None if execution.results else None


def requested_execution(request: ExecutionRequest) -> Execution:
    """Return the execution that was admitted to be requested like this, as it was before anything had happened to it.

    Not told by the request are its place, where it may have several (the lock key), and what was taken over.
    """
    return admit(
        Admission(
            execution_id=request.execution_id or "",
            workflow_id=request.workflow_id,
            version=request.version,
            cause=Cause(request.cause),
            created_at=instant(request.created_at or request.requested_at),  # type: ignore[arg-type]
            requested_at=request.requested_at and instant(request.requested_at),
            retries_left=request.retries_left,
            total_actions=request.total_actions,
            shard=partition_of(request.workflow_id),
            due_at=request.due_at and instant(request.due_at),
            input=request.input,
            reference=request.reference,
            lock_key=request.workflow_id,
            origin_id=request.origin_id,
            takes_up=bool(request.takes_up),
            triggered_by=parent_of(request),
            deadline=request.deadline and instant(request.deadline),
        )
    )
