"""``wf diff`` and ``wf export``: definitions in files beside those in the service."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.definitions import Files, Prefix, Prune, check_prefix, count, without_file
from apps.cli.errors import WfError
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, chosen
from apps.cli.workflows import unknown

if TYPE_CHECKING:
    from apps.definition_text import Document, Flaw

DIFFERS = 2  # as diff(1) has 1 for "differs"; 1 is taken by "failed"


def diff(
    files: Files,
    prune: Prune = False,
    prefix: Prefix = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Show what `wf apply` would change; exit code 2 where something differs.

    Lines with - are in the service, lines with + in the file. Both with their defaults filled in. With --prune also what
    `wf apply --prune` would archive. What the service would refuse, such as a secret that is not set there, is named.
    """
    from apps.cli import definition_files
    from apps.cli.progress import Bars

    form = chosen(output_format, as_json)
    check_prefix(prune, prefix)
    documents, flaws = definition_files.read(files)
    for document in documents:
        flaws += definition_files.check(document)
    if flaws:
        raise WfError(
            "the definitions are not valid",
            details=definition_files.in_order(flaws),
            hint="Mend these places and try again.",
        )
    results: list[dict[str, Any]] = []
    refused: list[Flaw] = []
    with Client(url) as client, Bars() as bars:
        bars.step("comparing", len(documents))
        for document in documents:
            stored = client.find("workflows", document.workflow_id)
            bars.advance(1)
            before = "" if stored is None else _text(_definition(stored))
            name = "/dev/null" if stored is None else _name(stored)
            lines = _differences(before, _text(_normal(document.value)), name, f"{document.workflow_id} ({document.file})")
            result = "unchanged" if not lines else "created" if stored is None else "updated"
            found: dict[str, Any] = {
                "workflowId": document.workflow_id,
                "result": result,
                "file": document.file,
                "diff": lines,
            }
            if lines:
                refusals = _refusals(client, document)
                found["errors"] = [flaw.to_wire() for flaw in refusals]
                refused += refusals
            results.append(found)
        for stored in without_file(client, documents, prefix) if prune else ():
            before = f"# {stored['unreadable']}" if "unreadable" in stored else _text(_definition(stored))
            lines = _differences(before, "", _name(stored), "/dev/null")
            results.append({"workflowId": stored["workflowId"], "result": "archived", "diff": lines})
    if form is not Format.TABLE:
        output.data(results, form)
    else:
        for found in results:
            output.difference(found["diff"])
        changed = sum(1 for found in results if found["diff"])
        words = "files and --prune" if prune else "files"
        output.note(
            f"{changed} of {count(len(results), 'workflow')} would change; to change them: wf apply with the same {words}"
            if changed
            else "Nothing would change."
        )
    if refused and form is Format.TABLE:
        output.error(
            "some of it would be refused",
            definition_files.in_order(refused),
            hint="Mend these places before you apply; secrets and variables that are missing are set in that service.",
        )
    if any(found["diff"] for found in results):
        raise typer.Exit(DIFFERS)


def _refusals(client: Client, document: "Document") -> list["Flaw"]:
    """Return what of a definition only the service knows to be wrong."""
    checked = client.post("workflows", "validate", body=document.value, key="")
    return [document.flaw(error["field"], error["message"]) for error in checked["errors"]]


def export(
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", show_default=False, help="These workflows; all without.")
    ] = None,
    directory: Annotated[
        Path | None,
        typer.Option("--directory", "-d", file_okay=False, show_default=False, help="Write ID.yaml files here."),
    ] = None,
    prefix: Annotated[str | None, typer.Option(metavar="PREFIX", show_default=False, help="Only ids that begin so.")] = None,
    url: Url = DEFAULT_URL,
) -> None:
    """Write definitions as YAML that `wf apply` takes: to standard output, or as files.

    Exporting twice writes the same; a file that says it already is left alone.
    """
    from apps.cli.progress import Bars

    if ids and prefix is not None:
        raise typer.BadParameter("give ids or a prefix, not both", param_hint="--prefix")
    with Client(url) as client, Bars() as bars:
        if ids:
            bars.step("reading", len(ids))
            found = []
            for each in ids:
                found.append(client.get("workflows", each, missing=unknown(each)))
                bars.advance(1)
        else:
            found = client.page("workflows", limit=0, query={"prefix": prefix}).items
    for each in found:
        if "unreadable" in each:
            raise WfError(f"cannot export {each['workflowId']}: {each['unreadable']}")
    texts = {str(each["workflowId"]): _text(_definition(each)) for each in found}
    if not texts:
        output.note(f"No workflow begins with {prefix}." if prefix else "There are no workflows yet.")
    elif directory is None:
        typer.echo("---\n".join(texts.values()), nl=False)
    else:
        written = _write(directory, texts)
        output.note(f"{count(len(texts), 'workflow')} in {directory}, {count(written, 'file')} written.")


def _write(directory: Path, texts: Mapping[str, str]) -> int:
    """Write what differs from what is in the directory, and return how many files that were."""
    written = 0
    try:
        directory.mkdir(parents=True, exist_ok=True)
        for workflow_id, text in texts.items():
            file = directory / f"{workflow_id}.yaml"
            if not file.exists() or file.read_bytes() != text.encode():
                file.write_bytes(text.encode())
                written += 1
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WfError(f"cannot write {error.filename}: {reason}", hint="Name another --directory.") from None
    return written


def _differences(before: str, after: str, name_before: str, name_after: str) -> list[str]:
    return list(difflib.unified_diff(before.splitlines(), after.splitlines(), name_before, name_after, lineterm=""))


def _name(stored: Mapping[str, Any]) -> str:
    return f"{stored['workflowId']} (version {stored['version']})"


def _definition(stored: dict[str, Any]) -> dict[str, Any]:
    """Return what the author wrote of what the service shows."""
    from actions.registry import WorkflowDefinition

    names = {info.alias for info in WorkflowDefinition.model_fields.values()}
    kept = {name: value for name, value in stored.items() if name in names}
    kept["trigger"] = {name: value for name, value in kept["trigger"].items() if name != "status"}
    return kept


def _normal(value: dict[str, Any]) -> dict[str, Any]:
    from actions.registry import WorkflowDefinition

    return WorkflowDefinition.model_validate(value).to_wire()


def _text(value: dict[str, Any]) -> str:
    from apps.yaml12 import dump

    return dump(value)
