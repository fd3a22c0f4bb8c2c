"""Cancelling: how an execution is ended by hand.

MongoDB decides: one conditional update sets the end, releases the lock and marks the end as untold. Then the runners are
told, on the topic of the results, and the mark is taken away. When Kafka does not acknowledge in time, the scheduler tells
them later; the run itself is stopped all the same, because every runner also looks at what it runs once a second.

Where the definition has steps to run in any case (``finally``), the update hands the execution to the runners instead, which
run these and end it then (:mod:`apps.cutting_short`).
"""

from datetime import datetime

import structlog

from apps import cutting_short
from apps.workflows.errors import AlreadyFinished, UnknownExecution
from apps.workflows.publishing import Publish
from domain.execution import Execution, Status
from events.folding import ended_record, request_record
from store.interfaces import Executions, StoreUnavailable, Workflows

log = structlog.get_logger(__name__)


async def cancel(
    execution_id: str,
    reason: str,
    *,
    at_once: bool,
    executions: Executions,
    workflows: Workflows,
    publish: Publish,
    publish_end: Publish,
    now: datetime,
) -> Execution:
    """Cancel an open execution and return it as it is by that; ``at_once`` without its ``finally``.

    Raises:
        UnknownExecution: there is none of that id.
        AlreadyFinished: it has ended before.
        StoreUnavailable: whether it is cancelled is not known.
    """
    cancelled = await cutting_short.cancel(executions, workflows, execution_id, reason, now, at_once=at_once)
    if cancelled is None:
        found = await executions.get(execution_id)
        raise UnknownExecution(execution_id) if found is None else AlreadyFinished(execution_id, found.status)
    if cancelled.status is Status.PENDING:
        await publish(cancelled.workflow_id, request_record(cancelled))
    elif not cancelled.status.is_open and await publish_end(cancelled.workflow_id, ended_record(cancelled)):
        try:
            await executions.told([execution_id])
        except StoreUnavailable as error:
            log.warning("end is told twice", execution_id=execution_id, error=str(error))
    return cancelled
