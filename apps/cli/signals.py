"""``wf signal``: tells an execution what a step of it waits for."""

from typing import Annotated

import typer

from apps.cli import output
from apps.cli.client import Client, Problem
from apps.cli.executions import unknown
from apps.cli.inputs import read_json_object
from apps.cli.options import DEFAULT_URL, ExecutionId, Format, Json, Output, Url, chosen


def _checked_name(value: str) -> str:
    from domain.identifiers import is_action_id

    if not is_action_id(value):
        raise typer.BadParameter(
            f"{value!r} is not the name of a signal: 1 to 64 letters, digits, '-' or '_', the first a letter or digit"
        )
    return value


def signal(
    execution_id: ExecutionId,
    name: Annotated[
        str, typer.Argument(metavar="NAME", callback=_checked_name, show_default=False, help="The signal's name.")
    ],
    payload: Annotated[
        str | None,
        typer.Option(
            "--payload",
            "-p",
            metavar="JSON",
            show_default=False,
            help="What comes with it: a JSON object, @FILE with one, or - to read it.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Tell an execution what a step of it waits for, such as that it is approved.

    Sent before the step is reached, it is kept until then. The same may be sent again, something else may not.
    """
    form = chosen(output_format, as_json)
    body = {"payload": read_json_object(payload, "--payload")} if payload else None
    with Client(url) as client:
        try:
            answer = client.post(
                "executions", execution_id, "signals", name, body=body, missing={"unknown-execution": unknown(execution_id)}
            )
        except Problem as problem:
            if problem.members.get("retryWaits"):
                problem.hint = f"Take it up where it failed: wf retry {execution_id}"
            raise
    if form is not Format.TABLE:
        output.data(answer, form)
        return
    if answer.get("goesOn"):
        output.line(f"Signal {name} is sent, and the execution goes on.")
    else:
        output.line(f"Signal {name} is kept until the execution comes to the step that waits for it.")
    output.note(f"See how it goes: wf execution {execution_id}")
