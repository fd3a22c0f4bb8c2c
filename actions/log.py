"""``log``: writes a message into the execution's history; warnings and errors also into the runner's log."""

from typing import ClassVar, Literal

from pydantic import Field

from actions.running import Context, Outcome, Succeeded
from domain.action import Action


class LogAction(Action):
    """Writes ``message`` into the execution's history."""

    waits: ClassVar[bool] = False

    type: Literal["log"]
    message: str = Field(max_length=10_000, description="What to write.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much it matters; every level but info is written before the message."
    )


async def run(action: LogAction, context: Context) -> Outcome:
    """Log the message."""
    if action.level in ("warning", "error"):
        import structlog  # 0.1 s, which nobody needs who only checks definitions

        getattr(structlog.get_logger(__name__), action.level)(
            "workflow says",
            message=action.message,
            workflow_id=context.workflow_id,
            execution_id=context.execution_id,
            action_id=context.action_id,
        )
    return Succeeded(logs=(action.message if action.level == "info" else f"{action.level.upper()} {action.message}",))
