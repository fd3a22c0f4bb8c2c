"""The kinds that workflows may use."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from pydantic import Field

from actions import http_request, log
from actions.http_request import HttpRequestAction
from actions.log import LogAction
from actions.running import Context, Outcome
from domain.action import Action
from domain.definition import Definition

AnyAction = Annotated[LogAction | HttpRequestAction, Field(discriminator="type")]
"""An action of any kind, told apart by its ``type``."""

KINDS: dict[type[Action], Callable[[Any, Context], Awaitable[Outcome]]] = {
    LogAction: log.run,
    HttpRequestAction: http_request.run,
}


class WorkflowDefinition(Definition[AnyAction]):
    """A workflow as its author writes it."""


async def run_action(action: Action, context: Context) -> Outcome:
    """Run one action of any kind."""
    return await KINDS[type(action)](action, context)
