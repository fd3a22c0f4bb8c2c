"""The trigger of a workflow, with whether it is busy."""

from typing import Annotated, Any, Union, get_args

from pydantic import Field, create_model

from apps.workflows.answers.shown import TriggerStatus
from domain.model import Model
from domain.trigger import Trigger


def _shown(kind: type[Model]) -> type[Model]:
    status: Any = (
        TriggerStatus,
        Field(description="busy: actions run; pending: accepted or in backoff; paused: its ticks are held; idle: none."),
    )
    return create_model(
        f"Shown{kind.__name__}",
        __base__=kind,
        __doc__=kind.__doc__,
        status=status,
    )


_KINDS = get_args(get_args(Trigger)[0])
ShownTrigger: Any = Annotated[Union[tuple(_shown(kind) for kind in _KINDS)], Field(discriminator="type")]
