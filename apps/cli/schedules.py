"""``wf pause``, ``wf resume``, ``wf occurrences``: a workflow's schedule, and what became of its ticks."""

from collections.abc import Mapping
from datetime import datetime
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
        # What is an execution's id wide leaves little: a range is told by its ends, its ticks beside what became of them.
        output.table(
            ["~DUE", "WHAT", ">LATE", "EXECUTION", "STATUS"],
            [
                (
                    _due(item, present),
                    _what(item),
                    _late(item),
                    str(item.get("executionId") or item.get("openExecutionId") or ""),
                    output.status(item["status"]) if "status" in item else "",
                )
                for item in page.items
            ],
        )
    if page.is_cut:
        output.note(MORE)


def _due(item: Mapping[str, Any], present: datetime) -> str:
    first = output.relative(item.get("dueAt"), present)
    if "until" not in item or item["until"] == item.get("dueAt"):
        return first
    return f"{output.age(item.get('dueAt'), present)} to {output.age(item['until'], present)} ago"


def _late(item: Mapping[str, Any]) -> str:
    if item.get("cause") == "backfill":
        return "backfill"  # how late it is, says nothing of the scheduler
    return "" if item.get("latenessMs") is None else output.span(max(0, item["latenessMs"]) / 1000)


def _what(item: Mapping[str, Any]) -> str:
    disposition = str(item.get("disposition", "-"))
    if "until" not in item or item.get("ticks") == 1:
        return disposition
    return f"{disposition} {'many' if item.get('ticks') is None else item['ticks']}"
