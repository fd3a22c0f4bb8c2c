"""``wf pause``, ``wf resume``, ``wf occurrences``, ``wf upcoming``: schedules, what became of their ticks, what comes."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.options import DEFAULT_URL, Format, Json, Limit, Output, Url, WorkflowId, chosen
from apps.cli.waiting import checked_length, seconds
from apps.cli.workflows import MORE as MORE_AHEAD
from apps.cli.workflows import trigger_words, unknown

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
        # What is an execution's id wide leaves little: a range is told by its ends, its ticks beside what became of them.
        output.table(
            ["~DUE (UTC)", "WHAT", ">LATE", "EXECUTION", "STATUS"],
            [
                (
                    _due(item),
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


def upcoming(
    within: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            callback=checked_length,
            help="Only what is due by then: 30m, 12h, 7d from now.",
        ),
    ] = None,
    limit: Limit = 50,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Show what runs next over all workflows, soonest first: the next run of each.

    What is paused, archived or started by hand has none. `wf show ID` tells more of one of them.
    """
    form = chosen(output_format, as_json)
    present = output.now()
    with Client(url) as client:
        page = client.page("schedules", "upcoming", limit=limit, query={"to": _until(within, present)})
    if form is not Format.TABLE:
        output.data(page.items, form)
    elif not page.items:
        output.line(f"No workflow is due within {within}." if within else "No workflow has a next run.")
    else:
        output.table(
            ["DUE (UTC)", "", "=WORKFLOW", "~TRIGGER", "STATUS"],
            [
                (
                    output.clock(item.get("dueAt")),
                    output.relative(item.get("dueAt"), present),
                    str(item.get("workflowId", "-")),
                    trigger_words(output.members(item, "trigger")),
                    output.status(output.members(item, "trigger").get("status")),
                )
                for item in page.items
            ],
        )
    if page.is_cut:
        output.note(MORE_AHEAD)


def _until(within: str | None, present: datetime) -> str | None:
    from domain.instants import LATEST

    length = seconds(within) if within else None
    # No tick is due later than that.
    if length is None or length >= (LATEST - present).total_seconds():
        return None
    return (present + timedelta(seconds=length)).isoformat(timespec="milliseconds")


def _due(item: Mapping[str, Any]) -> str:
    """Return when it was due by the clock, by which it is looked for; the year has no room."""
    first = output.clock(item.get("dueAt"))[5:]
    if "until" not in item or item["until"] == item.get("dueAt"):
        return first
    return f"{first} to {output.clock(item['until'])[5:]}"


def _late(item: Mapping[str, Any]) -> str:
    if item.get("cause") == "backfill":
        return "backfill"  # how late it is, says nothing of the scheduler
    return "" if item.get("latenessMs") is None else output.span(max(0, item["latenessMs"]) / 1000)


def _what(item: Mapping[str, Any]) -> str:
    disposition = str(item.get("disposition", "-"))
    if "until" not in item or item.get("ticks") == 1:
        return disposition
    return f"{disposition} {'many' if item.get('ticks') is None else item['ticks']}"
