"""A plug-in whose action takes its runner with it: what a bug in native code, or the kernel's memory killer, does."""

import os
from typing import Literal

from actions.running import Context, Outcome
from domain.action import Action


class CrashAction(Action):
    """Ends the process that runs it."""

    type: Literal["crash"]


async def run(action: CrashAction, context: Context) -> Outcome:
    """Die without a word."""
    os._exit(1)


KINDS = {CrashAction: run}
