"""``fail``: ends the workflow as failed, with a message; usually under an ``if``. It is not retried."""

from typing import ClassVar, Literal

from pydantic import Field

from actions.running import Context, Failed, Outcome
from domain.action import Action


class FailAction(Action):
    """Fails, on purpose."""

    waits: ClassVar[bool] = False

    type: Literal["fail"]
    message: str = Field(max_length=2_000, description="Why.")


async def run(action: FailAction, context: Context) -> Outcome:
    """Fail."""
    return Failed("fail", action.message)
