"""``POST /workflows/{id}/webhook``: how a sender that has no token starts a workflow (:mod:`domain.webhook`).

What it sends becomes the input: its body, its headers without those that prove or identify anybody, and the query. A sender
that names its deliveries starts one execution with each, however often it sends it, as with an ``Idempotency-Key``; what is
signed with a timestamp is named by its signature where nothing else does, so that what was overheard starts nothing.
"""

from typing import Any, ClassVar, Final

import structlog
from aiohttp import web
from pydantic import TypeAdapter

from apps.operations import Answer, Operation
from apps.stored_definitions import UnreadableVersion, reading
from apps.workflows import idempotency, problems
from apps.workflows.bodies import listed, read_bytes, read_payload
from apps.workflows.errors import (
    InProgress,
    KeyInUse,
    KeyReused,
    NeitherJsonNorText,
    NotTriggeredByHand,
    UnknownWebhook,
    WebhookNotProven,
    WebhookNotReady,
)
from apps.workflows.v1.executions import TRIGGERED
from apps.workflows.v1.workflows import check_id, start
from apps.workflows.views import Resource
from domain.access import Scope
from domain.execution import Cause
from domain.inputs import BadInput
from domain.webhook import NotProven, Webhook
from vault.interfaces import UnknownSecret

log = structlog.get_logger(__name__)

_WEBHOOK: Final[TypeAdapter[Webhook]] = TypeAdapter(Webhook)
_BARE: Final = Answer(
    "The same without a body, for Slack and Zoom; or what these ask for to see whether somebody is there.",
    headers={"Location": "The address of the execution."},
)
_UNSEEN: Final = frozenset(
    {"authorization", "proxy-authorization", "cookie", "connection", "content-length", "transfer-encoding"}
)


class WorkflowWebhook(Resource):
    """Where somebody else's service starts a workflow."""

    view_name = "workflow-webhook"
    view_path = "/workflows/{workflow_id}/webhook"
    operations: ClassVar = {
        "post": Operation(
            "receiveWebhook",
            "Start an execution, as a sender that proves by the workflow's webhook who it is",
            {200: _BARE, 202: TRIGGERED},
            scope=Scope.PUBLIC,
            description="The input is {body, headers, query}: JSON as its value, a form as its fields, anything else in "
            "UTF-8 as text. It needs no token; the proof is what the definition's webhook asks for.",
            lets_parameters_be=True,
            refusals=(
                UnknownWebhook,
                WebhookNotProven,
                WebhookNotReady,
                NeitherJsonNorText,
                NotTriggeredByHand,
                InProgress,
                BadInput,
                KeyInUse,
                KeyReused,
                UnreadableVersion,
            ),
            takes_key=False,
            is_routine=True,
        )
    }

    async def post(self, request: web.Request, workflow_id: str) -> web.Response:
        """Start one execution with what was sent."""
        check_id(workflow_id)
        try:
            return await self._receive(request, workflow_id)
        except Exception as error:
            # Few senders show anybody what they are told, and whoever waits for an execution looks here.
            if problems.is_refusal(error):
                log.info("webhook refused", workflow_id=workflow_id, error=str(error))
            raise

    async def _receive(self, request: web.Request, workflow_id: str) -> web.Response:
        workflow = await self.app.store.workflows.get(workflow_id)
        document = None if workflow is None or workflow.archived_at is not None else workflow.definition.get("webhook")
        if workflow is None or document is None:
            raise UnknownWebhook(workflow_id)
        with reading(workflow_id, workflow.version):
            webhook = _WEBHOOK.validate_python(document, by_alias=False, by_name=True)
        secret = await self._secret(webhook, workflow_id)
        try:
            proven = webhook.check(secret, request.headers, await read_bytes(request), self.app.clock())
        except NotProven as error:
            raise WebhookNotProven(str(error)) from None
        payload = await read_payload(request)
        greeting = webhook.greeting(secret, payload)
        if greeting is not None:
            return self.answer(greeting)

        async def carry_out() -> web.Response:
            given = _input(webhook, request, payload)
            response = await self.bounded(start(self, request, workflow, given, Cause.WEBHOOK))
            return web.Response(headers={"Location": response.headers["Location"]}) if webhook.is_answered_bare else response

        delivery = webhook.delivery(request.headers, payload) or proven
        if delivery is None:
            return await carry_out()
        keys, now = self.app.store.idempotency, self.app.clock()
        if delivery.header is not None:
            return await idempotency.once(request, carry_out, header=delivery.header, keys=keys, now=now)
        return await idempotency.once_for(request, carry_out, key=delivery.name, what="delivery", keys=keys, now=now)

    async def _secret(self, webhook: Webhook, workflow_id: str) -> str:
        try:
            return await self.app.secrets.get(webhook.secret)
        except UnknownSecret as error:
            log.warning("webhook refused", workflow_id=workflow_id, error=str(error))
            raise WebhookNotReady(workflow_id) from None


VIEWS: Final = (WorkflowWebhook,)


def _input(webhook: Webhook, request: web.Request, payload: Any) -> dict[str, Any]:
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return {
        "body": payload,
        "headers": listed((name, value) for name, value in headers if name not in _UNSEEN and name != webhook.proof),
        "query": listed(request.query.items()),
    }
