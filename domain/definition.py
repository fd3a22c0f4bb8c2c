"""A workflow definition: a trigger, ordered actions, and what to do when one fails."""

from functools import cached_property
from typing import Any, Final, Generic, TypeVar

from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from domain.action import Action
from domain.durations import Duration
from domain.flow import Plan
from domain.identifiers import WORKFLOW_ID_PATTERN
from domain.inputs import Schema
from domain.model import Model
from domain.overlap import Overlap, OverlapPolicy
from domain.retry import MAX_RETRIES, Backoff, Retry, RetryPolicy, check_retry, resolve_retry
from domain.subscription import Subscription
from domain.trigger import Trigger, allows_manual
from domain.webhook import Webhook

MAX_ACTIONS = 100
LONGEST_DESCRIPTION: Final = 2_000
LONGEST_TEMPLATE: Final = 1_000  # of a reference

# What the service adds to a definition when it shows a workflow. Whoever edits what was shown and sends it back meets these.
ADDED_WHEN_SHOWN: Final = frozenset(
    {
        "version", "createdAt", "updatedAt", "archivedAt", "nextRun", "pausedAt", "lastExecution", "recentExecutions",
        "retrySchedule", "warnings",
    }
)  # fmt: skip

A = TypeVar("A", bound=Action)
W = TypeVar("W", bound=Webhook | Subscription | None)


class Definition(Model, Generic[A]):
    """A workflow as its author writes it; immutable once stored, a change makes a new version.

    Generic over the union of action kinds, which the package ``actions`` supplies.
    """

    workflow_id: str = Field(pattern=WORKFLOW_ID_PATTERN, description="Unique name of the workflow.")
    description: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_DESCRIPTION,
        description="What it is for, whom to ask; shown wherever the workflow is, and nothing goes by it.",
    )
    trigger: Trigger
    actions: tuple[A, ...] = Field(min_length=1, max_length=MAX_ACTIONS, description="Run in this order.")
    retries: int = Field(
        default=3,
        strict=True,
        ge=0,
        le=MAX_RETRIES,
        description="Retries after the first attempt; short for retry.attempts - 1.",
    )
    backoff: Backoff = Field(
        default_factory=Backoff, description="Short for initial, factor, cap and jitter of retry, which win over it."
    )
    retry: Retry | None = Field(default=None, description="How failed actions are retried.")
    overlap: Overlap = Field(
        default=Overlap(),
        exclude_if=lambda overlap: overlap == Overlap(),
        description="What becomes of an execution asked for while another one is open; a word is short for its policy.",
    )
    timeout: Duration | None = Field(
        default=None,
        description="Longest time of `actions`, from admission on, waits and retries included; then the step that it is at"
        " fails as timed-out. `onFailure` and `finally` have as long once more, from when they begin; then it ends.",
    )
    on_failure: tuple[A, ...] | None = Field(
        default=None,
        max_length=MAX_ACTIONS,
        description="Run in this order when an action has failed for good, `timeout` is over, or the execution is given up.",
    )
    finally_: tuple[A, ...] | None = Field(
        default=None,
        alias="finally",
        max_length=MAX_ACTIONS,
        description="Run in this order at the end, whatever failed; not where it is cancelled.",
    )
    input_schema: Schema | None = Field(
        default=None,
        description="JSON Schema (2020-12) that the input given with a trigger must obey. What it says as `default` is "
        "filled in where it is not given, for ticks as well; `format` is not checked.",
    )
    reference: str | None = Field(
        default=None,
        min_length=1,
        max_length=LONGEST_TEMPLATE,
        description="A template of `input` alone, as in `{{ input.order }}`: by what it makes an execution is found that was"
        " given no reference when it was asked for. Where that is none, it has none.",
    )
    webhook: Webhook | None = Field(
        default=None, description="How a sender without a token proves who it is at `POST /workflows/{id}/webhook`."
    )
    kafka: Subscription | None = Field(default=None, description="A topic, of which each record starts an execution.")

    @model_validator(mode="before")
    @classmethod
    def _retries_follow_attempts(cls, data: Any) -> Any:
        """Set ``retries``, which the admission of an execution reads, from ``retry.attempts``."""
        retry = data.get("retry") if isinstance(data, dict) else None
        attempts = retry.get("attempts") if isinstance(retry, dict) else None
        if "retries" in (data or ()) or type(attempts) is not int or not 1 <= attempts <= MAX_RETRIES + 1:
            return data
        return {**data, "retries": attempts - 1}

    @field_validator("retry")
    @classmethod
    def _retry_is_sound(cls, retry: Retry | None, info: ValidationInfo) -> Retry | None:
        retries, backoff = info.data.get("retries"), info.data.get("backoff")
        if retry is None or retries is None or backoff is None:
            return retry
        if retry.attempts is not None and retry.attempts != retries + 1:
            raise ValueError(f"attempts {retry.attempts} and retries {retries} disagree; leave out retries")
        check_retry(None, retry, backoff=backoff)
        return retry

    @model_validator(mode="after")
    def _retries_of_actions_are_sound(self) -> Self:
        for index, action in enumerate(self.steps):
            if action.retry is not None:
                try:
                    check_retry(action.retry, self.retry, backoff=self.backoff)
                except ValueError as error:
                    field = f"{self.plan.place_of(index)}.retry"
                    raise PydanticCustomError("retry", "{error}", {"error": str(error), "field": field}) from None
        return self

    @field_validator("webhook", "kafka")
    @classmethod
    def _may_start_it(cls, way_in: W, info: ValidationInfo) -> W:
        trigger = info.data.get("trigger")
        if way_in is not None and trigger is not None and not allows_manual(trigger):
            raise ValueError('starts a workflow that runs on its schedule alone; set "allowManual": true in its trigger')
        return way_in

    def retry_policy(self, action: Action | None = None) -> RetryPolicy:
        """Return how ``action``, or an action without a word of its own, is retried."""
        return resolve_retry(action.retry if action else None, self.retry, retries=self.retries, backoff=self.backoff)

    @model_validator(mode="before")
    @classmethod
    def _name_the_actions(cls, data: Any) -> Any:
        """Give every action without an id one made from its type and position (from 1)."""
        if not isinstance(data, dict):
            return data
        named = {}
        for names, prefix in _LISTS:
            for name in names:
                if isinstance(data.get(name), (list, tuple)):
                    named[name] = [_named(action, prefix, position) for position, action in enumerate(data[name], start=1)]
        return {**data, **named}

    @field_validator("overlap", mode="before", json_schema_input_type=Overlap | OverlapPolicy)
    @classmethod
    def _policy_alone(cls, value: Any) -> Any:
        """Take ``"queue"`` for ``{"policy": "queue"}``."""
        return {"policy": value} if isinstance(value, str) else value

    @field_validator("actions", "on_failure", "finally_")
    @classmethod
    def _ids_are_unique(cls, actions: tuple[A, ...] | None, info: ValidationInfo) -> tuple[A, ...] | None:
        seen = {
            action.action_id
            for name in ("actions", "on_failure", "finally_")
            if name != info.field_name
            for action in info.data.get(name) or ()
        }
        for action in actions or ():
            if action.action_id in seen:
                raise ValueError(f"actionId {action.action_id!r} is used twice; give each action an id of its own")
            seen.add(action.action_id)
        return actions

    @property
    def steps(self) -> tuple[A, ...]:
        """Everything that may run, in the order of the positions: actions, onFailure, finally."""
        return (*self.actions, *(self.on_failure or ()), *(self.finally_ or ()))

    @cached_property
    def retry_policies(self) -> tuple[RetryPolicy, ...]:
        """How each step is retried, by position."""
        return tuple(map(self.retry_policy, self.steps))

    @cached_property
    def plan(self) -> Plan:
        """What decides which step runs next."""
        return Plan(len(self.actions), len(self.on_failure or ()), len(self.finally_ or ()))


_LISTS = ((("actions",), ""), (("onFailure", "on_failure"), "on-failure-"), (("finally", "finally_"), "finally-"))


def _named(action: Any, prefix: str, position: int) -> Any:
    if not isinstance(action, dict) or action.get("actionId") is not None or action.get("action_id") is not None:
        return action
    return {**action, "actionId": f"{prefix}{action.get('type')}-{position}"}
