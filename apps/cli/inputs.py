"""What is written on the command line: JSON objects, also from a file, values, names, instants, keys and references."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.errors import ExitCode, WfError
from domain.json_values import read_json

Input = Annotated[
    str | None,
    typer.Option(
        "--input",
        "-i",
        metavar="JSON",
        show_default=False,
        help="The input: a JSON object, @FILE with one, or - to read it.",
    ),
]


def read_json_object(text: str | None, option: str) -> dict[str, Any]:
    """Return the object in ``text``; an empty one where there is none.

    Raises:
        WfError: it is no JSON object, or its file cannot be read.
    """
    if text is None:
        return {}
    try:
        written = sys.stdin.read() if text == "-" else Path(text[1:]).read_text() if text.startswith("@") else text
        value = read_json(written, lambda key: ValueError(f"the key {key!r} is given twice"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WfError(f"{option}: cannot read {text[1:]}: {reason}", code=ExitCode.USAGE) from None
    except (ValueError, RecursionError) as error:
        raise WfError(
            f"{option} is not JSON: {error}", hint=f'Write for example: {option} \'{{"name": "Ada"}}\'', code=ExitCode.USAGE
        ) from None
    if not isinstance(value, dict):
        raise WfError(f"{option} must be a JSON object", code=ExitCode.USAGE)
    return value


def read_value() -> str:
    """Return the value on standard input."""
    value = sys.stdin.read()
    # What `echo value | wf secrets set NAME` adds is not part of the value.
    return value[:-1] if value.endswith("\n") else value


def checked_name(text: str) -> str:
    """Return the name of a secret or of a variable."""
    from domain.names import NAME_RULE, is_name

    if not is_name(text):
        raise typer.BadParameter(f"{text!r} is no name; it {NAME_RULE}")
    return text


def checked_instant(text: str | None) -> str | None:
    """Return an instant as the service takes it; a length of time is so long ago, and a day begins in UTC."""
    if text is None:
        return None
    from pydantic import TypeAdapter, ValidationError

    from domain.instants import WrittenInstant

    match = re.fullmatch(r"([0-9]{1,6})([smhd])", text)
    try:
        if match is not None:
            at = output.now() - timedelta(seconds=int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]])
            return at.isoformat(timespec="milliseconds")
        is_day = re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text)
        written = f"{text}T00:00:00Z" if is_day else text
        TypeAdapter(WrittenInstant).validate_python(written)
    except (ValidationError, OverflowError):
        raise typer.BadParameter(
            f"{text!r} is not an instant; write for example 2026-01-31T00:00:00Z, 2026-01-31 (in UTC), or 4d for "
            "four days ago (s, m, h, d)"
        ) from None
    return written


def checked_key(text: str | None) -> str | None:
    """Return an Idempotency-Key."""
    from domain.identifiers import KEY_RULE, is_key

    if text is not None and not is_key(text):
        raise typer.BadParameter(KEY_RULE)
    return text


def checked_reference(text: str | None) -> str | None:
    """Return a reference of executions."""
    from domain.reference import REFERENCE_RULE, is_reference

    if text is not None and not is_reference(text):
        raise typer.BadParameter(REFERENCE_RULE)
    return text
