"""``set``: gives names to values, for later steps to use as ``actions.<id>.output.<name>``."""

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, JsonValue

from actions.running import Context, Outcome, Succeeded
from domain.action import Action

NAME_PATTERN: Final = r"^[A-Za-z_][A-Za-z0-9_]{0,63}$"

Name = Annotated[str, Field(pattern=NAME_PATTERN)]


class SetAction(Action):
    """Gives names to values."""

    waits: ClassVar[bool] = False

    type: Literal["set"]
    values: dict[Name, JsonValue] = Field(min_length=1, max_length=100, description="Names and their values.")


async def run(action: SetAction, context: Context) -> Outcome:
    """Return the values as the output."""
    return Succeeded(output=dict(action.values))
