"""Tokens, without their secrets but where one is made."""

from datetime import datetime

from pydantic import Field

from apps.workflows.answers.shown import Shown
from domain.access import Scope


class TokenShown(Shown):
    """A token, without its secret."""

    token_id: str
    name: str
    scope: Scope
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class TokenCreated(TokenShown):
    """A new token. Its secret is shown this once."""

    token: str


class TokenList(Shown):
    """Every token that is kept."""

    items: list[TokenShown]
