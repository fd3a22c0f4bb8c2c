"""``wf pause``, ``wf resume``, ``wf occurrences``: a workflow's schedule, and what became of its ticks."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, WorkflowId, chosen
from apps.cli.workflows import unknown

MORE = "There are older ones; --limit N shows N of them, --limit 0 all."


def pause(
    workflow_id: WorkflowId, url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False
) -> None:
    """Hold the ticks of a workflow until `wf resume`; what runs goes on."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        workflow = client.post("workflows", workflow_id, "pause", missing=unknown(workflow_id))
    if form is not Format.TABLE:
        output.data(workflow, form)
        return
    output.line(f"{workflow_id} paused")
    output.note(f"Let it go on: wf resume {workflow_id}")


def resume(
    workflow_id: WorkflowId, url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False
) -> None:
    """Let a paused workflow tick again, on the grid it always had."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        workflow = client.post("workflows", workflow_id, "resume", missing=unknown(workflow_id))
    if form is not Format.TABLE:
        output.data(workflow, form)
        return
    following = output.exact(workflow["nextRun"], output.now()) if workflow.get("nextRun") else "none"
    output.line(f"{workflow_id} resumed; next run: {following}")


def occurrences(
    workflow_id: WorkflowId,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="How many rows at most; 0 for all.")] = 50,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Show what became of each due tick, newest first: fired, skipped, missed or held."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        page = client.page("workflows", workflow_id, "occurrences", limit=limit, query={}, missing=unknown(workflow_id))
    if form is not Format.TABLE:
        output.data(page.items, form)
    elif not page.items:
        output.line(f"No tick of {workflow_id} was due yet.")
    else:
        present = output.now()
        output.table(
            ["DISPOSITION", "~DUE", "~UNTIL", ">TICKS", ">LATENESS", "EXECUTION", "STATUS"],
            [
                (
                    str(item.get("disposition", "-")),
                    output.relative(item.get("dueAt"), present),
                    output.relative(item["until"], present)
                    if item.get("until") != item.get("dueAt") and "until" in item
                    else "",
                    _ticks(item),
                    "" if item.get("latenessMs") is None else f"{item['latenessMs']} ms",
                    str(item.get("executionId") or item.get("openExecutionId") or ""),
                    output.status(item["status"]) if "status" in item else "",
                )
                for item in page.items
            ],
        )
    if page.is_cut:
        output.note(MORE)


def _ticks(item: Mapping[str, Any]) -> str:
    if "until" not in item:
        return "1"
    return "many" if item.get("ticks") is None else str(item["ticks"])
