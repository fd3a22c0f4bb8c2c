"""``wf vars``: sets, shows, lists and deletes variables, which are plain values for all to read; also as a file has them."""

import json
import sys
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.errors import ExitCode, WfError
from apps.cli.inputs import checked_name, read_json_object, read_value
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, chosen, examples
from domain.excerpts import excerpt
from domain.json_values import read_json

LONGEST_IN_TABLE = 80

Name = Annotated[str, typer.Argument(metavar="NAME", callback=checked_name, show_default=False, help="The variable's name.")]


def set_variable(
    name: Name,
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", show_default=False, help="Its value; else standard input is read.")
    ] = None,
    is_json: Annotated[
        bool, typer.Option("--json-value", help="The value is JSON (a number, true, a list, an object) rather than text.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Set a variable; it can be read by everybody who can read the histories."""
    if value is None and sys.stdin.isatty():
        raise WfError(f"no value for {name}", hint=f"Write for example: wf vars set {name} VALUE", code=ExitCode.USAGE)
    text = read_value() if value is None else value
    with Client(url) as client:
        client.put("vars", name, body={"value": _parsed(text) if is_json else text})
    output.line(f"{name} is set")


def _parsed(text: str) -> Any:
    try:
        return read_json(text, lambda key: ValueError(f"the key {key!r} is given twice"))
    except (ValueError, RecursionError) as error:
        raise WfError(
            f"the value is not JSON: {error}", hint="Leave out --json-value where it is text.", code=ExitCode.USAGE
        ) from None


def apply_variables(
    file: Annotated[
        str, typer.Argument(metavar="FILE", show_default=False, help="A file with a JSON object, values by name, or -.")
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be set, and what is there; set nothing.")
    ] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Set the variables that a file names, where they have other values; deletes none."""
    values = read_json_object("-" if file == "-" else f"@{file}", "FILE")
    for name in values:
        checked_name(name)
    with Client(url) as client:
        known = {name: json.dumps(value) for name, value in _values(client).items()}
        for name, value in values.items():
            if known.get(name) == json.dumps(value):
                output.line(f"{name} unchanged")
            elif dry_run:
                there = f"it is {known[name]}" if name in known else "it is not there"
                output.line(f"{name} would be {json.dumps(value)}; {there}")
            else:
                client.put("vars", name, body={"value": value})
                output.line(f"{name} is set")


def export_variables(url: Url = DEFAULT_URL) -> None:
    """Write all variables as a file that `wf vars apply` takes."""
    with Client(url) as client:
        output.data(dict(sorted(_values(client).items())), Format.JSON)


def _values(client: Client) -> dict[str, Any]:
    return {item["name"]: item["value"] for item in client.get("vars").get("items", [])}


def get_variable(name: Name, url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False) -> None:
    """Show the value of a variable: text as it is, anything else as JSON."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        found: dict[str, Any] = client.get("vars", name, missing=_missing(name))
    if form is not Format.TABLE:
        output.data(found, form)
    else:
        output.verbatim(_written(found["value"]))


def list_variables(url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False) -> None:
    """List the variables with their values."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        items: list[dict[str, Any]] = client.get("vars").get("items", [])
    if form is not Format.TABLE:
        output.data(items, form)
        return
    if not items:
        output.line("There are no variables.")
        output.note("Set one: wf vars set NAME VALUE")
        return
    present = output.now()
    output.table(
        ["=NAME", "~VALUE", "CHANGED"],
        [
            (
                item["name"],
                excerpt(" ".join(_written(item["value"]).split()), LONGEST_IN_TABLE),
                output.relative(item.get("updatedAt"), present),
            )
            for item in items
        ],
    )


def delete_variable(name: Name, url: Url = DEFAULT_URL) -> None:
    """Delete a variable; workflows that refer to it fail from then on."""
    with Client(url) as client:
        client.delete("vars", name, missing=_missing(name))
    output.line(f"{name} is deleted")


def _missing(name: str) -> str:
    return f"there is no variable {name}; `wf vars list` shows those that are there"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def commands() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Set, show, list and delete variables.", rich_markup_mode="rich")
    group.command(
        "set",
        epilog=examples(
            "wf vars set BASE_URL https://staging.example.org",
            'wf vars set REGIONS --json-value \'["eu", "us"]\'',
            "wf vars set GREETING < greeting.txt",
        ),
    )(set_variable)
    group.command("apply", epilog=examples("wf vars apply staging.json", "wf vars apply staging.json --dry-run"))(
        apply_variables
    )
    group.command("export", epilog=examples("wf vars export > staging.json"))(export_variables)
    group.command("get", epilog=examples("wf vars get BASE_URL"))(get_variable)
    group.command("list", epilog=examples("wf vars list", "wf --profile production vars list"))(list_variables)
    group.command("delete", epilog=examples("wf vars delete BASE_URL"))(delete_variable)
    return group
