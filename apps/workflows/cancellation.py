"""Cancelling: how an execution is ended by hand.

MongoDB decides: one conditional update sets the end, releases the lock and marks the end as untold. Then the runners are
told, on the topic of the results, and the mark is taken away. When Kafka does not acknowledge in time, the scheduler tells
them later; the run itself is stopped all the same, because every runner also looks at what it runs once a second.
"""

from datetime import datetime

import structlog

from apps.workflows.errors import AlreadyFinished, UnknownExecution
from apps.workflows.publishing import Publish
from domain.execution import Ended, Execution, Status
from events.folding import ended_record
from store.interfaces import Executions, StoreUnavailable

log = structlog.get_logger(__name__)


async def cancel(execution_id: str, reason: str, *, executions: Executions, publish: Publish, now: datetime) -> Execution:
    """End an open execution as cancelled and return it.

    Raises:
        UnknownExecution: there is none of that id.
        AlreadyFinished: it has ended before.
        StoreUnavailable: whether it has ended is not known.
    """
    found = await executions.get(execution_id)
    if found is None:
        raise UnknownExecution(execution_id)
    cancelled = await executions.end(Ended(execution_id, found.workflow_id, Status.CANCELLED, reason, now))
    if cancelled is None:
        found = await executions.get(execution_id) or found
        raise AlreadyFinished(execution_id, found.status)
    if await publish(cancelled.workflow_id, ended_record(cancelled)):
        try:
            await executions.told([execution_id])
        except StoreUnavailable as error:
            log.warning("end is told twice", execution_id=execution_id, error=str(error))
    return cancelled
