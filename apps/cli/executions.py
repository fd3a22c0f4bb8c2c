"""``wf executions`` and ``wf execution``: what ran, runs or waits."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.histories import number_of_executions, show_execution
from apps.cli.inputs import checked_instant, checked_reference
from apps.cli.options import DEFAULT_URL, ExecutionId, Format, Json, Limit, Output, Url, chosen
from apps.cli.watching import watch as keep_watching
from apps.cli.workflows import MORE, check_known

OPEN = ("queued", "pending", "running")
_STATUSES = (*OPEN, "ok", "failed", "cancelled", "skipped")


def _checked_statuses(values: list[str] | None) -> list[str] | None:
    for name in (name for value in values or () for name in value.split(",")):
        if name not in _STATUSES:
            raise typer.BadParameter(f"{name!r} is not a status; write {', '.join(_STATUSES[:-1])} or {_STATUSES[-1]}")
    return values


def executions(
    workflow: Annotated[str | None, typer.Option("--workflow", "-w", metavar="ID", help="Only of this workflow.")] = None,
    status: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STATUS",
            callback=_checked_statuses,
            help="Only queued, pending, running, ok, failed, cancelled or skipped; may be given several times.",
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default=False,
            callback=checked_reference,
            help="Only those that have this reference: of an order, a customer.",
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="INSTANT",
            show_default=False,
            callback=checked_instant,
            help="Only those asked for from then on, a tick when it was due: 2026-01-31T00:00:00Z, 2026-01-31 (in UTC), or "
            "4d for four days ago.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--to", metavar="INSTANT", show_default=False, callback=checked_instant, help="Only those from before that."
        ),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Go on, with a line for every change, until Ctrl-C.")] = False,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """List executions, newest first."""
    form = chosen(output_format, as_json)
    query = {
        "workflowId": workflow,
        "status": ",".join(status) if status else None,
        "reference": reference,
        "from": since,
        "to": until,
    }
    with Client(url) as client:
        if watch:
            keep_watching(client, query, limit, form)
        page = client.page("executions", limit=limit, query=query)
        if workflow is not None and not page.items:
            check_known(workflow, client)
    if form is not Format.TABLE:
        output.data(page.items, form)
    elif not page.items:
        output.line("No execution matches." if any(query.values()) else "There are no executions yet.")
        output.note("Start one: wf trigger ID --wait (`wf list` shows the workflows)")
    else:
        _table(page.items, with_workflow=workflow is None, with_reference=reference is None)
    if page.is_cut:
        output.note(MORE)


def execution(
    execution_id: ExecutionId, url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False
) -> None:
    """Show one execution: every attempt of its actions, with their logs."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        found = client.get("executions", execution_id, missing=unknown(execution_id))
    show_execution(found, form)


def cancel(
    execution_id: ExecutionId,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, kept with the execution.")] = None,
    at_once: Annotated[
        bool, typer.Option("--now", help="Without the steps of finally, even if they are under way.")
    ] = False,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Cancel an open execution: what runs of it is stopped, and it ends, after the steps of finally where it has any."""
    form = chosen(output_format, as_json)
    body = {**({} if reason is None else {"reason": reason}), **({"now": True} if at_once else {})}
    with Client(url) as client:
        found = client.post("executions", execution_id, "cancel", body=body, missing=unknown(execution_id))
    if form is not Format.TABLE:
        output.data(found, form)
    elif found.get("finishedAt"):
        output.line(f"Cancelled {execution_id} of {found.get('workflowId', '-')}.")
    else:
        output.line(f"Cancelling {execution_id} of {found.get('workflowId', '-')}: its finally runs first (--now ends it).")


def unknown(execution_id: str) -> str:
    """Return what to say where there is no such execution."""
    return f"there is no execution {execution_id}; `wf executions` lists those that are kept"


def _table(items: list[dict[str, Any]], *, with_workflow: bool, with_reference: bool) -> None:
    present = output.now()
    # Beside a workflow's name there is room for the attempt on wide terminals alone: an execution's id takes 36 columns.
    with_attempt = not with_workflow or output.width() >= 100
    columns = ["EXECUTION", *(["=WORKFLOW"] if with_workflow else []), "STATUS"]
    columns += [*([">TRY"] if with_attempt else []), ">AGE", ">TOOK"]
    with_wait = any(item.get("waitingFor") for item in items)
    columns += ["~WAITS FOR"] if with_wait else []
    with_reference = with_reference and any(item.get("reference") for item in items)
    columns += ["~REFERENCE"] if with_reference else []
    rows = []
    for item in items:
        row: list[Any] = [str(item.get("executionId", "-"))]
        if with_workflow:
            row.append(str(item.get("workflowId", "-")))
        row.append(output.status(item.get("status")))
        if with_attempt:
            row.append(str(item.get("attempt", "-")))
        row += [output.age(item.get("createdAt"), present), _took(item, present)]
        if with_wait:
            awaited = output.members(item, "waitingFor")
            row.append(awaited.get("signal") or number_of_executions(awaited) if awaited else "")
        if with_reference:
            row.append(str(item.get("reference") or ""))
        rows.append(row)
    output.table(columns, rows)


def _took(item: Mapping[str, Any], present: datetime) -> str:
    """Return how long an execution took, or has been running."""
    end = item.get("finishedAt") or (present.isoformat() if item.get("status") in OPEN else None)
    return output.length(item.get("startedAt"), end)
