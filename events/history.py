"""An execution as the log tells it: the fold of its records from both topics.

There is no order between two topics, and not every step of an execution leaves a record: a claim raises the epoch by one
and nobody hears of it until the run's first result; a restart that could not be published is followed by one that was.
Therefore every record that hands an execution on (a request, the results of a claimed run, an end) says where it stood:
its epoch, and how many results were ``recorded``. The number of results before a run, plus a result's sequence number in
it, is the place of that result among all that were ever applied. A result whose place lies above what a later start or the
end found recorded came too late, and was turned away; everything else was applied, in the order of the epochs.

An execution that takes up where another failed begins with what that one had done. Its own records only say how many results
those are: they are told by the records of its origin, which have to be folded first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from domain.execution import ActionOutcome, Admission, Cause, Execution, Status, admit, apply, carry_over
from domain.instants import instant
from events.folding import ended_transition, parent_of, requested_execution, restarts_of, result_transition
from events.records import ActionResult, Event, ExecutionEnded, ExecutionRequest
from events.topics import partition_of


@dataclass(frozen=True)
class Told:
    """What the log says of one execution."""

    execution: Execution | None  # None: too little to say anything
    complete: bool  # False: records are missing that others refer to
    records: int = 0
    lacks_origin: bool = False  # what it took over from another execution is not known


@dataclass
class _Era:
    """What happened under one epoch."""

    request: ExecutionRequest | None = None
    results: list[ActionResult] = field(default_factory=list)

    def found(self, epoch: int) -> Iterable[int]:
        """Yield how many results were recorded when this epoch began."""
        if self.request is not None and (self.request.recorded is not None or epoch == 1):
            yield _recorded(self.request)
        if self.results and (base := _base(self.results[0])) is not None:
            yield base


def origin_of(records: Iterable[Event]) -> str | None:
    """Return the execution whose results the execution of these records took over; None where there are none."""
    for record in records:
        if isinstance(record, (ExecutionRequest, ExecutionEnded)) and record.carried:
            return record.origin_id
    return None


def fold(records: Sequence[Event], origin: Told | None = None) -> Told:
    """Return what the records of one execution make of it; those of each topic in their order.

    ``origin`` is what is told of the execution that :func:`origin_of` names.
    """
    eras: dict[int, _Era] = {}
    end: ExecutionEnded | None = None
    for record in records:
        if isinstance(record, ExecutionRequest):
            if record.epoch >= 1 and record.requested_at is not None:  # else none of the services has made it
                eras.setdefault(record.epoch, _Era()).request = record
        elif isinstance(record, ActionResult):
            eras.setdefault(record.epoch, _Era()).results.append(record)
        elif isinstance(record, ExecutionEnded) and (end is None or _was_never_open(end) > _was_never_open(record)):
            end = record
    if end is not None and _was_never_open(end) and eras:
        end = None  # two runners had the same record in hand, and the other one admitted it
    if end is not None and _was_never_open(end):
        return Told(_skipped(end), end.created_at is not None, len(records))
    carried: Mapping[str, ActionOutcome] = {}
    lacks_origin = False
    if origin_of(records) is not None:
        if origin is None or origin.execution is None or not origin.complete:
            lacks_origin = True
        else:
            carried = carry_over(origin.execution)
    _drop_what_was_turned_away(eras, end)
    execution, complete = _run_through(eras, carried)
    if end is not None:
        execution, agrees = _ended(execution, end, carried)
        complete = agrees if execution is not None and end.created_at is not None else complete and agrees
    return Told(execution, complete and execution is not None, len(records), lacks_origin)


def _was_never_open(end: ExecutionEnded) -> bool:
    """Tell whether an execution was skipped from the start, rather than ended under a raised epoch."""
    return end.ended == Status.SKIPPED.value and (end.epoch or 0) < 2


def _base(result: ActionResult) -> int | None:
    return 0 if result.recorded is None and result.epoch == 1 else result.recorded


def _drop_what_was_turned_away(eras: dict[int, _Era], end: ExecutionEnded | None) -> None:
    limit = end.recorded if end is not None else None
    later = end is not None
    for epoch in sorted(eras, reverse=True):
        era = eras[epoch]
        base = _base(era.results[0]) if era.results else None
        kept = era.results
        if limit is not None and base is not None:
            kept = [result for result in kept if base + result.seq <= limit]
        if later:  # whoever is handed on, or ended otherwise, has not finished
            kept = [result for result in kept if Status(result.execution_status) in (Status.RUNNING, Status.WAITING)]
        counts = list(era.found(epoch))
        limit = min([*counts, limit]) if limit is not None else min(counts, default=None)
        era.results = kept
        later = True


def _recorded(request: ExecutionRequest) -> int:
    """Return how many results the execution had when it was handed out."""
    return (request.carried or 0) if request.recorded is None else request.recorded


def _run_through(eras: dict[int, _Era], carried: Mapping[str, ActionOutcome]) -> tuple[Execution | None, bool]:
    execution: Execution | None = None
    complete = True
    for epoch in sorted(eras):
        era = eras[epoch]
        if era.request is not None:
            execution = _handed_out(execution, era.request, carried)
            complete = complete and len(execution.results) == _recorded(era.request)
        for result in era.results:
            if execution is None:
                return None, False
            if result.epoch > execution.epoch:
                # A claim raises by one what was handed out; any other step is that of a request we do not have.
                complete = complete and result.epoch == execution.epoch + 1 and execution.status is Status.PENDING
                complete = complete and len(execution.results) == (_base(result) or 0)
                execution = _claimed(execution, result)
            execution = apply(execution, result_transition(result))
    return execution, complete


def _handed_out(before: Execution | None, request: ExecutionRequest, carried: Mapping[str, ActionOutcome]) -> Execution:
    """Return the execution as the request found it: it was published after the document said so."""
    first = before is None
    execution = before or replace(requested_execution(request), results=carried)
    if first and request.epoch == 1:
        return execution
    return replace(
        execution,
        status=Status.PENDING,
        epoch=request.epoch,
        seq=0,
        attempt=request.attempt,
        lost=request.lost_attempts or 0,
        restarts=restarts_of(request),
        retries_left=request.retries_left,
        requested_at=request.requested_at and instant(request.requested_at),
        started_at=instant(request.started_at) if request.started_at else execution.started_at,
        deadline=request.deadline and instant(request.deadline),
        wake_at=None,
        owner=None,
    )


def _claimed(execution: Execution, result: ActionResult) -> Execution:
    began = result.execution_started_at
    return replace(
        execution,
        status=Status.RUNNING,
        epoch=result.epoch,
        seq=0,
        attempt=result.attempt,
        requested_at=None,
        started_at=instant(began) if began else execution.started_at,
    )


def _skipped(end: ExecutionEnded) -> Execution | None:
    if end.created_at is None:
        return None
    return admit(_admission(end, lock_key=None, reason=end.reason))


def _ended(
    execution: Execution | None, end: ExecutionEnded, carried: Mapping[str, ActionOutcome]
) -> tuple[Execution | None, bool]:
    """Return the execution as it ended, and whether everything it had recorded is known."""
    if execution is None:
        if end.created_at is None:
            return None, False
        execution = admit(_admission(end, lock_key=end.workflow_id, carried=carried))
    execution = replace(
        execution,
        epoch=execution.epoch if end.epoch is None else end.epoch - 1,  # the end itself raises it
        attempt=execution.attempt if end.attempt is None else end.attempt,
        lost=execution.lost if end.lost_attempts is None else end.lost_attempts,
        restarts=execution.restarts if end.restarts is None else restarts_of(end),
        retries_left=execution.retries_left if end.retries_left is None else end.retries_left,
        started_at=instant(end.started_at) if end.started_at else execution.started_at,
    )
    known = len(execution.results) == (len(execution.results) if end.recorded is None else end.recorded)
    ended = apply(execution, ended_transition(end))
    # That a run was begun stands in no record until its first result.
    return replace(ended, cut_off_since=end.cut_off_since and instant(end.cut_off_since)), known


def _admission(
    end: ExecutionEnded,
    *,
    lock_key: str | None,
    reason: str | None = None,
    carried: Mapping[str, ActionOutcome] = MappingProxyType({}),
) -> Admission:
    return Admission(
        execution_id=end.execution_id,
        workflow_id=end.workflow_id,
        version=end.version,
        cause=Cause(end.cause or Cause.EVENT),
        created_at=instant(end.created_at or end.at),
        retries_left=end.retries_left or 0,
        total_actions=end.total_actions or 0,
        shard=partition_of(end.workflow_id),
        due_at=end.due_at and instant(end.due_at),
        lock_key=lock_key,
        reason=reason,
        origin_id=end.origin_id,
        takes_up=bool(end.takes_up),
        triggered_by=parent_of(end),
        reference=end.reference,
        carried=carried,
    )
