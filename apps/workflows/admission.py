"""The trigger: how an execution that somebody asks for by hand comes to be.

Life cycle: the workflow is read and checked; the execution is inserted under the workflow's lock, which is what decides
(``store``: two open executions of one workflow cannot exist); only then its request is published. From the insert on the
execution exists and will run: when Kafka does not acknowledge in time, the scheduler publishes the request again, and the
fence of ``epoch`` drops whichever of the two comes second. That is why the caller is told "accepted" either way.
"""

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter

from apps.workflows.errors import InProgress, NotTriggeredByHand, UnknownWorkflow
from apps.workflows.publishing import Publish
from domain.execution import Admission, Cause
from domain.identifiers import execution_id
from domain.trigger import Trigger, allows_manual
from events.records import ExecutionRequest
from store.interfaces import Admitted, Executions, Locked, Workflow, Workflows

_TRIGGER: TypeAdapter[Any] = TypeAdapter(Trigger)


async def trigger(
    workflow_id: str, *, workflows: Workflows, executions: Executions, publish: Publish, now: datetime, entropy: bytes
) -> str:
    """Start one execution of a workflow and return its id; ``entropy`` are 10 random bytes.

    Raises:
        UnknownWorkflow: there is none, or it is archived.
        NotTriggeredByHand: it runs on its schedule alone.
        InProgress: an execution of it is open.
        StoreUnavailable: whether the execution exists is not known; if it does, it will run.
    """
    workflow = await workflows.get(workflow_id)
    if workflow is None or workflow.archived_at is not None:
        raise UnknownWorkflow(workflow_id)
    if not allows_manual(_TRIGGER.validate_python(workflow.definition["trigger"], by_alias=False, by_name=True)):
        raise NotTriggeredByHand(workflow_id)
    admission = Admission(
        execution_id=execution_id(now, entropy),
        workflow_id=workflow_id,
        version=workflow.version,
        cause=Cause.MANUAL,
        created_at=now,
        retries_left=workflow.definition["retries"],
        total_actions=workflow.total_actions,
        shard=workflow.shard,
        lock_key=workflow_id,
    )
    answer = await executions.admit(admission)
    if isinstance(answer, Locked):
        raise InProgress(workflow_id, answer.execution_id, answer.status)
    if isinstance(answer, Admitted):
        # Only the one that inserted it publishes: a runner believes what is published a first time without a look at the
        # database. A repetition under the same Idempotency-Key meets the execution that is there.
        await publish(workflow_id, _request(admission, workflow))
    return admission.execution_id


def _request(admission: Admission, workflow: Workflow) -> ExecutionRequest:
    return ExecutionRequest(
        workflow_id=admission.workflow_id,
        execution_id=admission.execution_id,
        epoch=1,
        version=workflow.version,
        cause=admission.cause.value,
        retries_left=admission.retries_left,
        total_actions=admission.total_actions,
        created_at=admission.created_at,
        requested_at=admission.created_at,
    )
