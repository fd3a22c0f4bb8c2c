"""``log``: writes a message into the execution's history."""

from typing import Literal

from pydantic import Field

from actions.running import Context, Outcome, Succeeded
from domain.action import Action


class LogAction(Action):
    """Writes ``message`` into the execution's history."""

    type: Literal["log"]
    message: str = Field(max_length=10_000, description="What to write.")


async def run(action: LogAction, context: Context) -> Outcome:
    """Log the message."""
    return Succeeded(logs=(action.message,))
