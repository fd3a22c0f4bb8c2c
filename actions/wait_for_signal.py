"""``wait-for-signal``: goes on when somebody tells the execution to, such as that it is approved, or that a job is done.

The execution waits in the database without a runner, as it does within a delay. A signal (:mod:`domain.signal`) is stored
before anybody acts on it; whoever sends it wakes the execution, and the step, run once more in the same attempt, finds it.
One that was sent before the step was reached is found at once. When its time is over the step is run once more as well, and
fails where there is no signal even then: it leaves word of that, in one write, in the place where the signal would be kept,
so that whoever sends it only then is refused.
"""

from datetime import datetime, timezone
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from actions.durations import OpenDuration
from actions.running import Awaiting, Context, Failed, Outcome, Succeeded
from domain.action import Action
from domain.durations import parse_duration
from domain.identifiers import ACTION_ID_PATTERN
from domain.inputs import Schema
from domain.instants import instant, written


class WaitForSignalAction(Action):
    """Goes on when somebody signals the execution."""

    waits: ClassVar[bool] = False

    type: Literal["wait-for-signal"]
    signal: str | None = Field(
        default=None,
        pattern=ACTION_ID_PATTERN,
        description="Name of the signal, unique in its workflow; the actionId where it is missing.",
    )
    within: Annotated[OpenDuration, Field(examples=["10m", "2h", "7d"])] = Field(
        default="1d", description="How long to wait; then the step fails as no-signal."
    )
    payload_schema: Schema | None = Field(
        default=None,
        description="JSON Schema (2020-12) that what comes with the signal must obey; it is refused otherwise. What "
        "it says as `default` is not filled in.",
    )

    @property
    def name(self) -> str:
        """The name of the signal."""
        return self.signal or self.action_id or ""


async def run(action: WaitForSignalAction, context: Context) -> Outcome:
    """Look for the signal, and say until when it is waited for."""
    if context.resources.signalled is None:
        return Failed("internal", "this runner knows of no signals")
    over = None if context.waited is None else context.attempt
    signal = await context.resources.signalled(context.execution_id, action.name, over=over)
    if signal is not None:
        output = {"signal": signal.name, "payload": dict(signal.payload), "at": written(signal.at), "sender": signal.sender}
        return Succeeded(logs=(f"signal {signal.name} from {signal.sender}",), output=output)
    if context.waited is not None:
        return Failed("no-signal", f"signal {action.name} did not come within {action.within}")
    until = instant(datetime.now(timezone.utc)) + parse_duration(action.within)
    return Awaiting(
        until,
        logs=(f"waits for signal {action.name} until {written(until)}",),
        output={"signal": action.name, "until": written(until)},
    )
