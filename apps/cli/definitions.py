"""``wf apply`` and ``wf validate``: from definitions in files to workflows.

Applying is idempotent: a definition is sent only where it differs from what is stored, so applying a directory twice
makes no new versions. All files are read and checked before the first is sent; from then on each workflow stands for
itself. What no file defines is left alone, or archived where that is asked for, at the end, if nothing was refused.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client, Problem
from apps.cli.errors import ExitCode, Unreachable, WfError
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, chosen

if TYPE_CHECKING:
    from apps.definition_text import Document

Files = Annotated[
    list[Path],
    typer.Argument(
        metavar="FILE", show_default=False, help="YAML or JSON files, directories of them, or - for standard input."
    ),
]

Prune = Annotated[bool, typer.Option("--prune", help="Archive the workflows that none of the files defines.")]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", metavar="TEXT", show_default=False, help="With --prune: only those whose ids begin so."),
]


def apply(
    files: Files,
    no_validate: Annotated[
        bool, typer.Option("--no-validate", help="Leave the checks to the service, which may know more than this wf.")
    ] = False,
    prune: Prune = False,
    prefix: Prefix = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether to archive.")] = False,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Create or update workflows from files.

    What is already as the file says stays unchanged. When a file is not valid, nothing is applied.
    """
    from apps.cli import definition_files
    from apps.cli.progress import Bars

    form = chosen(output_format, as_json)
    check_prefix(prune, prefix)
    documents, flaws = definition_files.read(files)
    for document in documents:
        flaws += definition_files.check_id(document) if no_validate else definition_files.check(document)
    if flaws:
        raise WfError(
            "nothing was applied; the definitions are not valid",
            details=definition_files.in_order(flaws),
            hint="Mend these places and apply again.",
        )
    _tell_left_out(documents)
    results: list[dict[str, Any]] = []
    refusals: list[tuple[Document, Problem]] = []
    spare: list[dict[str, Any]] = []
    try:
        with Client(url) as client, Bars() as bars:
            if prune:
                spare = without_file(client, documents, prefix)
            if spare and not yes:
                _confirm([str(each["workflowId"]) for each in spare])
            bars.step("applying", len(documents))
            for document in documents:
                try:
                    result = _apply_one(client, document)
                except Problem as problem:
                    refusals.append((document, problem))
                    result = {"workflowId": document.workflow_id, "result": "failed", "message": problem.message}
                results.append({**result, "file": document.file})
                if form is Format.TABLE:
                    _show(result)
                bars.advance(1)
            for each in spare if not refusals else ():
                workflow_id = str(each["workflowId"])
                _archive(client, workflow_id)
                results.append({"workflowId": workflow_id, "result": "archived", "version": each.get("version")})
                if form is Format.TABLE:
                    _show(results[-1])
            _look_again(client, results)
    except Unreachable as unreachable:
        unreachable.hint += (
            f"\n{len(results)} of {len(documents) + len(spare)} were sent before that; apply again to send the rest."
        )
        raise
    finally:
        for refused, refusal in refusals:
            places = [str(refused.flaw(found.field, found.message)) for found in refusal.errors]
            output.error(f"{refused.workflow_id} ({refused.file}): {refusal.message}", places)
    if form is not Format.TABLE:
        output.data(results, form)
    else:
        _warn(documents, results)
    if refusals:
        codes = {refusal.code for _, refusal in refusals}
        raise WfError(
            f"{len(refusals)} of {count(len(documents), 'workflow')} not applied",
            hint="Mend what is named above and apply again; what is applied stays as it is."
            + (" Nothing was archived." if prune else ""),
            code=codes.pop() if len(codes) == 1 else ExitCode.FAILED,
        )


def validate(files: Files, output_format: Output = Format.TABLE, as_json: Json = False) -> None:
    """Check definitions without a service.

    Names each wrong field with its file and line.
    """
    from apps.cli import definition_files

    form = chosen(output_format, as_json)
    documents, flaws = definition_files.read(files)
    for document in documents:
        flaws += definition_files.check(document)
    if form is not Format.TABLE:
        errors = [{"file": flaw.file, **flaw.to_wire()} for flaw in flaws]
        output.data(
            {"valid": not flaws, "workflows": [document.workflow_id for document in documents], "errors": errors}, form
        )
    if flaws:
        raise WfError(
            f"not valid: {count(len(flaws), 'problem')}",
            details=definition_files.in_order(flaws) if form is Format.TABLE else (),
            hint="Mend these places and validate again." if form is Format.TABLE else "",
        )
    if form is Format.TABLE:
        _tell_left_out(documents)
        output.line(f"valid: {count(len(documents), 'workflow')}")


def _apply_one(client: Client, document: "Document") -> dict[str, Any]:
    """Bring one workflow to what its definition says, and tell what that took."""
    from apps.cli.definition_files import is_same

    stored = client.find("workflows", document.workflow_id)
    if stored is None:
        try:
            created = client.post("workflows", body=document.value)
        except Problem as problem:
            # Somebody created it in between; or else the refusal stands.
            stored = client.find("workflows", document.workflow_id) if problem.status == 409 else None
            if stored is None:
                raise
        else:
            return _result(document, "created", created)
    if is_same(document.value, stored):
        return _result(document, "unchanged", stored)
    updated = client.put("workflows", document.workflow_id, body=document.value, version=stored.get("version"))
    return _result(document, "updated" if updated.get("version") != stored.get("version") else "unchanged", updated)


def check_prefix(prune: bool, prefix: str | None) -> None:
    """Refuse a prefix that limits nothing."""
    if prefix is not None and not prune:
        raise typer.BadParameter("means something with --prune only", param_hint="--prefix")


def without_file(client: Client, documents: "Sequence[Document]", prefix: str | None) -> list[dict[str, Any]]:
    """Return the workflows of the service that none of the documents defines; of those whose ids begin with ``prefix``."""
    defined = {document.workflow_id for document in documents}
    stored = client.page("workflows", limit=0, query={"prefix": prefix}).items
    return [each for each in stored if each["workflowId"] not in defined]


def _confirm(ids: Sequence[str]) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on; add --yes", param_hint="--prune")
    output.note(f"None of the files defines {', '.join(ids)}.")
    if not typer.confirm(f"Archive {count(len(ids), 'workflow')}? Nothing more is accepted; the history stays.", err=True):
        output.note("Nothing was changed.")
        raise typer.Exit(1)


def _look_again(client: Client, results: Sequence[dict[str, Any]]) -> None:
    """Look again at those that missed something: what a workflow starts may have been applied after it."""
    for result in results:
        if result.get("warnings"):
            result["warnings"] = (client.find("workflows", result["workflowId"]) or {}).get("warnings", [])


def _warn(documents: "Sequence[Document]", results: Sequence[dict[str, Any]]) -> None:
    """Say at which place in a file something is missed that is needed when it runs."""
    for document, result in zip(documents, results, strict=False):  # what was archived follows
        for each in result.get("warnings", ()):
            output.warning(str(document.flaw(each["field"], each["message"])))


def _archive(client: Client, workflow_id: str) -> None:
    try:
        client.delete("workflows", workflow_id)
    except Problem as problem:
        if problem.status != 404:  # somebody has done it in between
            raise


def _result(document: "Document", result: str, stored: dict[str, Any]) -> dict[str, Any]:
    warnings = {"warnings": stored["warnings"]} if stored.get("warnings") else {}
    return {"workflowId": document.workflow_id, "result": result, "version": stored.get("version"), **warnings}


def _show(result: dict[str, Any]) -> None:
    version = result.get("version")
    words = {
        "created": "created",
        "failed": "failed",
        "updated": f"updated to version {version}",
        "unchanged": f"unchanged (version {version})",
        "archived": "archived",
    }[result["result"]]
    text = output.styled(f"{output.printable(result['workflowId'])} ")
    # Not folded: an id that is broken in two cannot be copied.
    output.render(text.append(output.printable(words), output.STYLES[result["result"]]), fold=False)


def _tell_left_out(documents: "list[Document]") -> None:
    for document in documents:
        if document.left_out:
            names = ", ".join(document.left_out)
            output.note(f"{document.file}: {document.workflow_id}: ignored what the service sets: {names}")


def count(number: int, noun: str) -> str:
    """Return a number of things in words."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
