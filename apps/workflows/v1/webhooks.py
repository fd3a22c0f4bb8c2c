"""``POST /workflows/{id}/webhook``: how a sender that has no token starts a workflow (:mod:`domain.webhook`).

What it sends becomes the input: its body, its headers without those that prove or identify anybody, and the query. A sender
that names its deliveries starts one execution with each, however often it sends it, as with an ``Idempotency-Key``.
"""

from typing import Any, ClassVar, Final

import structlog
from aiohttp import web
from pydantic import TypeAdapter

from apps.operations import Operation
from apps.stored_definitions import UnreadableVersion, reading
from apps.workflows import idempotency
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
from apps.workflows.v1.workflows import TRIGGERED, check_id, start
from apps.workflows.views import Resource
from domain.access import Scope
from domain.execution import Cause
from domain.inputs import BadInput
from domain.webhook import NotProven, Webhook
from vault.values import UnknownSecret

log = structlog.get_logger(__name__)

_WEBHOOK: Final[TypeAdapter[Webhook]] = TypeAdapter(Webhook)
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
            {202: TRIGGERED},
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
        workflow = await self.app.store.workflows.get(workflow_id)
        document = None if workflow is None or workflow.archived_at is not None else workflow.definition.get("webhook")
        if workflow is None or document is None:
            raise UnknownWebhook(workflow_id)
        with reading(workflow_id, workflow.version):
            webhook = _WEBHOOK.validate_python(document, by_alias=False, by_name=True)
        await self._check(webhook, workflow_id, request)

        async def carry_out() -> web.Response:
            return await start(self, request, workflow, await _input(webhook, request), Cause.WEBHOOK)

        header = webhook.delivery_header
        if header is None or header not in request.headers:
            return await carry_out()
        return await idempotency.once(
            request, carry_out, header=header, keys=self.app.store.idempotency, now=self.app.clock()
        )

    async def _check(self, webhook: Webhook, workflow_id: str, request: web.Request) -> None:
        try:
            secret = await self.app.secrets.get(webhook.secret)
        except UnknownSecret as error:
            log.warning("webhook refused", workflow_id=workflow_id, error=str(error))
            raise WebhookNotReady(workflow_id) from None
        try:
            webhook.check(secret, request.headers, await read_bytes(request), self.app.clock())
        except NotProven as error:
            log.info("webhook refused", workflow_id=workflow_id, error=str(error))
            raise WebhookNotProven(str(error)) from None


VIEWS: Final = (WorkflowWebhook,)


async def _input(webhook: Webhook, request: web.Request) -> dict[str, Any]:
    headers = [(name.lower(), value) for name, value in request.headers.items()]
    return {
        "body": await read_payload(request),
        "headers": listed((name, value) for name, value in headers if name not in _UNSEEN and name != webhook.proof),
        "query": listed(request.query.items()),
    }
