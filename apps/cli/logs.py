"""``wf logs``: what the actions of an execution logged, at once or as it comes."""

from typing import Annotated

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.errors import ExitCode
from apps.cli.executions import unknown
from apps.cli.options import DEFAULT_URL, ExecutionId, Format, Json, Output, Url, chosen
from apps.cli.starting import follow, show_new, what_next


def logs(
    execution_id: ExecutionId,
    keep_on: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution has ended.")] = False,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Show what the actions of an execution logged.

    As JSON it is one line for each action that was run.
    """
    form = chosen(output_format, as_json)
    with Client(url) as client:
        if not keep_on:
            show_new(client.get("executions", execution_id, missing=unknown(execution_id)), set(), form)
            return
        found = follow(client, execution_id, form)
    if found.get("status") != "ok":
        if form is Format.TABLE:
            output.note(what_next(found))
        raise typer.Exit(ExitCode.FAILED)
