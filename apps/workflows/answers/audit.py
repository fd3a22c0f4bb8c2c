"""The audit log."""

from datetime import datetime

from pydantic import Field, JsonValue

from apps.workflows.answers.shown import Shown


class Change(Shown):
    """One place where a document differs from the one before."""

    path: str
    before: JsonValue = None
    after: JsonValue = None


class AuditEntry(Shown):
    """One change that somebody made."""

    entry_id: str
    at: datetime
    who: str = Field(description="Name of the token; anonymous without authentication.")
    token_id: str | None
    operation: str = Field(description="As in this document, such as replaceWorkflow.")
    path: str
    status: int
    request_id: str
    address: str | None
    changes: list[Change]


class AuditPage(Shown):
    """A part of the audit log, newest first."""

    items: list[AuditEntry]
    next_cursor: str | None
