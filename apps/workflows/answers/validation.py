"""What is wrong with a definition."""

from pydantic import Field, JsonValue

from apps.workflows.answers.shown import Shown
from apps.workflows.answers.workflows import DefinitionShown


class FieldProblem(Shown):
    """What is wrong with one field, and where it stands."""

    field: str
    message: str
    line: int | None


class Validated(Shown):
    """What validation found."""

    valid: bool
    errors: list[FieldProblem]
    warnings: list[FieldProblem] = Field(
        description="What would make it fail if it ran now, and does not keep it from being stored: a workflow that it "
        "starts and that is not there."
    )
    definition: DefinitionShown | None = Field(description="With its defaults filled in; null where it is not valid.")
    written: dict[str, JsonValue] | None = Field(description="As it was written; null where it is not valid.")
    yaml: str | None = Field(description="As it was written, in YAML; null where it is not valid.")
    concise: str | None = Field(description="In YAML, without what is said by default; null where it is not valid.")
