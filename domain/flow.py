"""What runs next.

A workflow has three lists of steps, whose positions count through all of them: ``actions``, then ``onFailure``, then
``finally``. The actions run in order up to the first that fails for good (its retries are used up, and it has no
``continueOnError``). Then the steps of ``onFailure`` run, if something failed, and those of ``finally`` in any case. A step
of these two lists that fails does not keep the later ones from running. Where an execution is cut short, by its timeout,
because it is given up, or cancelled, the step that it was at fails, whatever becomes of it; what is cancelled has not failed
beyond that, so that only ``finally`` follows. Nothing runs after an execution was ended from outside: cancelled at once, or
cut short where no handlers are left to run.

The execution ends ``cancelled`` where it was, ``failed`` where any step failed for good, whatever ``onFailure`` does about
it, and ``ok`` otherwise: only ``continueOnError`` makes a failure not count. A step whose ``if`` does not hold is
``skipped``, which counts as done.

The decision is made once, when a step ends, and recorded with its outcome (``next_index``, ``continued``), so that whoever
resumes the execution reads it rather than makes it anew.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from domain.execution import FAILURES, ActionOutcome, Restart, Status


@dataclass(frozen=True)
class Plan:
    """How many steps each list has."""

    actions: int
    on_failure: int = 0
    finally_: int = 0

    @property
    def total(self) -> int:
        """The position after the last step: nothing is left to run."""
        return self.actions + self.on_failure + self.finally_

    def first_handler(self, cut: Restart | None = None) -> int:
        """Return the position of the step after actions that failed, or were ``cut`` short; ``total``: there is none."""
        return self.actions + (self.on_failure if cut is Restart.CANCELLED else 0)

    def list_of(self, index: int) -> tuple[str, int]:
        """Return the list of a step as users write it, and the step's position in it."""
        if index < self.actions:
            return "actions", index
        if index < self.actions + self.on_failure:
            return "onFailure", index - self.actions
        return "finally", index - self.actions - self.on_failure

    def place_of(self, index: int) -> str:
        """Return where a step stands in the definition, as in ``onFailure[0]``."""
        name, position = self.list_of(index)
        return f"{name}[{position}]"


def following(plan: Plan, index: int, *, failed: bool, cut: Restart | None = None) -> int:
    """Return the position of the step after ``index``, which failed for good or is done; ``plan.total``: none is left.

    ``cut`` tells how the actions were cut short, if they were.
    """
    if index >= plan.actions:
        return index + 1
    if failed:
        return plan.first_handler(cut)
    return index + 1 if index + 1 < plan.actions else plan.actions + plan.on_failure


def failed_for_good(outcome: ActionOutcome) -> bool:
    """Tell whether this outcome makes its execution fail."""
    if outcome.status not in FAILURES or outcome.continued:
        return False
    return outcome.resume_index != outcome.index  # else it is retried


def failure(outcomes: Iterable[ActionOutcome]) -> ActionOutcome | None:
    """Return the first outcome that makes the execution fail."""
    fatal = [outcome for outcome in outcomes if failed_for_good(outcome)]
    return min(fatal, key=lambda outcome: outcome.place, default=None)


def status_after(plan: Plan, next_index: int, *, failed: bool, cut: Restart | None = None) -> Status:
    """Return what an execution is when ``next_index`` is the step to run, and something has ``failed`` for good or not.

    ``cut`` tells how its actions were cut short, if they were.
    """
    if next_index < plan.total:
        return Status.RUNNING
    if cut is Restart.CANCELLED:
        return Status.CANCELLED
    return Status.FAILED if failed else Status.OK
