"""``/tokens``: who may use the API. ``/audit``: who changed what."""

import os
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Final

from aiohttp import web
from pydantic import BeforeValidator, Field

from apps.operations import Answer, Operation
from apps.workflows import auditing, cursors, representations
from apps.workflows.answers.audit import AuditPage
from apps.workflows.answers.tokens import TokenCreated, TokenList
from apps.workflows.bodies import read_model
from apps.workflows.errors import UnknownToken
from apps.workflows.queries import Page, read_query
from apps.workflows.views import Resource
from domain.access import TOKEN_NAME_PATTERN, Scope, Token, digest, write_token
from domain.durations import Duration, parse_duration
from domain.model import Model
from store.interfaces import AuditFilter

_SCOPES: Final = tuple(scope.value for scope in Scope if scope is not Scope.PUBLIC)


def _is_of_a_token(value: Any) -> Any:
    if value not in _SCOPES:
        raise ValueError(f"must be {', '.join(_SCOPES[:-1])} or {_SCOPES[-1]}")
    return value


class TokenBody(Model):
    """A token to make."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=TOKEN_NAME_PATTERN)] = Field(
        description="Whose it is, or what for; shown in lists and in the audit log."
    )
    scope: Annotated[Scope, BeforeValidator(_is_of_a_token)] = Field(
        default=Scope.VIEWER,
        description="viewer reads; operator also changes workflows, variables, starts executions; admin also makes tokens.",
        json_schema_extra={"enum": list(_SCOPES)},
    )
    expires_in: Duration | None = Field(default=None, description="How long it is good, as in 30d; for ever where absent.")


def make(body: TokenBody, *, now: datetime, entropy: bytes) -> tuple[str, Token]:
    """Return a new token and what is stored of it; from 40 random bytes."""
    text = write_token(entropy[:8], entropy[8:])
    expires_in: timedelta | None = parse_duration(body.expires_in) if body.expires_in else None
    return text, Token(
        token_id=entropy[:8].hex(),
        name=body.name,
        scope=body.scope,
        digest=digest(text),
        created_at=now,
        expires_at=now + expires_in if expires_in else None,
    )


class Tokens(Resource):
    """The list, and where a token is made."""

    view_name = "tokens"
    view_path = "/tokens"
    operations: ClassVar = {
        "get": Operation(
            "listTokens",
            "List tokens, without their secrets",
            {200: Answer("Every token, oldest first.", TokenList)},
            tag="access",
            scope=Scope.ADMIN,
        ),
        "post": Operation(
            "createToken",
            "Make a token",
            {201: Answer("The token; its secret is shown this once.", TokenCreated)},
            tag="access",
            scope=Scope.ADMIN,
            body=TokenBody,
            example={"name": "deploy pipeline", "scope": "operator", "expiresIn": "2160h"},
            takes_key=False,  # the answer holds the secret, which is stored nowhere
        ),
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return every token."""
        found = await self.app.store.tokens.all()
        return self.answer({"items": [representations.token(each) for each in found]})

    async def post(self, request: web.Request) -> web.Response:
        """Make a token and show it."""
        wanted = await read_model(TokenBody, request, what="token")
        text, token = make(wanted, now=self.app.clock(), entropy=os.urandom(40))
        await self.app.store.tokens.add(token)
        shown = representations.token(token)
        auditing.note(request, None, shown)
        response = self.answer({**shown, "token": text}, status=201)
        response.headers["Cache-Control"] = "no-store"
        return response


class OneToken(Resource):
    """One token."""

    view_name = "token"
    view_path = "/tokens/{token_id}"
    operations: ClassVar = {
        "delete": Operation(
            "revokeToken",
            "Revoke a token",
            {204: Answer("It is good no more, within five seconds everywhere.", content_type=None)},
            tag="access",
            scope=Scope.ADMIN,
            refusals=(UnknownToken,),
        )
    }

    async def delete(self, request: web.Request, token_id: str) -> web.Response:
        """Revoke a token."""
        if not await self.app.store.tokens.revoke(token_id, self.app.clock()):
            raise UnknownToken(token_id)
        return web.Response(status=204)


class AuditQuery(Page):
    """Which changes to list."""

    cursor: cursors.ExecutionCursor | None = None
    path: Annotated[str, Field(max_length=300)] | None = Field(
        default=None, description="This address and those below it, as in /workflows/hello."
    )
    who: Annotated[str, Field(max_length=100)] | None = Field(default=None, description="Name of a token, or anonymous.")
    operation: Annotated[str, Field(max_length=100)] | None = Field(default=None, description="As in replaceWorkflow.")


class Audit(Resource):
    """Who changed what."""

    view_name = "audit"
    view_path = "/audit"
    operations: ClassVar = {
        "get": Operation(
            "listAudit",
            "List changes, newest first: who, what, when, the difference",
            {200: Answer("A page of the list.", AuditPage)},
            tag="access",
            scope=Scope.ADMIN,
            query=AuditQuery,
        )
    }

    async def get(self, request: web.Request) -> web.Response:
        """Return a page of changes."""
        query = read_query(AuditQuery, request)
        where = AuditFilter(path=query.path, who=query.who, operation=query.operation)
        found = await self.app.store.audit.list(where, before=query.cursor, limit=query.limit + 1)
        page, following = cursors.cut(found, query.limit, lambda entry: entry.entry_id)
        return self.answer({"items": [representations.audit_entry(entry) for entry in page], "nextCursor": following})


VIEWS: Final[tuple[Any, ...]] = (Tokens, OneToken, Audit)
