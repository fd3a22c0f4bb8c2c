"""What the steps of a definition would do."""

from typing import Annotated, Literal

from pydantic import Field, JsonValue

from apps.workflows.answers.problems import ProblemField
from apps.workflows.answers.shown import Shown, WorkflowId


class DryTrigger(Shown):
    """What a step would start."""

    workflow_id: WorkflowId
    count: int = Field(description="How many executions of it.")
    inputs: list[dict[str, JsonValue]] = Field(description="Of the first of them.")


class DryStep(Shown):
    """What one step would do."""

    list: Literal["actions", "onFailure", "finally"] = Field(description="Where it stands in the definition.")
    action_id: str
    type: str
    result: Literal["would run", "would wait", "skipped", "not reached", "error"] = Field(
        description="would wait: for a signal; not reached: a step before it fails, by what it is taken to have answered."
    )
    if_: bool | None = Field(
        default=None, alias="if", description="Whether its condition holds; null where that depends on what is not known."
    )
    rendered: dict[str, JsonValue] | None = Field(
        default=None, description="The action as it would be run; absent where it would not."
    )
    unknown: Annotated[tuple[str, ...], Field()] | None = Field(
        default=None, description="Fields whose templates read what is not known before it runs; they stand as written."
    )
    triggers: DryTrigger | None = Field(
        default=None, description="What a trigger-workflow would start; absent where that is not known before it runs."
    )
    token_from: str | None = Field(
        default=None,
        description="Where a request would get its token, unless its runner has one; absent where it needs none.",
    )
    output: dict[str, JsonValue] | None = Field(default=None, description="What it is taken to have answered.")
    error: str | None = Field(default=None, description="Why it cannot be rendered.")


class DryRun(Shown):
    """What each step would do; nothing was sent."""

    workflow_id: WorkflowId
    reference: str | None = Field(description="The one that is given, or what the definition makes of the input.")
    valid: bool = Field(description="Whether it would run.")
    errors: list[ProblemField]
    steps: list[DryStep]
