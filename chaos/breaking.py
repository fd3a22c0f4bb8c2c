"""A kind of action whose run breaks off, as an action's own defect can have it: a plug-in of the services under chaos."""

import asyncio
import hashlib
from typing import Literal

from actions.running import Context, Outcome, Succeeded
from domain.action import Action

ALWAYS_OF_TEN, ONCE_OF_TEN = 4, 2


class BreakOffAction(Action):
    """Breaks its run off in some executions, by their ids: never, in the first run alone, or in every one."""

    type: Literal["break-off"]


def breaks_always(execution_id: str) -> bool:
    """Tell whether no run of the action in this execution comes to an end."""
    return _chance(execution_id) < ALWAYS_OF_TEN


def _chance(execution_id: str) -> int:
    return hashlib.sha256(execution_id.encode()).digest()[0] % 10


async def run(action: BreakOffAction, context: Context) -> Outcome:
    """Break off, or do nothing."""
    is_first = context.epoch == 1 and _chance(context.execution_id) < ALWAYS_OF_TEN + ONCE_OF_TEN
    if is_first or breaks_always(context.execution_id):
        raise asyncio.CancelledError  # which none of the nets for exceptions catches
    return Succeeded()


KINDS = {BreakOffAction: run}
