"""Secrets, without their values."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from apps.workflows.answers.shown import Shown


class SecretShown(Shown):
    """A secret, without its value."""

    name: str
    source: Literal["stored", "mounted"] | None = Field(default=None, description="Where it is kept.")
    key_id: str | None = Field(default=None, description="The key that it is encrypted with.")
    updated_at: datetime | None = None
    problem: str | None = Field(default=None, description="Why it is not used.")


class SecretList(Shown):
    """The names of the secrets."""

    items: list[SecretShown]


class SecretProblem(Shown):
    """A secret that could not be encrypted anew."""

    name: str
    message: str


class Rotated(Shown):
    """What was encrypted anew."""

    key_id: str
    rotated: list[str]
    failed: list[SecretProblem]
