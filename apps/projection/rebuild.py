"""Writes the projection anew: every execution that the log covers is stored as the log tells it.

What agrees already is left alone, and so is whatever the log cannot tell. An ended execution changes no more, so it can be
written while the services run. An open one belongs to them: it is written only where its document is missing altogether,
and then as pending (or as waiting, where it was), under an epoch beyond any that a runner may have claimed since, so that
the scheduler hands it out anew and whoever still runs it is turned away. Which of its workflow's places it had the log does
not tell: it gets one that is free.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Protocol

from apps.projection.verify import Finding, Progress, Verification
from domain.execution import Cause, Execution, Status, outcome_key
from domain.overlap import Overlap

BATCH = 500
EPOCHS_BEYOND = 2  # a claim may have raised what the log tells by one


OverlapOf = Callable[[str, int], Awaitable[Overlap]]
"""Returns the overlap policy of one version of a workflow."""


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
    restored: int = 0  # of those, open executions whose document was missing
    left: int = 0  # the log says too little of them, or they are open


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
    async for finding in verification.different():
        execution = as_stored(finding, now)
        if execution is None:
            done.left += 1
        elif not execution.status.is_open:
            ended.append(execution)
        elif (place := await _free_place(execution, documents, overlap_of)) is None:
            done.left += 1  # others of the workflow have begun since
        else:
            await documents.replace_all([replace(execution, lock_key=place)])
            done.restored += 1
        if len(ended) >= BATCH:
            await documents.replace_all(ended)
            done.written += len(ended)
            ended = []
        progress.advance(1)
    await documents.replace_all(ended)
    done.written += len(ended) + done.restored
    return done


async def _free_place(execution: Execution, documents: Writer, overlap_of: OverlapOf) -> str | None:
    overlap, workflow_id = await overlap_of(execution.workflow_id, execution.version), execution.workflow_id
    of_its_kind = overlap.places_of_backfill if execution.cause is Cause.BACKFILL else overlap.places
    places = of_its_kind(workflow_id)
    taken = await documents.holders(places)
    return next((place for place in places if place not in taken), None)
