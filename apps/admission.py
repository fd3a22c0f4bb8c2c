"""Admission under an overlap policy: the one way by which ticks, events and triggers by hand become executions.

Life cycle of what is asked for::

    asked ─┬─ a place to run is free ─> pending, to be published by the caller
           └─ none is free ─┬─ skip, allow:     refused
                            ├─ queue:           queued, where a place in the line is free, otherwise refused
                            └─ cancel-running:  the open execution is cancelled, and the place taken

A backfill gives way. Whatever is asked for while an execution of one holds the only place is queued behind it, whatever
the policy, and is released before the backfill goes on; refused is only what finds another one queued already. So a backfill
costs a schedule no tick unless one of its executions outlasts two; it makes a tick late at times, by the rest of that
execution. It is not cancelled by ``cancel-running`` either, for its tick would have no second chance.

Each step is one insert or one conditional update under a unique index (see :mod:`domain.overlap`), so a caller that dies in
between leaves nothing behind, and a repetition finds the execution by its id. Whoever ends an execution that others may be
queued behind tells the scheduler (``HolderEnded``), which releases the next; its pass finds whatever was not told.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from domain.execution import Admission, Ended, Execution, Restart, Status, admit, altered
from domain.overlap import Overlap
from store.interfaces import Admitted, AlreadyAdmitted, Executions, Locked

# How often a place is asked for again that was taken, or became free, while we looked.
_TRIES = 3


@dataclass(frozen=True)
class Opened:
    """The execution is there, by this call."""

    execution: Execution  # pending or queued
    publish: Execution | None  # to be handed to the runners by the caller: this one, or one that was queued before it


async def admit_under(
    overlap: Overlap,
    admission: Admission,
    *,
    executions: Executions,
    tell_ended: Callable[[Execution], Awaitable[object]],
    now: datetime,
) -> Opened | AlreadyAdmitted | Locked:
    """Admit an execution, or queue it, as the overlap policy says; Locked means that it is refused.

    ``tell_ended`` publishes the end of an execution that has to make room.

    Raises:
        StoreUnavailable: the store cannot be reached; asking again under the same id is safe.
    """
    places = overlap.places(admission.workflow_id)
    refusal: Locked
    if overlap.policy == "queue" and await executions.line(admission.workflow_id):
        refusal = Locked("", Status.QUEUED)  # whoever is queued comes first
    else:
        answer = await _take_one(places, admission, executions)
        if not isinstance(answer, Locked):
            return answer
        refusal = answer
    if await executions.get(admission.execution_id) is not None:
        # A repetition ran into the lock of another one before its own id; it must not make room, nor be told as refused.
        return AlreadyAdmitted(admission.execution_id)
    if overlap.policy == "queue" or (refusal.gives_way and len(places) == 1):
        return await _queue(overlap, admission, refusal, executions, now)
    if overlap.policy == "cancel-running":
        return await _replace_running(overlap, admission, refusal, executions, tell_ended, now)
    return refusal


async def admit_side_by_side(
    overlap: Overlap, workflow_id: str, admissions: Iterable[Admission], *, executions: Executions
) -> Sequence[Opened | AlreadyAdmitted]:
    """Admit, in one go, as many of the first of several executions of a workflow as there are free places.

    None is admitted before those that come before it, also where somebody else is faster at one of the places. Where none is
    admitted by this, :func:`admit_under` says what becomes of the first one.

    Raises:
        StoreUnavailable: the store cannot be reached; asking again under the same ids is safe.
    """
    places = overlap.places(workflow_id)
    holders = await executions.holders(places)
    free = [place for place in places if place not in holders]
    asked = [altered(admission, lock_key=place) for place, admission in zip(free, admissions, strict=False)]
    answers = await executions.admit_in_order(asked) if asked else ()
    return [
        Opened(execution, execution) if isinstance(answer, Admitted) else answer
        for execution, answer in zip(map(admit, asked), answers, strict=False)
        if not isinstance(answer, Locked)
    ]


async def release_next(workflow_id: str, *, executions: Executions, now: datetime) -> Execution | None:
    """Give the workflow's free place to the execution that has been queued for longest; None where there is none."""
    for _ in range(_TRIES):
        if await executions.holder(workflow_id) is not None:
            return None
        line = await executions.line(workflow_id)
        if not line:
            return None
        released = await executions.reissue(line[0].execution_id, line[0].epoch, now, Restart.RELEASED)
        if released is not None:
            return released
        # It was cancelled or released meanwhile, or the one before it was, which may be over by now: we must not go on to
        # the next one, but look again who comes first.
    return None


async def _take_one(
    places: Sequence[str], admission: Admission, executions: Executions, *, queued: bool = False
) -> Opened | AlreadyAdmitted | Locked:
    answer = await _take(places[0], admission, executions, queued)
    for _ in range(_TRIES):
        if not isinstance(answer, Locked) or (answer.execution_id and len(places) == 1):
            break
        holders = await executions.holders(places)
        for place in places:
            if place not in holders:
                answer = await _take(place, admission, executions, queued)
                if not isinstance(answer, Locked):
                    return answer
        if len(holders) == len(places):
            break
    return answer


async def _take(place: str, admission: Admission, executions: Executions, queued: bool) -> Opened | AlreadyAdmitted | Locked:
    asked = altered(admission, lock_key=place, queued=queued)
    answer = await executions.admit(asked)
    if isinstance(answer, Admitted):
        execution = admit(asked)
        return Opened(execution, None if queued else execution)
    return answer


async def _queue(
    overlap: Overlap, admission: Admission, refusal: Locked, executions: Executions, now: datetime
) -> Opened | AlreadyAdmitted | Locked:
    answer = await _take_one(overlap.line(admission.workflow_id), admission, executions, queued=True)
    if isinstance(answer, Locked):
        if refusal.execution_id:
            return refusal
        holder = await executions.holder(admission.workflow_id)
        return Locked(holder.execution_id, holder.status) if holder else refusal
    if isinstance(answer, Opened):
        # The one it was queued behind may have ended before it stood in the line, when nobody was there to be released.
        released = await release_next(admission.workflow_id, executions=executions, now=now)
        if released is not None:
            ours = released if released.execution_id == admission.execution_id else answer.execution
            return Opened(ours, released)
    return answer


async def _replace_running(
    overlap: Overlap,
    admission: Admission,
    refusal: Locked,
    executions: Executions,
    tell_ended: Callable[[Execution], Awaitable[object]],
    now: datetime,
) -> Opened | AlreadyAdmitted | Locked:
    answer: Opened | AlreadyAdmitted | Locked = refusal
    for _ in range(_TRIES):
        if not isinstance(answer, Locked):
            break
        ended = await executions.end(
            Ended(
                execution_id=answer.execution_id,
                workflow_id=admission.workflow_id,
                status=Status.CANCELLED,
                reason=f"cancelled: execution {admission.execution_id} took its place (overlap policy cancel-running)",
                at=now,
            )
        )
        if ended is not None:
            await tell_ended(ended)
        answer = await _take_one(overlap.places(admission.workflow_id), admission, executions)
    return answer
