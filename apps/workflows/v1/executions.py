"""``/executions``: what ran, runs or waits."""

import os
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final

from aiohttp import web
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    Field,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)

from apps.operations import Answer, Operation
from apps.workflows import cancellation, cursors, idempotency, representations
from apps.workflows.answers.executions import ExecutionInFull, ExecutionPage, Triggered
from apps.workflows.bodies import EmptyBody, read_model, read_nothing
from apps.workflows.ending import LONGEST_WAIT, ended
from apps.workflows.errors import (
    AlreadyFinished,
    BadRequest,
    FieldError,
    InProgress,
    NothingToRetry,
    NotTriggeredByHand,
    UnknownExecution,
    UnknownVersion,
    UnknownWorkflow,
)
from apps.workflows.queries import Page, Query, read_query
from apps.workflows.repetition import Repeat
from apps.workflows.views import Resource
from domain.access import Scope
from domain.durations import Duration, duration_text, parse_duration
from domain.execution import Execution, Status
from domain.identifiers import EXECUTION_ID_RULE, WORKFLOW_ID_PATTERN, is_execution_id
from domain.inputs import BadInput
from domain.instants import EPOCH, INSTANT_RULE, instant
from domain.model import Model
from domain.reference import Reference
from store.interfaces import ExecutionFilter, Workflows

LOCATION: Final = {"Location": "Where it is found."}
TRIGGERED: Final = Answer("It is accepted and will run.", Triggered, headers=LOCATION)


def _is_written_out(text: str) -> str:
    # Pydantic would read a bare number as seconds or milliseconds since 1970, as its size suggests.
    if not re.match(r"\d{4}-", text):
        raise ValueError(INSTANT_RULE)
    return text


def _in_range(value: datetime) -> datetime:
    try:
        return max(instant(value), EPOCH)
    except OverflowError:
        raise ValueError(INSTANT_RULE) from None


def _statuses(text: str) -> frozenset[Status]:
    """Return the statuses that users are told by these names."""
    found: set[Status] = set()
    for name in text.split(","):
        named = {status for status in Status if status.shown == name}
        if not named:
            names = dict.fromkeys(status.shown for status in Status)
            raise ValueError(f"must be one or several of {', '.join(names)}, not {name[:40]!r}")
        found |= named
    return frozenset(found)


Instant = Annotated[AwareDatetime, BeforeValidator(_is_written_out), AfterValidator(_in_range)]


_BY_ID: Final = "as its id tells: of a tick, when it was due; an id of your own tells it only as a UUID of version 7"
_NAMED: Final = WithJsonSchema(
    {"type": "array", "items": {"type": "string", "enum": list(dict.fromkeys(status.shown for status in Status))}}
)


class ExecutionQuery(Page):
    """Which executions to list."""

    REPEATABLE: ClassVar[frozenset[str]] = frozenset({"status"})

    cursor: cursors.ExecutionCursor | None = None
    workflow_id: Annotated[str, Field(pattern=WORKFLOW_ID_PATTERN)] | None = None
    statuses: Annotated[frozenset[Status], BeforeValidator(_statuses), _NAMED] | None = Field(
        default=None, alias="status", description="One or several, as a comma list or repeated."
    )
    reference: Reference | None = Field(default=None, description="What they were given as theirs, the whole of it.")
    created_from: Instant | None = Field(
        default=None, alias="from", description=f"Asked for at this instant or later; {_BY_ID}."
    )
    created_to: Instant | None = Field(default=None, alias="to", description=f"Asked for before this instant; {_BY_ID}.")

    @field_validator("created_to")
    @classmethod
    def _to_is_after_from(cls, created_to: datetime | None, info: ValidationInfo) -> datetime | None:
        created_from = info.data.get("created_from")
        if created_to and created_from and created_to <= created_from:
            raise ValueError("must be later than from")
        return created_to

    def where(self) -> ExecutionFilter:
        """Return what to ask the store for."""
        return ExecutionFilter(
            workflow_id=self.workflow_id,
            statuses=self.statuses,
            created_from=self.created_from,
            created_to=self.created_to,
            reference=self.reference,
        )


class Executions(Resource):
    """The list."""

    view_name = "executions"
    view_path = "/executions"
    operations: ClassVar = {
        "get": Operation(
            "listExecutions",
            "List executions, newest first",
            {200: Answer("A page of the list.", ExecutionPage)},
            tag="executions",
            query=ExecutionQuery,
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return a page of executions, newest first."""
        query = read_query(ExecutionQuery, request)
        found = await self.app.store.executions.list(query.where(), before=query.cursor, limit=query.limit + 1)
        page, following = cursors.cut(found, query.limit, lambda execution: execution.execution_id)
        return self.answer({"items": [representations.execution(each) for each in page], "nextCursor": following})


def _is_short(text: str) -> str:
    if parse_duration(text) > LONGEST_WAIT:
        raise ValueError(f"must be {duration_text(LONGEST_WAIT)} or less; ask again for more")
    return text


class OneExecutionQuery(Query):
    """How to show an execution."""

    wait: Annotated[Duration, AfterValidator(_is_short)] | None = Field(
        default=None,
        description="Answer when it has ended, or after this time with what it is by then, as in 30s; a minute at most.",
    )


class OneExecution(Resource):
    """One execution."""

    view_name = "execution"
    view_path = "/executions/{execution_id}"
    operations: ClassVar = {
        "get": Operation(
            "getExecution",
            "Show an execution with every attempt of every action",
            {200: Answer("The execution.", ExecutionInFull)},
            tag="executions",
            query=OneExecutionQuery,
            refusals=(UnknownExecution,),
        )
    }

    async def get(self, request: web.Request, execution_id: str) -> web.Response:
        """Return an execution with what its actions did."""
        check_id(execution_id)
        query = read_query(OneExecutionQuery, request)
        found = await ended(
            execution_id,
            executions=self.app.store.executions,
            within=timedelta() if query.wait is None else parse_duration(query.wait),
            now=self.app.clock(),
            is_in_vain=lambda: self.app.should_stop or request.transport is None,
        )
        if found is None:
            raise UnknownExecution(execution_id)
        return self.answer(await in_full(found, self.app.store.workflows))


class Cancellation(Model):
    """What may be said when an execution, or a backfill, is cancelled."""

    reason: Annotated[str, Field(min_length=1, max_length=500)] = "cancelled by hand"


class ExecutionCancellation(Cancellation):
    """What may be said when an execution is cancelled."""

    now: bool = Field(
        default=False,
        strict=True,
        description="Without the steps of finally, even if they are under way.",
    )


class ExecutionCancel(Resource):
    """Where an execution is cancelled."""

    view_name = "execution-cancel"
    view_path = "/executions/{execution_id}/cancel"
    operations: ClassVar = {
        "post": Operation(
            "cancelExecution",
            "Cancel an open execution",
            {
                200: Answer(
                    "It has ended; or, where its definition has finally, it will when these steps have run.", ExecutionInFull
                )
            },
            tag="executions",
            scope=Scope.OPERATOR,
            body=ExecutionCancellation,
            body_is_required=False,
            refusals=(UnknownExecution, AlreadyFinished),
        )
    }

    async def post(self, request: web.Request, execution_id: str) -> web.Response:
        """End an open execution, after what runs in any case; what else runs of it is stopped within two seconds."""
        check_id(execution_id)
        given = await read_model(ExecutionCancellation, request, optional=True)
        cancelled = await cancellation.cancel(
            execution_id,
            given.reason,
            at_once=given.now,
            executions=self.app.store.executions,
            workflows=self.app.store.workflows,
            publish=self.app.request_execution,
            publish_end=self.app.announce_end,
            now=self.app.clock(),
        )
        return self.answer(await in_full(cancelled, self.app.store.workflows))


class Repetition(Resource):
    """Where a finished execution is taken up again, as a new one."""

    async def post(self, request: web.Request, execution_id: str) -> web.Response:
        """Start a new execution that names this one as its origin."""
        check_id(execution_id)
        await read_nothing(request)
        now = self.app.clock()
        asked_at, entropy, is_unique = idempotency.asked(request, now, os.urandom(10))
        repeat = Repeat(
            workflows=self.app.store.workflows,
            executions=self.app.store.executions,
            publish=self.app.request_execution,
            publish_end=self.app.announce_end,
            asked_at=asked_at,
            entropy=entropy,
            is_unique=is_unique,
            now=now,
        )
        started = await self.start(repeat, execution_id)
        return self.answer(
            {"status": "workflow triggered", "executionId": started, "originId": execution_id},
            status=202,
            location=execution_address(started),
        )

    async def start(self, repeat: Repeat, origin_id: str) -> str:
        """Return the id of the new execution."""
        raise NotImplementedError


class ExecutionRetry(Repetition):
    """Takes up an execution where it failed."""

    view_name = "execution-retry"
    view_path = "/executions/{execution_id}/retry"
    operations: ClassVar = {
        "post": Operation(
            "retryExecution",
            "Take up an execution where it failed",
            {202: TRIGGERED},
            tag="executions",
            scope=Scope.OPERATOR,
            body=EmptyBody,
            body_is_required=False,
            refusals=(BadRequest, UnknownExecution, UnknownWorkflow, InProgress, NothingToRetry, UnknownVersion),
        )
    }

    async def start(self, repeat: Repeat, origin_id: str) -> str:
        """Return the id of the new execution."""
        return await repeat.retry(origin_id)


class ExecutionRunAgain(Repetition):
    """Starts the workflow of an execution once more, from its first action."""

    view_name = "execution-run-again"
    view_path = "/executions/{execution_id}/run-again"
    operations: ClassVar = {
        "post": Operation(
            "runExecutionAgain",
            "Start the workflow of an execution once more",
            {202: TRIGGERED},
            tag="executions",
            scope=Scope.OPERATOR,
            body=EmptyBody,
            body_is_required=False,
            refusals=(BadRequest, UnknownExecution, UnknownWorkflow, InProgress, NotTriggeredByHand, BadInput),
        )
    }

    async def start(self, repeat: Repeat, origin_id: str) -> str:
        """Return the id of the new execution."""
        return await repeat.run_again(origin_id)


VIEWS: Final[tuple[Any, ...]] = (Executions, OneExecution, ExecutionCancel, ExecutionRetry, ExecutionRunAgain)


def check_id(execution_id: str) -> None:
    """Raise BadRequest where the id in the address is none."""
    if not is_execution_id(execution_id):
        raise BadRequest("The address is not valid.", [FieldError("executionId", EXECUTION_ID_RULE)])


async def in_full(found: Execution, workflows: Workflows) -> dict[str, Any]:
    """Return what is shown of one execution; its definition is read where a step of it is to be named."""
    definition = None
    if representations.stands_at_a_step(found):
        definition = await workflows.get_version(found.workflow_id, found.version)
    return representations.execution_in_full(found, definition)


def execution_address(execution_id: str) -> str:
    """Return where an execution is found."""
    return f"/v1/executions/{execution_id}"
