"""Cuts executions short: their timeout is over, or they have lost too many runners in a row and are given up.

Where the definition has handlers (``onFailure``, ``finally``), and the execution has not come to them, it is to be handed to
the runners under a new epoch, which fences whoever still runs it. A runner lets the step at which it stood fail, and goes on
with the handlers. These have a time of their own, from when they begin, and may lose as many runners as the actions before
them: late, because nobody was there to run them, is better than never. Where there are none, where it is queued still, or
where it is the handlers that are late or lose their runners, it is ended.
"""

from datetime import datetime

from domain.execution import Ended, Execution, Restart, Status
from domain.flow import Plan
from store.interfaces import Executions


async def cut_short(
    executions: Executions, execution: Execution, plan: Plan, why: Restart, reason: str, at: datetime
) -> Execution | None:
    """Return an execution as it is by that: pending, to be published, or ended, to be told; None where it has moved on.

    Raises:
        StoreUnavailable: the store cannot be reached.
    """
    if plan.has_handlers and execution.may_be_cut_short:
        return await executions.reissue(execution.execution_id, execution.epoch, at, why, reason)
    expired = why is Restart.TIMED_OUT
    return await executions.end(
        Ended(execution.execution_id, execution.workflow_id, Status.FAILED, reason, at, execution.epoch, expired)
    )
