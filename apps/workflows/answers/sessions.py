"""Who the caller is."""

from pydantic import Field

from apps.workflows.answers.shown import Shown
from domain.access import Scope


class Session(Shown):
    """Who the caller is."""

    name: str
    scope: Scope
    token_id: str | None
    csrf_token: str | None = Field(description="To send as X-CSRF-Token with every change; null without a cookie.")
