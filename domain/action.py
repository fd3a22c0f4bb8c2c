"""What every kind of action shares. The kinds themselves live in the package ``actions``."""

from pydantic import Field

from domain.durations import Duration
from domain.identifiers import ACTION_ID_PATTERN
from domain.model import Model
from domain.retry import Retry


class Action(Model):
    """One step of a workflow; each kind adds a literal ``type`` and its own fields."""

    action_id: str | None = Field(
        default=None,
        pattern=ACTION_ID_PATTERN,
        description="Name of the step, unique in its workflow; made from type and position when missing.",
    )
    retry: Retry | None = Field(
        default=None, description="How this step is retried, where that differs from the workflow's retry."
    )
    timeout: Duration = Field(default="1m", description="Longest time that one attempt of the action may take.")
