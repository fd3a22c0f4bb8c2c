"""``wf secrets``: sets, lists and deletes secrets, and encrypts them anew. Values come from standard input or a prompt."""

import sys
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.errors import WfError
from apps.cli.inputs import checked_name, read_value
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, chosen, examples

Name = Annotated[str, typer.Argument(metavar="NAME", callback=checked_name, show_default=False, help="The secret's name.")]


def set_secret(name: Name, url: Url = DEFAULT_URL) -> None:
    """Set a secret; asks for the value, or reads it from standard input."""
    if sys.stdin.isatty():
        value = typer.prompt(f"Value of {name}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        value = read_value()
    if not value:
        raise WfError(f"no value for {name}", hint=f"Write for example: wf secrets set {name} < file")
    with Client(url) as client:
        client.put("secrets", name, body={"value": value})
    output.line(f"{name} is set")


def list_secrets(url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False) -> None:
    """List the names of secrets; values are never shown."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        items: list[dict[str, Any]] = client.get("secrets").get("items", [])
    if form is not Format.TABLE:
        output.data(items, form)
        return
    if not items:
        output.line("There are no secrets.")
        output.note("Set one: wf secrets set NAME < file")
        return
    present = output.now()
    output.table(
        ["=NAME", "SOURCE", "KEY", "CHANGED"],
        [
            (
                item["name"],
                item.get("source") or "-",
                item.get("keyId") or "-",
                output.relative(item.get("updatedAt"), present),
            )
            for item in items
        ],
    )
    for item in items:
        if item.get("problem"):
            output.note(f"{item['name']} is not used: {item['problem']}")


def delete_secret(name: Name, url: Url = DEFAULT_URL) -> None:
    """Delete a stored secret; workflows that refer to it fail from then on."""
    with Client(url) as client:
        client.delete(
            "secrets", name, missing=f"there is no stored secret {name}; `wf secrets list` shows those that are there"
        )
    output.line(f"{name} is deleted")


def rotate(url: Url = DEFAULT_URL) -> None:
    """Encrypt every stored secret with the first of the service's keys."""
    with Client(url) as client:
        answer = client.post("secrets-rotation")
    output.line(f"key {answer.get('keyId')}: {len(answer.get('rotated', []))} secrets encrypted anew")
    failed = answer.get("failed", [])
    if failed:
        raise WfError(
            f"{len(failed)} secrets could not be decrypted",
            details=[str(each.get("message")) for each in failed],
            hint="Put the key that they were encrypted with back into the key file, below the first, and rotate again.",
        )


def key() -> None:
    """Make a key for the service's key file; it is written to standard output."""
    from vault.keys import new_key

    typer.echo(new_key())
    output.note("Put it first into the file that SECRETS_KEY_FILE names, on every service; then: wf secrets rotate")


def commands() -> typer.Typer:
    """Return the group of commands."""
    group = typer.Typer(no_args_is_help=True, help="Set, list and delete secrets.", rich_markup_mode="rich")
    group.command("set", epilog=examples("wf secrets set api-token < token.txt", "wf secrets set api-token"))(set_secret)
    group.command("list", epilog=examples("wf secrets list", "wf secrets list --json | jq '.[].name'"))(list_secrets)
    group.command("delete", epilog=examples("wf secrets delete api-token"))(delete_secret)
    group.command("rotate", epilog=examples("wf secrets rotate"))(rotate)
    group.command("key", epilog=examples("wf secrets key"))(key)
    return group
