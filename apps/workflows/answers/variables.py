"""Variables."""

from datetime import datetime

from pydantic import JsonValue

from apps.workflows.answers.shown import Shown


class VariableShown(Shown):
    """A variable."""

    name: str
    value: JsonValue
    updated_at: datetime


class VariableList(Shown):
    """The variables, by name."""

    items: list[VariableShown]
