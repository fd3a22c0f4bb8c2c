"""What differs between an execution as the log tells it and as it is stored.

Not every step leaves a record. An open document may be ahead of the log by a claim, a start mark or a restart that could
not be published yet; results that came after such a step were turned away, and the log cannot know that yet. So of an open
document under a later epoch only that is compared which the records have fixed. Of an ended one everything is. Which of its
workflow's places an open one has (overlap policy allow) no record tells, only that it has one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from domain.execution import ActionOutcome, Execution, Status

IDENTITY: Final = (
    "execution_id", "workflow_id", "version", "cause", "created_at", "total_actions", "shard", "due_at", "origin_id",
    "takes_up", "triggered_by", "reference",
)  # fmt: skip
STANDING: Final = (
    "status", "epoch", "seq", "attempt", "lost", "retries_left", "lock_key", "last_failed_action", "reason",
    "requested_at", "started_at", "finished_at", "wake_at", "owner", "restarts", "cut_off_since",
)  # fmt: skip
MARKED: Final = frozenset({"status", "requested_at", "started_at", "owner"})
"""What a start mark changes."""


@dataclass(frozen=True)
class Difference:
    """One field that is not what the log says."""

    field: str
    folded: Any
    stored: Any


def differences(folded: Execution, stored: Execution) -> list[Difference]:
    """Return what differs, field by field; results are compared one by one."""
    ahead = stored.status.is_open and stored.epoch > folded.epoch
    fields = list(IDENTITY)
    if not ahead:
        marked = stored.epoch == folded.epoch and stored.status is Status.RUNNING and folded.status is Status.PENDING
        fields += [name for name in STANDING if not (marked and name in MARKED)]
    if folded.lock_key and stored.lock_key:
        fields = [name for name in fields if name != "lock_key"]
    found = [
        Difference(name, getattr(folded, name), getattr(stored, name))
        for name in fields
        if getattr(folded, name) != getattr(stored, name)
    ]
    return found + _results(folded.results, stored.results, all_of_them=not ahead)


def _results(
    folded: Mapping[str, ActionOutcome], stored: Mapping[str, ActionOutcome], *, all_of_them: bool
) -> list[Difference]:
    return [
        Difference(f"results.{key}", folded.get(key), stored.get(key))
        for key in sorted({*folded, *stored} if all_of_them else stored)
        if folded.get(key) != stored.get(key)
    ]
