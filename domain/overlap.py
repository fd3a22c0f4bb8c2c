"""Overlap: what becomes of an execution that is asked for while another one of its workflow is open.

It is decided by lock keys, each of which one open execution can hold (a unique index): a workflow has one place to run, or
``max`` of them, and one place to wait, or ``max`` of them under ``queue``. Where there is more than one place to run, a
backfill leaves the first to everything else (:mod:`apps.admission` says who gives way to whom). Nothing can leak, because a
place is held by the very document that needs it and is given back by the update that ends it, or moves it on.
"""

from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import Field

from domain.model import Model

LONGEST_QUEUE: Final = 100
_DEFAULT_MAX: Final = {"queue": 1, "allow": 10}

# Every lock key of a workflow is its id, or begins with it and "#", which cannot stand in an id: the store lists by that.
_RUN: Final = "#"
_WAIT: Final = "#wait-"
_AFTER_WAIT: Final = "#wait."


OverlapPolicy = Literal["skip", "queue", "cancel-running", "allow"]


class Overlap(Model):
    """The overlap policy of a workflow; the same for ticks, events and triggers by hand."""

    policy: OverlapPolicy = Field(
        default="skip",
        description="skip: the new one is not run; queue: it waits its turn; cancel-running: the open one is cancelled; "
        "allow: both run.",
    )
    max: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=LONGEST_QUEUE,
        description="queue: most that wait (1 unless said otherwise); allow: most that run at once (10); "
        f"{LONGEST_QUEUE} at most.",
    )

    @classmethod
    def of(cls, document: Mapping[str, Any] | None) -> "Overlap":
        """Return the policy of a stored definition, which leaves out the default."""
        return cls.from_document(dict(document)) if document else _DEFAULT

    @property
    def bound(self) -> int:
        """How many may wait or run."""
        return self.max or _DEFAULT_MAX.get(self.policy, 1)

    def places(self, workflow_id: str) -> list[str]:
        """Return the lock keys under which executions of the workflow may run."""
        more = self.bound if self.policy == "allow" else 1
        return [workflow_id, *(f"{workflow_id}{_RUN}{number}" for number in range(1, more))]

    def places_of_backfill(self, workflow_id: str) -> list[str]:
        """Return the lock keys under which executions of a backfill may run."""
        return self.places(workflow_id)[:0:-1] or [workflow_id]

    def line(self, workflow_id: str) -> list[str]:
        """Return the lock keys under which executions of the workflow may wait: behind a backfill, whatever the policy."""
        return [f"{workflow_id}{_WAIT}{number}" for number in range(self.bound if self.policy == "queue" else 1)]

    def lock_keys(self, workflow_id: str) -> list[str]:
        """Return every lock key that an open execution of the workflow may hold."""
        return [*self.places(workflow_id), *self.line(workflow_id)]


_DEFAULT: Final = Overlap()


def line_bounds(workflow_id: str) -> tuple[str, str]:
    """Return the bounds (inclusive, exclusive) between which the lock keys of all that wait for the workflow lie."""
    return f"{workflow_id}{_WAIT}", f"{workflow_id}{_AFTER_WAIT}"
