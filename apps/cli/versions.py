"""``wf versions`` and ``wf rollback``: what a workflow was, and the way back to it."""

import difflib
from itertools import pairwise
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, WorkflowId, chosen
from apps.cli.workflows import MORE, trigger_words, unknown

Version = Annotated[
    int, typer.Argument(metavar="VERSION", min=1, show_default=False, help="Its number, as `wf versions ID` lists them.")
]
LARGEST_PAGE = 100


def versions(
    workflow_id: WorkflowId,
    version: Annotated[
        int | None, typer.Argument(metavar="VERSION", min=1, show_default=False, help="Show the definition of this one.")
    ] = None,
    diff: Annotated[bool, typer.Option("--diff", help="Show how each version differs from the one before.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_PAGE, metavar="N", help="How many at most.")] = 20,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """List the versions of a workflow, newest first, or show one."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        if version is not None:
            found = client.get("workflows", workflow_id, "versions", str(version), missing=_missing(workflow_id, version))
            if form is Format.TABLE:
                output.data(found["definition"], Format.YAML)
            else:
                output.data(found, form)
            return
        # One more than is shown, to tell what the last of them changed.
        asked = min(limit + diff, LARGEST_PAGE)
        missing = unknown(workflow_id)
        page = client.get("workflows", workflow_id, "versions", query={"limit": asked}, missing=missing)
    items = page["items"]
    if form is not Format.TABLE:
        output.data(items[:limit], form)
    elif diff:
        for newer, older in pairwise(items):
            if unreadable := newer.get("unreadable") or older.get("unreadable"):
                output.line(unreadable)
            else:
                _show_difference(workflow_id, older, newer)
        if len(items) < 2:
            output.line(f"{workflow_id} has one version; there is nothing to compare.")
    else:
        _table(items, page["current"])
    if page.get("nextCursor") and len(items) == limit:
        output.note(MORE)


def rollback(
    workflow_id: WorkflowId,
    version: Version,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Make a former version the current one again, as a new version: history is never rewritten."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        found = client.post(
            "workflows", workflow_id, "rollback", body={"version": version}, missing=_missing(workflow_id, version)
        )
    if form is not Format.TABLE:
        output.data(found, form)
        return
    output.line(f"{workflow_id} is at version {found['version']}, which says what version {version} said")
    output.note("An open execution finishes with the version that it began with.")


def _missing(workflow_id: str, version: int) -> dict[str, str]:
    return {
        "unknown-workflow": unknown(workflow_id),
        "unknown-version": f"{workflow_id} has no version {version}; `wf versions {workflow_id}` lists those it has",
    }


def _table(items: list[dict[str, Any]], current: int) -> None:
    present = output.now()
    rows = []
    for item in items:
        definition = output.members(item, "definition")
        rows.append(
            (
                str(item["version"]),
                "current" if item["version"] == current else "",
                output.relative(item.get("createdAt"), present),
                "cannot be read here" if "unreadable" in item else trigger_words(output.members(definition, "trigger")),
                "-" if "unreadable" in item else str(len(definition.get("actions") or ())),
            )
        )
    output.table([">VERSION", "", "STORED", "~TRIGGER", ">ACTIONS"], rows)


def _show_difference(workflow_id: str, older: dict[str, Any], newer: dict[str, Any]) -> None:
    from apps.yaml12 import dump

    before, after = (dump(each["definition"]).splitlines() for each in (older, newer))
    was, is_ = (f"{workflow_id} (version {each['version']})" for each in (older, newer))
    output.difference(list(difflib.unified_diff(before, after, was, is_, lineterm="")))
