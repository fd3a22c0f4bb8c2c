"""What every kind of action shares. The kinds themselves live in the package ``actions``."""

from typing import ClassVar

from pydantic import Field

from domain.durations import Duration
from domain.identifiers import ACTION_ID_PATTERN
from domain.model import Model
from domain.retry import Retry


class Action(Model):
    """One step of a workflow; each kind adds a literal ``type`` and its own fields."""

    waits: ClassVar[bool] = True
    """Whether the runner must end it when its timeout is over; not so a kind that never waits, or keeps its own time."""

    action_id: str | None = Field(
        default=None,
        pattern=ACTION_ID_PATTERN,
        description="Name of the step, unique in its workflow; made from type and position when missing.",
    )
    retry: Retry | None = Field(
        default=None, description="How this step is retried, where that differs from the workflow's retry."
    )
    timeout: Duration = Field(default="1m", description="Longest time that one attempt of the action may take.")
    condition: str | None = Field(
        default=None,
        alias="if",
        max_length=10_000,
        description="An expression such as actions.check.output.json.ready; the step is skipped where it does not hold.",
        examples=["input.count > 3"],
    )
    continue_on_error: bool | None = Field(
        default=None, strict=True, description="Whether the workflow goes on as if nothing was wrong when this step fails."
    )

    @property
    def is_idempotent(self) -> bool:
        """Whether doing it twice is as good as doing it once, by itself: what ``retryUnsafe: false`` asks."""
        return True
