"""``wf backfill``, ``wf backfills``, ``wf cancel-backfill``: ticks of the past that are made up for."""

import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client, Problem
from apps.cli.errors import ExitCode, WfError
from apps.cli.inputs import checked_instant
from apps.cli.options import DEFAULT_URL, Format, Json, Limit, Output, Url, WorkflowId, chosen
from apps.cli.waiting import Timeout, seconds, states
from apps.cli.workflows import MORE, unknown

RUNNING = "running"


def _rate(text: str) -> str:
    from domain.rates import BadRate, parse_rate

    try:
        parse_rate(text)
    except BadRate as error:
        raise typer.BadParameter(str(error)) from None
    return text


def backfill(
    workflow_id: WorkflowId,
    since: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="INSTANT",
            show_default=False,
            callback=checked_instant,
            help="Ticks due from then on: 2026-01-31T00:00:00Z, 2026-01-31 (in UTC), or 4d for four days ago.",
        ),
    ],
    until: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="INSTANT",
            show_default=False,
            callback=checked_instant,
            help="Ticks due before that; before now if absent.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be run.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    rate: Annotated[
        str,
        typer.Option(
            metavar="RATE", callback=_rate, help="Start at most so many per second, minute or hour: 1/s, 30/m, 6/h."
        ),
    ] = "1/s",
    at_once: Annotated[
        int, typer.Option(min=1, max=100, metavar="N", help="How many may be open; more than 1 with overlap allow.")
    ] = 1,
    beyond_retention: Annotated[
        bool,
        typer.Option("--beyond-retention", help="Also run ticks so old that nobody knows any more whether they ran."),
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until every tick has run.")] = False,
    timeout: Timeout = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Run the ticks of a past range that have not run, oldest first.

    Shows first how many those are, and asks. What has run already is not run again, so doing it twice adds nothing.
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("only --wait waits; give both or neither", param_hint="--timeout")
    if dry_run and (wait or yes):
        raise typer.BadParameter("nothing is run; leave out --wait and --yes", param_hint="--dry-run")
    form = chosen(output_format, as_json)
    body = {"from": since, "rate": rate, "atOnce": at_once, "beyondRetention": beyond_retention}
    with Client(url) as client:
        # Fixed now, so that what is run is what was counted.
        plan = _post(client, workflow_id, {**body, "dryRun": True} | ({} if until is None else {"to": until}))
        if form is Format.TABLE:
            _show_plan(plan)
        if dry_run or not plan.get("toRun"):
            if form is not Format.TABLE:
                output.data(plan, form)
            elif not plan.get("toRun"):
                output.line("There is nothing to run.")
            return
        if not yes:
            _confirm(workflow_id, plan)
        started = _post(client, workflow_id, {**body, "to": plan["to"], "dryRun": False})
        backfill_id = str(started.get("backfillId", ""))
        if backfill_id and wait:
            *_, started = states(
                lambda: client.get("workflows", workflow_id, "backfills", backfill_id),
                name=lambda _: f"the backfill of {workflow_id}",
                is_over=lambda found: found.get("status") != RUNNING,
                words=_state,
                timeout=seconds(timeout) if timeout else None,
                see=f"wf backfills {workflow_id}",
            )
    if form is not Format.TABLE:
        output.data(started, form)
    elif not backfill_id:
        output.line("There is nothing to run any more.")
    elif wait:
        _show(started)
    else:
        output.line(f"{workflow_id}: backfill {backfill_id} accepted")
        output.note(f"See how it goes: wf backfills {workflow_id}; end it: wf cancel-backfill {workflow_id}")
    if wait and backfill_id and (started.get("status") != "done" or started.get("failed")):
        # What happened is on stdout already.
        raise typer.Exit(ExitCode.FAILED)


def backfills(
    workflow_id: WorkflowId,
    limit: Limit = 20,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """List the backfills of a workflow, newest first, and how far they are."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        page = client.page("workflows", workflow_id, "backfills", limit=limit, query={}, missing=unknown(workflow_id))
    if form is not Format.TABLE:
        output.data(page.items, form)
    elif not page.items:
        output.line(f"{workflow_id} has no backfills.")
        output.note(f"See what one would run: wf backfill {workflow_id} --from INSTANT --dry-run")
    else:
        present = output.now()
        output.table(
            ["BACKFILL", "STATUS", "~FROM", "~TO", ">RUN", ">FAILED"],
            [
                (
                    str(item.get("backfillId", "-")),
                    output.status(item.get("status")),
                    output.relative(item.get("from"), present),
                    output.relative(item.get("to"), present),
                    f"{_done(item)}/{item.get('ticks', '-')}",
                    str(item.get("failed", "-")),
                )
                for item in page.items
            ],
        )
    if page.is_cut:
        output.note(MORE)


def cancel_backfill(
    workflow_id: WorkflowId,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why, kept with the backfill.")] = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Start no more executions of the backfill that is running; what is open goes on."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        page = client.page("workflows", workflow_id, "backfills", limit=50, query={}, missing=unknown(workflow_id))
        running = next((each for each in page.items if each.get("status") == RUNNING), None)
        if running is None:
            raise WfError(f"no backfill of {workflow_id} is running", code=ExitCode.CONFLICT)
        body = {} if reason is None else {"reason": reason}
        found = client.post("workflows", workflow_id, "backfills", str(running["backfillId"]), "cancel", body=body)
    if form is not Format.TABLE:
        output.data(found, form)
    else:
        output.line(
            f"{workflow_id}: backfill cancelled; {_done(found)} of {found.get('ticks', '-')} ticks have run or are running"
        )


def _post(client: Client, workflow_id: str, body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = client.post("workflows", workflow_id, "backfill", body=body, missing=unknown(workflow_id))
    except Problem as problem:
        if problem.members.get("backfillId"):
            problem.hint = f"See how it goes: wf backfills {workflow_id}; end it: wf cancel-backfill {workflow_id}"
        elif any("beyondRetention" in error.message for error in problem.errors):
            problem.hint = "With wf that is --beyond-retention."
        raise
    return answer


def _confirm(workflow_id: str, plan: Mapping[str, Any]) -> None:
    if not sys.stdin.isatty():
        raise typer.BadParameter("there is no terminal to ask on; add --yes, or --dry-run", param_hint="--yes")
    count = plan["toRun"]
    if not typer.confirm(f"Run {count} tick{'s' if count != 1 else ''} of {workflow_id}?", err=True):
        output.note("Nothing was started.")
        raise typer.Exit(1)


def _show_plan(plan: Mapping[str, Any]) -> None:
    to_run = plan.get("toRun", 0)
    pairs: list[tuple[str, Any]] = [
        ("Workflow", str(plan.get("workflowId", "-"))),
        ("From", output.exact(plan.get("from"), output.now())),
        ("To", output.exact(plan.get("to"), output.now())),
        ("Ticks", f"{plan.get('ticks', '-')}, of which {plan.get('alreadyRun', '-')} have run already"),
    ]
    if to_run:
        least = output.span(float(plan.get("shortestSeconds") or 0))
        pairs.append(
            ("To run", f"{to_run}, at most {plan.get('rate')}, {plan.get('atOnce')} at once; takes {least} at least")
        )
        for name, ticks in (("First", plan.get("firstTicks")), ("Last", plan.get("lastTicks"))):
            for number, tick in enumerate(ticks or ()):
                pairs.append((name if number == 0 else "", str(tick.get("localTime", "-"))))
    if plan.get("runningBackfillId"):
        pairs.append(("In the way", f"backfill {plan['runningBackfillId']} is running"))
    output.facts(pairs)


def _show(found: Mapping[str, Any]) -> None:
    present = output.now()
    pairs: list[tuple[str, Any]] = [
        ("Backfill", str(found.get("backfillId", "-"))),
        ("Workflow", str(found.get("workflowId", "-"))),
        ("Status", output.status(found.get("status"))),
    ]
    if found.get("reason"):
        pairs.append(("Reason", str(found["reason"])))
    pairs += [
        ("Ticks", f"{found.get('ticks', '-')}, of which {found.get('alreadyRun', '-')} had run already"),
        ("Started", f"{found.get('started', '-')}: {found.get('ok', '-')} ok, {found.get('failed', '-')} failed"),
        ("Finished", output.exact(found.get("finishedAt"), present)),
    ]
    output.facts(pairs)
    if found.get("failed"):
        output.note(f"See which: wf occurrences {found.get('workflowId', '-')}")


def _done(found: Mapping[str, Any]) -> int:
    return int(found.get("alreadyRun", 0)) + int(found.get("started", 0))


def _state(found: Mapping[str, Any]) -> str:
    """Return how far a backfill is, in a few words."""
    failed = f", {found['failed']} failed" if found.get("failed") else ""
    return f"{_done(found)} of {found.get('ticks', '-')} ticks{failed}"
