"""Options and arguments that commands share, and how their help shows examples."""

from enum import Enum
from typing import Annotated

import typer

from apps.cli import profiles
from apps.cli.errors import MEANINGS

DEFAULT_URL = "http://127.0.0.1:8081"


def given_by(context: typer.Context, parameter: str) -> str:
    """Return where the value of a parameter comes from, as in COMMANDLINE or ENVIRONMENT."""
    source = context.get_parameter_source(parameter)
    return source.name if source is not None else ""


class Format(str, Enum):
    """How a command writes what it found."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


def section(title: str, *lines: str) -> str:
    """Return a part of an epilog; the empty line before it keeps the indentation of its lines."""
    return "\n".join(["", f"[bold]{title}[/bold]", *(f"  {line}".replace("[", "\\[") for line in lines)])


def examples(*lines: str) -> str:
    """Return the part of an epilog that shows how a command is used."""
    return section("Examples", *lines)


def exit_codes() -> str:
    """Return the part of an epilog that says what scripts can rely on."""
    return section("Exit codes", *(f"{code.value:>3}  {meaning}" for code, meaning in MEANINGS.items()))


def _checked_url(context: typer.Context, value: str) -> str:
    from urllib.parse import urlsplit

    named = profiles.current()
    if named.is_named and given_by(context, "url") == "ENVIRONMENT":
        value = named.profile_url
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username is not None:
        raise typer.BadParameter(f"{value!r} is not the address of a service; write for example {DEFAULT_URL}")
    return value.rstrip("/").removesuffix("/v1")


def _checked_workflow_id(value: str) -> str:
    from domain.identifiers import is_workflow_id

    if not is_workflow_id(value):
        raise typer.BadParameter(
            f"{value!r} is not a workflow id: 1 to 128 letters, digits, '.', '-' or '_', the first a letter or digit"
        )
    return value


def _checked_execution_id(value: str) -> str:
    from domain.identifiers import is_execution_id

    value = value.lower()
    if not is_execution_id(value):
        raise typer.BadParameter(f"{value!r} is not an execution id (a UUID); `wf executions` lists them")
    return value


Url = Annotated[
    str, typer.Option("--url", envvar="WF_URL", metavar="URL", callback=_checked_url, help="Address of the service.")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to write the answer.")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="How many at most; 0 for all.")]
Json = Annotated[bool, typer.Option("--json", help="Short for --output json.")]
WorkflowId = Annotated[
    str,
    typer.Argument(metavar="ID", callback=_checked_workflow_id, show_default=False, help="The workflow's id."),
]
ExecutionId = Annotated[
    str,
    typer.Argument(metavar="ID", callback=_checked_execution_id, show_default=False, help="The execution's id."),
]


def chosen(output: Format, as_json: bool) -> Format:
    """Return the format that ``--output`` and ``--json`` ask for."""
    return Format.JSON if as_json else output
