"""``POST /executions/{id}/signals/{name}``: how an execution is told that it may go on."""

from typing import Any, ClassVar, Final

from aiohttp import web
from pydantic import Field

from apps import signals
from apps.access import principal_of
from apps.operations import Answer, Operation
from apps.stored_definitions import UnreadableVersion, read_definition
from apps.waking import Waker
from apps.workflows import auditing, representations
from apps.workflows.answers.executions import Signalled
from apps.workflows.bodies import read_members
from apps.workflows.errors import (
    AlreadyFinished,
    BadRequest,
    FieldError,
    UnknownExecution,
    UnknownVersion,
)
from apps.workflows.v1.executions import check_id
from apps.workflows.views import Resource
from domain.access import Scope
from domain.execution import Execution
from domain.identifiers import ACTION_ID_RULE, is_action_id
from domain.inputs import BadInput
from domain.model import Model
from domain.signal import Signal
from events.folding import request_record

_MEND: Final = 'what comes with the signal goes into payload, as in {"payload": {"by": "Ada"}}'


class SignalBody(Model):
    """What may be said with a signal."""

    payload: dict[str, Any] | None = Field(default=None, description="What later steps see of it; an object.")


class ExecutionSignal(Resource):
    """Where an execution is told something."""

    view_name = "execution-signal"
    view_path = "/executions/{execution_id}/signals/{name}"
    operations: ClassVar = {
        "post": Operation(
            "signalExecution",
            "Tell an execution what a step of it waits for",
            {202: Answer("It is kept, and the execution goes on by it.", Signalled)},
            tag="executions",
            description="The name is that of the signal that a step of type wait-for-signal waits for. One that comes"
            " before the step is reached is kept for it. An execution is told of each name once: the same again, with the"
            " same payload, is accepted again, another payload is refused.",
            scope=Scope.OPERATOR,
            body=SignalBody,
            body_is_required=False,
            example={"payload": {"by": "Ada"}},
            refusals=(
                BadRequest,
                BadInput,
                UnknownExecution,
                UnknownVersion,
                UnreadableVersion,
                signals.UnknownSignal,
                AlreadyFinished,
                signals.SignalTooLate,
                signals.SignalSentBefore,
            ),
        )
    }

    async def post(self, request: web.Request, execution_id: str, name: str) -> web.Response:
        """Keep a signal, and wake the execution where it waits for it."""
        check_id(execution_id)
        if not is_action_id(name):
            raise BadRequest("The address is not valid.", [FieldError("name", ACTION_ID_RULE)])
        payload = (await read_members(request, "payload", mend=_MEND)).get("payload", {})
        store = self.app.store
        found = await store.executions.get(execution_id)
        if found is None:
            raise UnknownExecution(execution_id)
        document = await store.workflows.get_version(found.workflow_id, found.version)
        if document is None:
            raise UnknownVersion(found.workflow_id, found.version)
        signal = Signal(execution_id, name, payload, self.app.clock(), principal_of(request).name, found.shard)
        waker = Waker(executions=store.executions, signals=store.signals, hand_out=self._hand_out)
        definition = read_definition(found.workflow_id, found.version, document)
        try:
            sent = await signals.send(signal, found, definition, signals=store.signals, waker=waker)
        except signals.HasEnded as error:
            raise AlreadyFinished(execution_id, error.status) from None
        if not sent.is_new:
            auditing.spare(request)
        return self.answer(
            {
                "status": "signal accepted",
                "executionId": execution_id,
                "signal": name,
                "at": representations.instant(sent.signal.at),
                "sender": sent.signal.sender,
                "goesOn": sent.goes_on,
            },
            status=202,
        )

    async def _hand_out(self, execution: Execution) -> None:
        await self.app.request_execution(execution.workflow_id, request_record(execution))


VIEWS: Final = (ExecutionSignal,)
