"""Cuts executions short: their timeout is over, they have lost too many runners in a row, or they are cancelled.

Where the definition has steps to run then (``onFailure`` and ``finally``; of what is cancelled ``finally`` alone), and the
execution has not come to them, it is to be handed to the runners under a new epoch, which fences whoever still runs it. A
runner lets the step at which it stood fail, and goes on with those steps. They have a time of their own, from when they
begin, and may lose as many runners as the actions before them: late, because nobody was there to run them, is better than
never. Where there are none, where it is queued still, or where it is these steps that are late, lose their runners or are
cancelled, it is ended.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.execution import Ended, Execution, Restart, Status
from domain.flow import Plan
from store.interfaces import Executions, Workflows


def plan_of(execution: Execution, definition: Mapping[str, Any]) -> Plan:
    """Return how many steps each list has of what an execution runs, by the stored document of its definition."""
    return Plan(execution.total_actions, *(len(definition.get(name) or ()) for name in ("on_failure", "finally_")))


async def cut_short(
    executions: Executions, execution: Execution, plan: Plan, why: Restart, reason: str, at: datetime
) -> Execution | None:
    """Return an execution as it is by that: pending, to be published, or ended, to be told; None where it has moved on.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    if execution.may_be_cut_short and plan.first_handler(why) < plan.total:
        return await executions.reissue(execution.execution_id, execution.epoch, at, why, reason)
    status = Status.CANCELLED if why is Restart.CANCELLED else Status.FAILED
    expired = why is Restart.TIMED_OUT
    return await executions.end(
        Ended(execution.execution_id, execution.workflow_id, status, reason, at, execution.epoch, expired)
    )


async def cancel(
    executions: Executions,
    workflows: Workflows,
    execution_id: str,
    reason: str,
    at: datetime,
    *,
    at_once: bool = False,
) -> Execution | None:
    """Cancel an execution; return it as it is by that, as :func:`cut_short` does, or None where there is none that is open.

    ``at_once`` ends it without what is to run in any case, also where that is under way.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    while (found := await executions.get(execution_id)) is not None and found.status.is_open:
        if at_once:
            return await executions.end(Ended(execution_id, found.workflow_id, Status.CANCELLED, reason, at))
        if found.is_being_cancelled:
            return found
        definition = await workflows.get_version(found.workflow_id, found.version) or {}
        cancelled = await cut_short(executions, found, plan_of(found, definition), Restart.CANCELLED, reason, at)
        if cancelled is not None:
            return cancelled
    return None
