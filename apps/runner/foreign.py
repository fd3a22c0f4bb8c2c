"""Requests that nobody has admitted: whoever may write to Kafka has published them (epoch 0).

Each is admitted here by one insert under a deterministic id, then published again as an admitted request, exactly as the API
does it; the original is acknowledged when the insert is durable. A replay derives the same id and is refused. While the
workflow is busy, its overlap policy decides, and what is refused is recorded as a skipped execution.
"""

from dataclasses import replace
from datetime import datetime

import structlog
from faust.types import Message

from apps.runner.clock import now
from apps.runner.patience import stubbornly
from apps.runner.startable import NotStartable, Startable, Starter
from domain.execution import Admission, Cause, Status, admit
from domain.identifiers import is_execution_id, record_execution_id
from domain.instants import from_millis
from domain.reference import REFERENCE_RULE, is_reference
from events.records import ExecutionRequest
from events.wire import passed_over
from store.interfaces import Admitted, AlreadyAdmitted, Locked

log = structlog.get_logger(__name__)


def stamp(message: Message) -> datetime:
    """Return the timestamp of a record."""
    return from_millis(int(message.timestamp * 1000))


def execution_id_of(message: Message, request: ExecutionRequest) -> str:
    """Return the id of the execution that a record asks for.

    Raises:
        NotStartable: the id is none, or there is more in the record than belongs to a request.
    """
    assert message.value is not None  # it was decoded
    # Only here: our own records may have fields of a later version.
    if ignored := passed_over(message.value, ExecutionRequest):
        raise NotStartable(ignored)
    execution_id = request.execution_id or record_execution_id(
        message.topic, message.partition, message.offset, stamp(message)
    )
    if not is_execution_id(execution_id):
        raise NotStartable(f"execution_id: {execution_id[:200]!r} is not a lower-case UUID; leave it out")
    return execution_id


class ForeignRequests:
    """Admits them."""

    def __init__(self, starter: Starter) -> None:
        self.starter = starter
        self.executions = starter.executions
        self.tell_ended = starter.tell_ended

    async def admit(self, request: ExecutionRequest, execution_id: str, asked_at: datetime) -> None:
        """Admit what is asked for, or record it as skipped; returns when that is durable and published.

        Raises:
            NotStartable, UnreadableVersion, BadInput: nothing can be started by it.
        """
        if request.reference is not None and not is_reference(request.reference):
            raise NotStartable(f"reference: {REFERENCE_RULE}")
        target = await self.starter.find(request.workflow_id)
        given = target.complete(request.input or {})
        admission = target.admission(execution_id, Cause.EVENT, given, now(), reference=request.reference, asked_at=asked_at)
        # A producer that sends again what it is not sure of gives the same id. Admission would refuse it as well, but only
        # after it has held the lock for a moment, in which others would be told that the workflow is busy.
        if request.execution_id is not None and await self._is_known(execution_id, admission.workflow_id):
            await self._tell_again(admission)
        else:
            await self._admit(admission, target)

    async def _is_known(self, execution_id: str, workflow_id: str) -> bool:
        found = await stubbornly(lambda: self.executions.get(execution_id))
        if found is not None and found.workflow_id != workflow_id:
            raise NotStartable(
                f"execution_id: {execution_id} is that of an execution of workflow {found.workflow_id}; give each"
                " execution its own, or leave it out"
            )
        return found is not None

    async def _admit(self, admission: Admission, target: Startable) -> None:
        answer = await self.starter.admit(target, lambda _: admission)
        if isinstance(answer, AlreadyAdmitted):
            await self._tell_again(admission)
        elif isinstance(answer, Locked):
            await self._skip(admission, answer.execution_id, target)

    async def _skip(self, admission: Admission, holder: str, target: Startable) -> None:
        skipped = replace(admission, reason=f"skipped: execution {holder} was still open{target.limit}")
        answer = await stubbornly(lambda: self.executions.admit(skipped))
        if isinstance(answer, Admitted):
            await self.tell_ended(admit(skipped))
            log.info("execution skipped", execution_id=admission.execution_id, holder=holder)
        else:
            await self._tell_again(admission)

    async def _tell_again(self, admission: Admission) -> None:
        """Finish what was admitted by somebody who may have died since, for its record was not acknowledged.

        A pending execution is published by the scheduler; nobody else tells of a skipped one.
        """
        found = await stubbornly(lambda: self.executions.get(admission.execution_id))
        log.info("request was admitted before", execution_id=admission.execution_id)
        if found is not None and found.status is Status.SKIPPED:
            await self.tell_ended(found)
