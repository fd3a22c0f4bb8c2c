"""The kinds that workflows may use."""

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError
from typing_extensions import Self

from actions import delay, fail, http_request, log, plugins, publish, trigger_workflow, wait_for_signal
from actions import set as set_values
from actions.delay import DelayAction
from actions.fail import FailAction
from actions.http_request import HttpRequestAction
from actions.log import LogAction
from actions.plugins import PluginSettings, Run
from actions.publish import PublishAction
from actions.running import Context, Outcome
from actions.set import SetAction
from actions.steps import Step
from actions.trigger_workflow import TriggerWorkflowAction
from actions.wait_for_signal import WaitForSignalAction
from domain.action import Action
from domain.definition import Definition
from domain.flow import following
from templates.parts import Parts

KINDS: dict[type[Action], Run] = {
    LogAction: log.run,
    HttpRequestAction: http_request.run,
    PublishAction: publish.run,
    SetAction: set_values.run,
    DelayAction: delay.run,
    FailAction: fail.run,
    TriggerWorkflowAction: trigger_workflow.run,
    WaitForSignalAction: wait_for_signal.run,
}
KINDS |= plugins.load(PluginSettings().action_plugins, KINDS)

if TYPE_CHECKING:
    AnyAction = Action
else:
    AnyAction = Annotated[Union[tuple(KINDS)], Field(discriminator="type")]
    """An action of any kind, told apart by its ``type``."""


class WorkflowDefinition(Definition[AnyAction]):
    """A workflow as its author writes it."""

    @model_validator(mode="after")
    def _delays_delay_something(self) -> Self:
        for index, action in enumerate(self.steps):
            if isinstance(action, DelayAction) and following(self.plan, index, failed=False) == self.plan.total:
                message = "is a delay with nothing after it; remove it, or add a step"
                raise PydanticCustomError("last", message, {"field": self.plan.place_of(index)})
        return self

    @model_validator(mode="after")
    def _signals_are_for_one_step(self) -> Self:
        seen: set[str] = set()
        for index, action in enumerate(self.steps):
            if isinstance(action, WaitForSignalAction):
                if action.name in seen:
                    message = f"another step waits for signal {action.name!r} already; name this one otherwise"
                    raise PydanticCustomError("signal", message, {"field": f"{self.plan.place_of(index)}.signal"})
                seen.add(action.name)
        return self

    @property
    def signals(self) -> dict[str, WaitForSignalAction]:
        """The steps that wait for a signal, by its name."""
        return {action.name: action for action in self.steps if isinstance(action, WaitForSignalAction)}

    @cached_property
    def prepared(self) -> tuple[Step, ...]:
        """The steps with their templates compiled, up to the parts that a definition may have; once for each definition."""
        parts = Parts()
        return tuple(Step(action, parts) for action in self.steps)

    def prepare(self) -> None:
        """Compile the templates however many they are, for one that was stored when more were allowed; in any thread."""
        # Not by asking for what is cached: before Python 3.12 that would keep all other definitions waiting.
        self.__dict__["prepared"] = tuple(Step(action) for action in self.steps)


async def run_action(action: Action, context: Context) -> Outcome:
    """Run one action of any kind."""
    return await KINDS[type(action)](action, context)
