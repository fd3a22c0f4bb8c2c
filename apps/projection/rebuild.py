"""Writes the projection anew: every execution that the log covers is stored as the log tells it.

What agrees already is left alone, and so is whatever the log cannot tell. An ended execution changes no more, so it can be
written while the services run. An open one belongs to them: it is written only where its document is missing altogether, or
is behind the log while no runner is at work, and then as pending (or as waiting, where it was), under an epoch beyond any
that a runner may have claimed since, so that the scheduler hands it out anew and whoever still runs it is turned away.
Which of its workflow's places it had the log does not tell: it keeps that in which it is stored, or gets one that is free.
So what has ended is written first.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Protocol

from apps.projection.verify import Finding, Progress, Verification
from domain.execution import Cause, Execution, Status, outcome_key
from domain.overlap import LONGEST_QUEUE, Overlap

BATCH = 500
EPOCHS_BEYOND = 2  # a claim may have raised what the log tells by one


OverlapOf = Callable[[str, int], Awaitable[Overlap | None]]
"""Returns the overlap policy of one version of a workflow; None where that is not stored."""


class Writer(Protocol):
    """What is asked of the store."""

    async def replace_all(self, executions: Sequence[Execution]) -> None:
        """Write whole executions over what is stored."""

    async def holders(self, lock_keys: Sequence[str]) -> Mapping[str, Execution]:
        """Return the open executions by lock key."""


@dataclass
class Rebuilt:
    """What a rebuild did."""

    written: int = 0
    restored: int = 0  # of those, open executions whose document was missing or behind
    left: int = 0  # the log says too little of them, or they are open
    unplaced: list[Execution] = field(default_factory=list)  # open ones without a place, for others have begun since
    unknown_versions: set[tuple[str, int]] = field(default_factory=set)  # of open ones: workflow and version not stored


def as_stored(finding: Finding, now: datetime) -> Execution | None:
    """Return what is to be stored of an execution that differs; None where it is left as it is."""
    folded = finding.told.execution
    if folded is None or not finding.can_be_rebuilt:
        return None
    if not folded.status.is_open:
        return folded
    restored = replace(folded, epoch=folded.epoch + EPOCHS_BEYOND, seq=0, owner=None)
    if folded.status is Status.WAITING:
        return restored
    return replace(
        restored,
        status=Status.PENDING,
        requested_at=now,
        # The log does not tell what was begun: what must not be done twice is in doubt.
        intents=(outcome_key(folded.attempt, folded.resume_index),),
    )


async def rebuild(
    verification: Verification,
    documents: Writer,
    *,
    overlap_of: OverlapOf,
    progress: Progress,
    differing: int,
    now: datetime,
) -> Rebuilt:
    """Write what a verification found to differ.

    Raises:
        StoreUnavailable: the database cannot be reached; what was written until then is written.
    """
    progress.step("writing", differing)
    done = Rebuilt()
    ended: list[Execution] = []
    still_open: list[tuple[Execution, Execution | None]] = []
    async for finding in verification.different():
        execution = as_stored(finding, now)
        if execution is not None and execution.status.is_open:
            still_open.append((execution, finding.stored))
            continue
        if execution is None:
            done.left += 1
        else:
            ended.append(execution)
        if len(ended) >= BATCH:
            await documents.replace_all(ended)
            done.written += len(ended)
            ended = []
        progress.advance(1)
    await documents.replace_all(ended)
    done.written += len(ended)
    for execution, stored in still_open:
        overlap = await overlap_of(execution.workflow_id, execution.version)
        if overlap is None:
            done.unknown_versions.add((execution.workflow_id, execution.version))
        if (place := await _place(execution, stored, overlap, documents)) is None:
            done.left += 1
            done.unplaced.append(execution)
        else:
            await documents.replace_all([replace(execution, lock_key=place)])
            done.restored += 1
        progress.advance(1)
    done.written += done.restored
    return done


async def _place(execution: Execution, stored: Execution | None, overlap: Overlap | None, documents: Writer) -> str | None:
    if stored is not None and stored.status is not Status.QUEUED:
        return stored.lock_key
    # Where nobody knows the policy any more, as many may have been open as ever may.
    overlap, workflow_id = overlap or Overlap(policy="allow", max=LONGEST_QUEUE), execution.workflow_id
    of_its_kind = overlap.places_of_backfill if execution.cause is Cause.BACKFILL else overlap.places
    places = of_its_kind(workflow_id)
    taken = await documents.holders(places)
    return next((place for place in places if place not in taken), None)
