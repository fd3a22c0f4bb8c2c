"""``wf dead-letters``: records that no service could take, and how to send them again after a fix."""

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.errors import ExitCode, WfError
from apps.cli.options import DEFAULT_URL, Format, Json, Limit, Output, Url, chosen, examples
from apps.cli.workflows import MORE


def _checked(value: str) -> str:
    if not re.fullmatch(r"[0-9]{1,4}-[0-9]{1,18}", value):
        raise typer.BadParameter(
            f"{value!r} is not the id of a dead letter, such as 3-17; `wf dead-letters list` shows them"
        )
    return value


LetterId = Annotated[
    str, typer.Argument(metavar="ID", callback=_checked, show_default=False, help="Partition and offset, as in 3-17.")
]

app = typer.Typer(no_args_is_help=True, help="Records that no service could take: list, show and send them again.")


@app.command("list", epilog=examples("wf dead-letters list", "wf dead-letters list --json | jq '.[].reason'"))
def list_letters(
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """List dead letters, newest first."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        page = client.page("dead-letters", limit=limit, query={})
    if form is not Format.TABLE:
        output.data(page.items, form)
    elif not page.items:
        output.line("There are no dead letters.")
    else:
        present = output.now()
        rows = [
            [str(item.get("id")), str(item.get("topic")), output.age(item.get("at"), present), str(item.get("reason"))]
            for item in page.items
        ]
        output.table(["ID", "TOPIC", ">AGE", "~REASON"], rows)
    if page.is_cut:
        output.note(MORE)


@app.command(epilog=examples("wf dead-letters show 3-17"))
def show(letter_id: LetterId, url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False) -> None:
    """Show one dead letter with its bytes."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        found = client.get("dead-letters", letter_id, missing=_unknown(letter_id))
    if form is not Format.TABLE:
        output.data(found, form)
        return
    place = f"{found.get('topic')}, partition {found.get('partition')}, offset {found.get('offset')}"
    output.facts(
        [
            ("Dead letter", letter_id),
            ("Came from", place),
            ("At", output.exact(found.get("at"), output.now())),
            ("Reason", str(found.get("reason"))),
            ("Key", _text(found, "key")),
        ]
    )
    output.indented(_text(found, "value"), 2)
    output.note(f"Send it again, as it came or mended: wf dead-letters resend {letter_id} [--value FILE]")


@app.command(epilog=examples("wf dead-letters resend 3-17", "wf dead-letters resend 3-17 --value mended.json"))
def resend(
    letter_id: LetterId,
    value: Annotated[
        Path | None,
        typer.Option(metavar="FILE", allow_dash=True, help="File with the JSON to send instead; - reads standard input."),
    ] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Send a dead letter again, to the topic it came from and under its key."""
    body: dict[str, Any] = {}
    if value is not None:
        try:
            body["value"] = json.loads(sys.stdin.read() if str(value) == "-" else value.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            reason = (error.strerror or str(error)).lower() if isinstance(error, OSError) else f"not JSON: {error}"
            raise WfError(
                f"cannot send {value}: {reason}", hint="Give a file with one JSON value.", code=ExitCode.USAGE
            ) from None
    with Client(url) as client:
        answer = client.post("dead-letters", letter_id, "resend", body=body, missing=_unknown(letter_id))
    output.line(f"Sent to {answer.get('topic')}.")
    output.note("Look whether it was taken: wf executions, and wf dead-letters list")
    output.note("It stays in the list; what was sent again, when and by whom: wf audit --path /dead-letters")


def _text(found: dict[str, Any], name: str) -> str:
    if found.get(name) is not None:
        return str(found[name])
    return f"(base64) {found[f'{name}Base64']}" if f"{name}Base64" in found else "-"


def _unknown(letter_id: str) -> str:
    return f"there is no dead letter {letter_id}; `wf dead-letters list` lists those that are kept"
