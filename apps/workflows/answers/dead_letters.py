"""Records that no service could take."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from apps.workflows.answers.shown import Shown


class DeadLetterShown(Shown):
    """A record that no service could take."""

    id: str
    topic: str
    partition: int
    offset: int
    reason: str
    at: datetime
    key: str | None
    value: str | None
    key_base64: str | None = Field(default=None, description="Only where the key is not text.")
    value_base64: str | None = Field(default=None, description="Only where the value is not text.")


class DeadLetterPage(Shown):
    """A part of the list of dead letters."""

    items: list[DeadLetterShown]
    next_cursor: str | None


class Resent(Shown):
    """The record was sent again."""

    status: Literal["resent"]
    id: str
    topic: str
