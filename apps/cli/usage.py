"""Says in one line, as every other error of ``wf``, which argument or option is wrong, and how to go on."""

import re
from typing import Any

import typer

from apps.cli.errors import ExitCode, WfError

# Typer brings a click of its own, or uses the one that is installed: this is the class of whichever it is.
UsageError: Any = typer.BadParameter.__mro__[1]

_FURTHER = re.compile(r"Got unexpected extra arguments?(?:\(s\))? \((.*)\)")
_INVALID = re.compile(r"Invalid value for (.+?)(?: \(env var: .+?\))?: (.*)", re.DOTALL)


def wrong_usage(error: Any) -> WfError:
    """Return what to say where a command was called in a wrong way."""
    message = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "wf"
    hint = f"See {command} --help."
    if invalid := _INVALID.fullmatch(message):
        message = f"{invalid[1].replace(chr(39), '')}: {_in_our_words(invalid[2])}"
    elif further := _FURTHER.fullmatch(message):
        message = f"{command} does not know what to do with {further[1]!r}"
        if any("--workflow" in each.opts for each in error.ctx.command.params):
            hint = f"Those of one workflow: {command} --workflow {further[1].split()[0]}\n{hint}"
    return WfError(message, hint=hint, code=ExitCode.USAGE)


def _in_our_words(message: str) -> str:
    if "valid integer" in message:
        return "must be a whole number"
    return message.removeprefix("Value error, ").replace("Input should be", "must be")
