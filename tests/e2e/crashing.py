"""Plug-in kinds that misbehave.

Most take their process with them: what a bug in native code, or the kernel's memory killer, does.
"""

import os
import time
from typing import Literal

from actions.running import Context, Outcome
from domain.action import Action


class CrashAction(Action):
    """Ends the process that runs it."""

    type: Literal["crash"]

    @property
    def is_idempotent(self) -> bool:
        """It may have done anything before."""
        return False


class StickAction(Action):
    """Stops the process that runs it from doing anything else, for good."""

    type: Literal["stick"]


class RaiseAction(Action):
    """Raises, with what it was given in a variable."""

    type: Literal["raise"]
    given: str


async def crash(action: CrashAction, context: Context) -> Outcome:
    """Die without a word."""
    os._exit(1)


async def stick(action: StickAction, context: Context) -> Outcome:
    """Never return, nor let anything else happen."""
    while True:
        time.sleep(3600)  # noqa: ASYNC251 - that is what it is for


async def fail(action: RaiseAction, context: Context) -> Outcome:
    """Raise what was given."""
    password = action.given
    raise RuntimeError(f"refused: {password}")


KINDS = {CrashAction: crash, StickAction: stick, RaiseAction: fail}
