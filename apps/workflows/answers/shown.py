"""What the models of answers share."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, WithJsonSchema

from domain.execution import Status
from domain.identifiers import EXECUTION_ID_PATTERN, WORKFLOW_ID_PATTERN
from domain.model import Model

ExecutionId = Annotated[str, Field(pattern=EXECUTION_ID_PATTERN)]
WorkflowId = Annotated[str, Field(pattern=WORKFLOW_ID_PATTERN)]
TriggerStatus = Literal["idle", "busy", "pending", "paused"]
ShownStatus = Annotated[
    str, WithJsonSchema({"type": "string", "enum": list(dict.fromkeys(status.shown for status in Status))})
]


def _is_open_ended(schema: dict[str, Any]) -> None:
    """Let clients meet members that they do not know: a later version may add some."""
    schema.pop("additionalProperties", None)


# Built when somebody asks for the documents: most never do, and it is a megabyte.
SHOWN = ConfigDict(json_schema_extra=_is_open_ended, defer_build=True)


class Shown(Model):
    """Base of the answers; fields that are not there are null, unless said otherwise."""

    model_config: ClassVar[ConfigDict] = SHOWN
