"""Every error as ``application/problem+json`` (RFC 9457), in one place.

``answer`` is called by the views for what their handlers raise, and by the middleware for what the router raises before a
view is found (unknown routes, methods that a route does not take).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from apps import access
from apps.signals import SignalSentBefore, SignalTooLate, UnknownSignal
from apps.stored_definitions import UnreadableVersion
from apps.workflows import errors, representations, request_ids
from domain.inputs import BadInput
from events.letter_box import LettersUnreadable
from events.wire import json_bytes
from store.interfaces import StoreRefused, StoreUnavailable, VersionConflict, WorkflowExists

log = structlog.get_logger(__name__)

CONTENT_TYPE = "application/problem+json"
SHOWN_ERRORS = 50  # field errors in one answer: a hostile body has a hundred thousand
RETRY_AFTER = "5"  # seconds; the database driver finds a new primary in less


@dataclass(frozen=True)
class Kind:
    """A kind of problem: its status, the last part of its type, its title."""

    status: int
    name: str
    title: str


KINDS: dict[type, Kind] = {
    errors.BadRequest: Kind(400, "bad-request", "The request is not valid"),
    errors.UnknownWorkflow: Kind(404, "unknown-workflow", "Unknown workflow"),
    errors.UnknownExecution: Kind(404, "unknown-execution", "Unknown execution"),
    errors.UnknownToken: Kind(404, "unknown-token", "Unknown token"),
    web.HTTPNotFound: Kind(404, "not-found", "Not Found"),
    errors.UnknownVersion: Kind(404, "unknown-version", "Unknown version"),
    errors.NothingToRetry: Kind(409, "nothing-to-retry", "Nothing to retry"),
    errors.NotTriggeredByHand: Kind(409, "not-triggered-by-hand", "Not triggered by hand"),
    errors.UnknownWebhook: Kind(404, "unknown-webhook", "Unknown webhook"),
    errors.WebhookNotProven: Kind(403, "webhook-not-proven", "Sender not proven"),
    errors.WebhookNotReady: Kind(503, "webhook-not-ready", "Webhook not ready"),
    errors.NeitherJsonNorText: Kind(415, "neither-json-nor-text", "Neither JSON nor text"),
    errors.NoTicks: Kind(409, "no-ticks", "No ticks to come"),
    errors.NotRecurring: Kind(409, "not-recurring", "No recurring schedule"),
    errors.BackfillInProgress: Kind(409, "backfill-in-progress", "Backfill in progress"),
    errors.UnknownBackfill: Kind(404, "unknown-backfill", "Unknown backfill"),
    errors.BackfillEnded: Kind(409, "backfill-ended", "Backfill ended"),
    errors.UnknownDeadLetter: Kind(404, "unknown-dead-letter", "Unknown dead letter"),
    errors.NotResendable: Kind(409, "not-resendable", "Cannot be sent again"),
    errors.KafkaUnavailable: Kind(503, "kafka-unavailable", "Kafka unavailable"),
    LettersUnreadable: Kind(503, "kafka-unavailable", "Kafka unavailable"),
    errors.AlreadyFinished: Kind(409, "execution-finished", "Execution finished"),
    UnknownSignal: Kind(404, "unknown-signal", "Unknown signal"),
    SignalTooLate: Kind(409, "signal-too-late", "Too late for this signal"),
    SignalSentBefore: Kind(409, "signal-sent-before", "Signal sent before"),
    errors.InProgress: Kind(409, "workflow-in-progress", "Workflow in progress"),
    WorkflowExists: Kind(409, "workflow-exists", "Workflow exists"),
    VersionConflict: Kind(409, "version-conflict", "Changed in the meantime"),
    errors.BodyTooLarge: Kind(413, "body-too-large", "Body too large"),
    errors.NotJson: Kind(415, "not-json", "Not JSON"),
    errors.UnknownEncoding: Kind(415, "unknown-encoding", "Unknown encoding"),
    errors.UnknownSecret: Kind(404, "unknown-secret", "Unknown secret"),
    errors.UnknownVariable: Kind(404, "unknown-variable", "Unknown variable"),
    errors.SecretsNotEncrypted: Kind(409, "no-key-for-secrets", "No key for secrets"),
    BadInput: Kind(400, "bad-input", "Bad input"),
    access.NotAuthenticated: Kind(401, "not-authenticated", "Not authenticated"),
    access.NotAllowed: Kind(403, "not-allowed", "Not allowed"),
    errors.KeyInUse: Kind(409, "idempotency-key-in-use", "Being answered"),
    errors.PreconditionFailed: Kind(412, "precondition-failed", "Precondition failed"),
    errors.KeyReused: Kind(422, "idempotency-key-reused", "Key of another request"),
    UnreadableVersion: Kind(503, "definition-unreadable", "Definition cannot be read here"),
    StoreUnavailable: Kind(503, "database-unavailable", "Database unavailable"),
}


def answer(error: Exception) -> web.Response:
    """Return the answer to what went wrong; what was not foreseen is logged, and told without its internals."""
    if isinstance(error, web.HTTPException):
        return _of_the_router(error)
    kind = _kind_of(error)
    if kind is not None:
        return _response(kind.status, _members(kind, error), _headers(error))
    log.error("request failed", exc_info=error)
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    detail = "The service failed; its log says why. Send the request again later."
    return _response(status, _plain(status, detail))


def is_refusal(error: BaseException) -> bool:
    """Tell whether a request that ended so has certainly changed nothing: what failed may have been carried out."""
    if isinstance(error, web.HTTPException):
        return error.status < 500
    kind = _kind_of(error)
    return kind is not None and kind.status < 500


def _kind_of(error: BaseException) -> Kind | None:
    return next((KINDS[base] for base in type(error).__mro__ if base in KINDS), None)


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn what is raised outside of the views into problems."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return answer(error)
    except Exception as error:
        return answer(error)


def _members(kind: Kind, error: Exception) -> dict[str, Any]:
    members: dict[str, Any] = {
        "type": f"urn:problem-type:{kind.name}",
        "title": kind.title,
        "status": kind.status,
        "detail": str(error),
    }
    if isinstance(error, errors.BadRequest) and error.errors:
        members["errors"] = [asdict(field_error) for field_error in error.errors[:SHOWN_ERRORS]]
        if len(error.errors) > SHOWN_ERRORS:
            members["detail"] += f" The first {SHOWN_ERRORS} of {len(error.errors)} errors are shown."
    elif isinstance(error, BadInput):
        members["detail"] = f"The {error.name} is not valid."
        members["errors"] = [{"field": problem.path, "message": problem.message} for problem in error.problems]
    elif isinstance(error, errors.InProgress):
        # The one problem whose "status" is the words that this route has always answered. RFC 9457 (3.1) lets it be:
        # a member of another type than expected is ignored, and the number stands in the status line.
        members["status"] = "workflow in progress"
        members["triggerStatus"] = representations.trigger_status(error.status)
        if error.execution_id:
            members["executionId"] = error.execution_id
    elif isinstance(error, errors.AlreadyFinished):
        members |= {"executionId": error.execution_id, "executionStatus": error.status.shown}
    elif isinstance(error, SignalTooLate):
        members["retryWaits"] = error.retry_waits
    elif isinstance(error, errors.BackfillInProgress):
        members["backfillId"] = error.backfill_id
    elif isinstance(error, WorkflowExists):
        members["detail"] = f"{_sentence(error)}; PUT /workflows/{error.workflow_id} changes it."
    elif isinstance(error, UnreadableVersion):
        members["detail"] = f"{_sentence(error)}."
    elif isinstance(error, VersionConflict):
        members["detail"] = f"{_sentence(error)}; read it and send your change again."
    elif isinstance(error, StoreUnavailable):
        # What the driver says names hosts and ports; it is for the log.
        log.warning("database unavailable", error=str(error))
        members["detail"] = (
            "The database refused to do it; its disk may be full. Send the request again when that is mended."
            if isinstance(error, StoreRefused)
            else "The database cannot be reached. Send the request again later."
        )
    return members


def _headers(error: Exception) -> dict[str, str]:
    if isinstance(error, (StoreUnavailable, errors.KafkaUnavailable, LettersUnreadable)):
        return {"Retry-After": RETRY_AFTER}
    if isinstance(error, errors.NotJson):
        return {"Accept": "application/json"}
    if isinstance(error, errors.UnknownEncoding):
        return {"Accept-Encoding": ", ".join(error.known)}
    if isinstance(error, access.NotAuthenticated):
        return {"WWW-Authenticate": 'Bearer realm="workflow-automation"'}
    if isinstance(error, errors.KeyInUse):
        return {"Retry-After": "1"}
    if isinstance(error, errors.PreconditionFailed):
        return {"ETag": f'"{error.version}"'}
    return {}


def _of_the_router(error: web.HTTPException) -> web.Response:
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        detail = f"{error.method} is not allowed here; use one of {allowed}."
        return _response(error.status, _plain(error.status, detail), {"Allow": allowed})
    if isinstance(error, web.HTTPNotFound):
        return _response(error.status, _plain(error.status, "There is nothing at this address; /v1/workflows is a start."))
    return _response(error.status, _plain(error.status, error.reason))


def _plain(status: int, detail: str) -> dict[str, Any]:
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": int(status), "detail": detail}


def _sentence(error: Exception) -> str:
    text = str(error)
    return text[:1].upper() + text[1:]


def _response(status: int, members: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> web.Response:
    request_id = request_ids.current()
    if request_id:
        members = {**members, "requestId": request_id}
    return web.Response(body=json_bytes(members), status=status, headers={"Content-Type": CONTENT_TYPE, **(headers or {})})
