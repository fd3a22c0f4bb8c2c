"""The kinds that workflows may use."""

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from actions import http_request, log, plugins
from actions.http_request import HttpRequestAction
from actions.log import LogAction
from actions.plugins import PluginSettings, Run
from actions.running import Context, Outcome
from domain.action import Action
from domain.definition import Definition

KINDS: dict[type[Action], Run] = {
    LogAction: log.run,
    HttpRequestAction: http_request.run,
    **plugins.load(PluginSettings().action_plugins),
}

if TYPE_CHECKING:
    AnyAction = Action
else:
    AnyAction = Annotated[Union[tuple(KINDS)], Field(discriminator="type")]
    """An action of any kind, told apart by its ``type``."""


class WorkflowDefinition(Definition[AnyAction]):
    """A workflow as its author writes it."""


async def run_action(action: Action, context: Context) -> Outcome:
    """Run one action of any kind."""
    return await KINDS[type(action)](action, context)
