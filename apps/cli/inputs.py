"""JSON objects on the command line: written out, in a file, or on standard input."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli.errors import ExitCode, WfError
from domain.json_values import integer, key_given_twice

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
        value = json.loads(written, object_pairs_hook=_object, parse_int=integer)
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


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    twice = key_given_twice(pairs)
    if twice is not None:
        raise ValueError(f"the key {twice!r} is given twice")
    return dict(pairs)
