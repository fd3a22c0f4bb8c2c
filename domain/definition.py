"""A workflow definition: a trigger, ordered actions, and what to do when one fails."""

from typing import Any, Generic, TypeVar

from pydantic import Field, field_validator, model_validator

from domain.action import Action
from domain.identifiers import WORKFLOW_ID_PATTERN
from domain.model import Model
from domain.overlap import Overlap
from domain.retry import MAX_RETRIES, Backoff
from domain.trigger import Trigger

MAX_ACTIONS = 100

A = TypeVar("A", bound=Action)


class Definition(Model, Generic[A]):
    """A workflow as its author writes it; immutable once stored, a change makes a new version.

    Generic over the union of action kinds, which the package ``actions`` supplies.
    """

    workflow_id: str = Field(pattern=WORKFLOW_ID_PATTERN, description="Unique name of the workflow.")
    trigger: Trigger
    actions: tuple[A, ...] = Field(min_length=1, max_length=MAX_ACTIONS, description="Run in this order.")
    retries: int = Field(default=3, ge=0, le=MAX_RETRIES, description="Retries after the first attempt.")
    backoff: Backoff = Field(default_factory=Backoff)
    overlap: Overlap = Field(default=Overlap(), exclude_if=lambda overlap: overlap == Overlap())

    @model_validator(mode="before")
    @classmethod
    def _name_the_actions(cls, data: Any) -> Any:
        """Give every action without an id one made from its type and position (from 1)."""
        actions = data.get("actions") if isinstance(data, dict) else None
        if not isinstance(actions, (list, tuple)):
            return data
        named = [
            {**action, "actionId": f"{action.get('type')}-{position}"}
            if isinstance(action, dict) and action.get("actionId") is None and action.get("action_id") is None
            else action
            for position, action in enumerate(actions, start=1)
        ]
        return {**data, "actions": named}

    @field_validator("overlap", mode="before")
    @classmethod
    def _policy_alone(cls, value: Any) -> Any:
        """Take ``"queue"`` for ``{"policy": "queue"}``."""
        return {"policy": value} if isinstance(value, str) else value

    @field_validator("actions")
    @classmethod
    def _ids_are_unique(cls, actions: tuple[A, ...]) -> tuple[A, ...]:
        seen: set[str | None] = set()
        for action in actions:
            if action.action_id in seen:
                raise ValueError(f"actionId {action.action_id!r} is used twice; give each action an id of its own")
            seen.add(action.action_id)
        return actions
