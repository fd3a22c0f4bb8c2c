"""What the API, which accepts backfills, and the scheduler, which works them off, both ask about one."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from domain.backfill import Backfill
from domain.execution import Status
from domain.identifiers import tick_execution_id
from store.interfaces import Executions

_APART: Final = timedelta(minutes=1)  # that clocks may be, of the services and of the database that lets documents expire


def is_beyond(tick: datetime, now: datetime, retention: timedelta) -> bool:
    """Tell whether a tick is so old that its execution, had it any, may be gone: nobody can know whether it ran."""
    return tick < now - retention + _APART


async def ended_since(backfill: Backfill, executions: Executions) -> Mapping[datetime, Status | None]:
    """Return how those executions of a backfill ended that it has not seen end; None: gone, for its retention is over."""
    ids = {tick_execution_id(backfill.workflow_id, tick): tick for tick in backfill.open}
    known = await executions.states(list(ids)) if ids else {}
    return {
        tick: known[execution_id][1] if execution_id in known else None
        for execution_id, tick in ids.items()
        if execution_id not in known or not known[execution_id][1].is_open
    }
