"""Why a request is refused. The message says what is wrong and how to mend it; :mod:`apps.workflows.problems` answers it."""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.execution import Status
from domain.overlap import Overlap


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field or parameter, named as the user wrote it."""

    field: str
    message: str


class ApiError(Exception):
    """Base of the refusals."""


class BadRequest(ApiError):
    """The request cannot be understood, or fields of it are wrong."""

    def __init__(self, message: str, errors: Sequence[FieldError] = ()) -> None:
        super().__init__(message)
        self.errors = errors


class BodyTooLarge(ApiError):
    """The body is longer than the service takes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is longer than {limit} bytes; send less, or raise WORKFLOWS_BODY_LIMIT of the service.")
        self.limit = limit


class NotJson(ApiError):
    """The body is not declared to be JSON."""

    def __init__(self, content_type: str | None) -> None:
        sent = f"not {content_type}" if content_type else "and say so"
        super().__init__(f"Send application/json in UTF-8, {sent}, in the Content-Type header.")
        self.content_type = content_type


class UnknownEncoding(ApiError):
    """The body is compressed by something that the service cannot unpack."""

    def __init__(self, encoding: str, known: Sequence[str]) -> None:
        super().__init__(
            f"The Content-Encoding {encoding[:100]} is not known here; compress by {' or '.join(known)}, or not at all."
        )
        self.known = known


class UnknownWorkflow(ApiError):
    """There is no workflow of that id, or it is archived."""

    def __init__(self, workflow_id: str, *, is_archived: bool = False) -> None:
        super().__init__(
            f"Workflow {workflow_id} is archived; POST /workflows with a definition of that id brings it back."
            if is_archived
            else f"There is no workflow {workflow_id}; GET /workflows lists those that are there."
        )
        self.workflow_id = workflow_id


class UnknownExecution(ApiError):
    """There is no execution of that id, or its retention is over."""

    def __init__(self, execution_id: str) -> None:
        super().__init__(f"There is no execution {execution_id}; finished ones are removed when their retention is over.")
        self.execution_id = execution_id


class UnknownToken(ApiError):
    """There is no token of that id, or it is revoked already."""

    def __init__(self, token_id: str) -> None:
        super().__init__(f"There is no good token {token_id[:100]}; GET /tokens lists them.")
        self.token_id = token_id


class AlreadyFinished(ApiError):
    """The execution has ended, so that nothing can be done to it any more."""

    def __init__(self, execution_id: str, status: Status) -> None:
        super().__init__(f"Execution {execution_id} has ended already: it is {status.shown}.")
        self.execution_id = execution_id
        self.status = status


class UnknownVersion(ApiError):
    """The workflow has no version of that number."""

    def __init__(self, workflow_id: str, version: int) -> None:
        super().__init__(
            f"Workflow {workflow_id} has no version {version}; GET /workflows/{workflow_id}/versions lists those it has."
        )
        self.workflow_id = workflow_id
        self.version = version


class NothingToRetry(ApiError):
    """The execution has no failed action to take up."""

    def __init__(self, execution_id: str, status: Status) -> None:
        lacking = f"Execution {execution_id} is {status.shown} and has no failed action to take up"
        if status not in (Status.OK, Status.SKIPPED):
            lacking = (
                f"All actions of execution {execution_id} had succeeded: only a step of finally failed or was cut off, "
                "and a retry takes up none of those"
            )
        super().__init__(f"{lacking}; POST /executions/{execution_id}/run-again starts the workflow from its first action.")
        self.execution_id = execution_id
        self.status = status


class UnknownDeadLetter(ApiError):
    """There is no dead letter at that place, or its retention is over."""

    def __init__(self, letter_id: str) -> None:
        super().__init__(f"There is no dead letter {letter_id}; GET /dead-letters lists those that are kept.")
        self.letter_id = letter_id


class NotResendable(ApiError):
    """The dead letter did not come from a topic of this system."""

    def __init__(self, letter_id: str, topic: str) -> None:
        super().__init__(
            f"Dead letter {letter_id} came from {topic}, which this service does not write to; publish it there again, or"
            " trigger the workflow with what is to be its input."
        )
        self.letter_id = letter_id
        self.topic = topic


class KafkaUnavailable(ApiError):
    """Kafka did not take a record."""


class NotTriggeredByHand(ApiError):
    """The workflow runs on its schedule alone."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f'Workflow {workflow_id} runs on its schedule; set "allowManual": true in its trigger.')
        self.workflow_id = workflow_id


class UnknownWebhook(ApiError):
    """There is no such workflow, or it has no webhook: which of these is told to nobody who cannot prove who it is."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"Workflow {workflow_id} is not there, or takes no webhook; its definition must have one.")


class WebhookNotProven(ApiError):
    """The request does not prove that it comes from the sender that the webhook is for."""


class WebhookNotReady(ApiError):
    """Nobody can prove anything to the webhook, because its secret is not there."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"The secret of the webhook of workflow {workflow_id} cannot be read; the service's log says why.")


class NeitherJsonNorText(ApiError):
    """The body is nothing that can be handed to a workflow."""

    def __init__(self, content_type: str) -> None:
        super().__init__(f"Send JSON, a form or text in UTF-8; {content_type[:100] or 'what was sent'} cannot be an input.")


class InProgress(ApiError):
    """An execution of the workflow is open; ``execution_id`` is empty where it ended in the meantime.

    ``overlap`` is the policy that gave no place; None where the execution itself is in the way, whatever the policy.
    """

    def __init__(self, workflow_id: str, execution_id: str, status: Status, overlap: Overlap | None = None) -> None:
        message = f"An execution of workflow {workflow_id} is open; trigger again when it has ended."
        if overlap is not None and overlap.policy == "queue":
            message = (
                f"The queue of workflow {workflow_id} is full ({overlap.bound} of {overlap.bound}); "
                "trigger again when it has moved on, or raise overlap.max."
            )
        elif overlap is not None and overlap.policy == "allow":
            message = (
                f"All places of workflow {workflow_id} are taken ({overlap.bound} of {overlap.bound}); "
                "trigger again when an execution has ended, or raise overlap.max."
            )
        super().__init__(message)
        self.workflow_id = workflow_id
        self.execution_id = execution_id
        self.status = status


class PreconditionFailed(ApiError):
    """The workflow is not at a version that If-Match names, or is at one that If-None-Match rules out."""

    def __init__(self, workflow_id: str, version: int, *, is_ruled_out: bool = False) -> None:
        super().__init__(
            f"Workflow {workflow_id} is at version {version}, "
            + (
                "which If-None-Match rules out. Leave that out to change it."
                if is_ruled_out
                else "not at the one that If-Match names. Read it and make your change again."
            )
        )
        self.workflow_id = workflow_id
        self.version = version


class KeyInUse(ApiError):
    """The first request with this key, which is ``what`` to whoever sends it, is still being answered."""

    def __init__(self, what: str) -> None:
        super().__init__(f"A request with this {what} is being answered; send it again in a moment.")


class KeyReused(ApiError):
    """The key, which is ``what`` to whoever sends it, belongs to another request."""

    def __init__(self, what: str) -> None:
        super().__init__(f"This {what} was sent with another body; use a new one for a new request.")


class NoTicks(ApiError):
    """The workflow has no ticks to come."""

    def __init__(self, workflow_id: str) -> None:
        super().__init__(f"Workflow {workflow_id} has no ticks to come, so there is nothing to pause.")
        self.workflow_id = workflow_id


class NotRecurring(ApiError):
    """The workflow has no schedule with ticks that could be made up for."""

    def __init__(self, workflow_id: str, trigger_type: str) -> None:
        mend = (
            f"POST /workflows/{workflow_id}/trigger starts it"
            if trigger_type == "manual"
            else "A run that was missed is started by hand, where the trigger allows that"
        )
        super().__init__(
            f"The trigger of workflow {workflow_id} is {trigger_type}; only ticks of periodic and cron schedules are "
            f"backfilled. {mend}."
        )
        self.workflow_id = workflow_id


class BackfillInProgress(ApiError):
    """A backfill of the workflow is running already."""

    def __init__(self, workflow_id: str, backfill_id: str) -> None:
        super().__init__(
            f"A backfill of workflow {workflow_id} is running: {backfill_id}. Ask again when it is done, or cancel it."
        )
        self.workflow_id = workflow_id
        self.backfill_id = backfill_id


class UnknownBackfill(ApiError):
    """The workflow has no backfill of that id, or its retention is over."""

    def __init__(self, workflow_id: str, backfill_id: str) -> None:
        super().__init__(
            f"Workflow {workflow_id} has no backfill {backfill_id}; GET /workflows/{workflow_id}/backfills lists them."
        )
        self.workflow_id = workflow_id
        self.backfill_id = backfill_id


class BackfillEnded(ApiError):
    """The backfill has ended, so that there is nothing to cancel."""

    def __init__(self, backfill_id: str, status: str) -> None:
        super().__init__(f"Backfill {backfill_id} has ended already: it is {status}.")
        self.backfill_id = backfill_id


class UnknownSecret(ApiError):
    """There is no stored secret of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no stored secret {name}; GET /secrets lists those that are there.")
        self.name = name


class UnknownVariable(ApiError):
    """There is no variable of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no variable {name}; GET /vars lists those that are there.")
        self.name = name


class SecretsNotEncrypted(ApiError):
    """The service has no usable key to encrypt secrets with."""
