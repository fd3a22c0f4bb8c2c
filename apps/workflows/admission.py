"""The trigger: how an execution that somebody asks for by hand comes to be.

Life cycle: the workflow is read and checked; the execution is admitted under the workflow's overlap policy, which one
insert decides (:mod:`apps.admission`), or queued; only then its request is published. From the insert on the
execution exists and will run: when Kafka does not acknowledge in time, the scheduler publishes the request again, and the
fence of ``epoch`` drops whichever of the two comes second. That is why the caller is told "accepted" either way.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from apps.admission import Opened, admit_under
from apps.stored_definitions import reading
from apps.workflows.errors import InProgress, NotTriggeredByHand
from apps.workflows.holding import trigger_of
from apps.workflows.publishing import Publish
from domain.execution import Admission, Cause, Execution, Status, deadline_of
from domain.identifiers import execution_id
from domain.inputs import complete_input
from domain.overlap import Overlap
from domain.trigger import allows_manual
from events.folding import ended_record, request_record
from store.interfaces import AlreadyAdmitted, Executions, Locked, Workflow
from templates.reference import reference_of


async def trigger(
    workflow: Workflow,
    *,
    executions: Executions,
    publish: Publish,
    publish_end: Publish,
    asked_at: datetime,
    entropy: bytes,
    is_unique: bool,
    now: datetime,
    given: Mapping[str, Any] | None = None,
    reference: str | None = None,
    cause: Cause = Cause.MANUAL,
) -> Execution:
    """Start one execution of a workflow that was read just now, or queue it, and return it.

    Its id is made of ``asked_at`` and ``entropy`` (10 bytes); it is unique where nobody can have asked with the same ones
    before. What was asked for again and again until it was accepted has all of its time from ``now`` on. Where no
    ``reference`` is given, it has the one that its definition makes of the input.

    Raises:
        BadInput: ``given`` cannot be carried, or does not obey the workflow's schema.
        NotTriggeredByHand: it runs on its schedule alone.
        InProgress: an execution of it is open, and its overlap policy gives this one no place.
        StoreUnavailable: whether the execution exists is not known; if it does, it will run.
    """
    complete = startable_input(workflow, given or {})
    definition = workflow.definition
    admission = Admission(
        execution_id=execution_id(asked_at, entropy),
        workflow_id=workflow.workflow_id,
        version=workflow.version,
        cause=cause,
        created_at=asked_at,
        requested_at=now,
        retries_left=definition["retries"],
        total_actions=workflow.total_actions,
        shard=workflow.shard,
        deadline=deadline_of(now, definition.get("timeout")),
        input=complete or None,
        reference=reference or reference_of(definition.get("reference"), complete),
        is_unique=is_unique,
    )
    return await start(admission, definition, executions=executions, publish=publish, publish_end=publish_end, now=now)


def startable_input(workflow: Workflow, given: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the input, its defaults filled in, with which a workflow may be started by hand.

    Raises:
        BadInput: ``given`` cannot be carried, or does not obey the workflow's schema.
        NotTriggeredByHand: it runs on its schedule alone.
    """
    if not allows_manual(trigger_of(workflow)):
        raise NotTriggeredByHand(workflow.workflow_id)
    return complete_input(given, workflow.definition.get("input_schema"))


async def start(
    admission: Admission,
    definition: Mapping[str, Any],
    *,
    executions: Executions,
    publish: Publish,
    publish_end: Publish,
    now: datetime,
) -> Execution:
    """Admit an execution that somebody asks for by hand under the overlap policy of its definition, and publish it.

    Raises:
        InProgress: an execution of the workflow is open, and its overlap policy gives this one no place.
        StoreUnavailable: whether the execution exists is not known; if it does, it will run.
    """
    workflow_id = admission.workflow_id
    with reading(workflow_id, admission.version):
        overlap = Overlap.of(definition.get("overlap"))
    answer = await admit_under(
        overlap,
        admission,
        executions=executions,
        tell_ended=lambda ended: publish_end(workflow_id, ended_record(ended)),
        now=now,
    )
    if isinstance(answer, AlreadyAdmitted):
        # A repetition under the same Idempotency-Key. It publishes nothing: a runner believes what is published a first time
        # without a look at the database, and whatever was not published then, the scheduler publishes.
        found = await executions.get(answer.execution_id)
        if found is not None:
            return found
    if not isinstance(answer, Opened):
        holder = answer if isinstance(answer, Locked) else Locked(answer.execution_id, Status.PENDING)
        raise InProgress(workflow_id, holder.execution_id, holder.status, overlap)
    if answer.publish is not None:
        await publish(workflow_id, request_record(answer.publish))
    return answer.execution
