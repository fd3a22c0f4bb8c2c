"""``wf list``, ``wf show`` and ``wf delete``: the workflows that are there."""

import sys
from collections.abc import Mapping
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import LARGEST_PAGE, PREFIX, Client
from apps.cli.errors import ExitCode, WfError
from apps.cli.options import DEFAULT_URL, Format, Json, Limit, Output, Url, WorkflowId, chosen

MORE = "There are more; --limit N shows N of them, --limit 0 all."


# What of a trigger is told in other words, what else a definition may say, and its lists of actions with their marks.
_TOLD_OF_TRIGGERS = frozenset({"type", "status", "allowManual", "interval", "expression", "timezone", "at"})
_MORE = {"overlap": "Overlap", "timeout": "Timeout", "reference": "Reference"}
_LISTS = {"actions": "", "onFailure": "on failure ", "finally": "finally "}


def list_workflows(
    prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Only ids that begin with this.")
    ] = None,
    archived: Annotated[
        bool, typer.Option("--archived", help="Those that are archived, instead of those that are not.")
    ] = False,
    limit: Limit = 100,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """List the workflows and when they run next."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        page = client.page("workflows", limit=limit, query={"prefix": prefix, "archived": "true" if archived else None})
    if form is not Format.TABLE:
        output.data(page.items, form)
    elif not page.items and archived:
        output.line(f"No archived workflow begins with {prefix}." if prefix else "No workflow is archived.")
    elif not page.items:
        output.line(f"No workflow begins with {prefix}." if prefix else "There are no workflows yet.")
        output.note("Create one from a file: wf apply FILE.yaml (`wf apply --help` shows one)")
    else:
        present = output.now()
        output.table(
            ["=WORKFLOW", "~TRIGGER", "STATUS", "NEXT RUN", ">ACTIONS", ">VERSION", "UPDATED"],
            [
                (
                    str(item.get("workflowId", "-")),
                    trigger_words(output.members(item, "trigger")),
                    output.status(output.members(item, "trigger").get("status")),
                    _next_run_words(item, present),
                    str(len(item.get("actions") or ())),
                    str(item.get("version", "-")),
                    output.relative(item.get("updatedAt"), present),
                )
                for item in page.items
            ],
        )
        for item in page.items:
            if "unreadable" in item:
                output.note(f"Of {item['workflowId']} not all is known here: {item['unreadable']}")
    if page.is_cut:
        output.note(MORE)


def show(
    workflow_id: WorkflowId, url: Url = DEFAULT_URL, output_format: Output = Format.TABLE, as_json: Json = False
) -> None:
    """Show one workflow: its definition, its schedule, its last run."""
    form = chosen(output_format, as_json)
    with Client(url) as client:
        workflow = client.get("workflows", workflow_id, missing=unknown(workflow_id))
    if form is not Format.TABLE:
        output.data(workflow, form)
        return
    present = output.now()
    trigger = output.members(workflow, "trigger")
    pairs: list[tuple[str, Any]] = [
        ("Workflow", f"{workflow_id}, version {workflow.get('version', '-')}"),
        *((("", workflow["description"].strip()),) if "description" in workflow else ()),
        ("Status", output.status(trigger.get("status"))),
        ("Trigger", trigger_words(trigger) + (", also by hand" if trigger.get("allowManual") else "")),
    ]
    options = {name: value for name, value in trigger.items() if name not in _TOLD_OF_TRIGGERS}
    if options:
        pairs.append(("", _options(options)))
    if workflow.get("pausedAt"):
        pairs.append(("Paused", output.exact(workflow["pausedAt"], present)))
    elif workflow.get("nextRun"):
        pairs.append(("Next run", output.exact(workflow["nextRun"], present)))
    pairs.append(("Retries", _retry_words(workflow)))
    if "webhook" in workflow:
        pairs.append(("Webhook", f"{client.url}{PREFIX}/workflows/{workflow_id}/webhook"))
        pairs.append(("", _options(workflow["webhook"])))
    if "kafka" in workflow:
        pairs.append(("Kafka", f"each record of topic {output.members(workflow, 'kafka').get('topic')}"))
    pairs += [(title, _options(workflow[name])) for name, title in _MORE.items() if name in workflow]
    last = output.members(workflow, "lastExecution")
    if last:
        took = output.length(last.get("startedAt"), last.get("finishedAt"))
        words = output.status(last.get("status"))
        words.append(
            f", {output.relative(last.get('createdAt'), present)}" + (f", took {took}" if took != "-" else ""), "none"
        )
        pairs += [("Last run", words), ("", str(last.get("executionId", "-")))]
    else:
        pairs.append(("Last run", "none yet"))
    pairs += [
        ("Created", output.exact(workflow.get("createdAt"), present)),
        ("Updated", output.exact(workflow.get("updatedAt"), present)),
    ]
    output.facts(pairs)
    output.line("")
    output.table(
        [">#", "=ACTION", "TYPE", "~WHAT"],
        [
            (f"{mark}{position}", str(action.get("actionId", "-")), str(action.get("type", "-")), _action_words(action))
            for name, mark in _LISTS.items()
            for position, action in enumerate(workflow.get(name) or (), start=1)
        ],
    )
    for each in workflow.get("warnings") or ():
        output.warning(f"{each['field']}: {each['message']}")


def delete(
    workflow_id: WorkflowId,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Archive a workflow: nothing more is accepted; what is open or queued still runs, and the history stays."""
    if not yes:
        if not sys.stdin.isatty():
            raise typer.BadParameter("there is no terminal to ask on; add --yes", param_hint="--yes")
        if not typer.confirm(
            f"Archive {workflow_id}? What is open or queued still runs, nothing more is accepted; its history stays.",
            err=True,
        ):
            output.note("Nothing was changed.")
            raise typer.Exit(1)
    with Client(url) as client:
        client.delete("workflows", workflow_id, missing=unknown(workflow_id))
    output.line(f"{workflow_id} archived")
    output.note(f"Its history stays: wf executions -w {workflow_id}. `wf apply` with its file brings it back.")


def unknown(workflow_id: str) -> str:
    """Return what to say where there is no such workflow."""
    return f"there is no workflow {workflow_id}; `wf list` shows those that are there"


def check_known(workflow_id: str, client: Client) -> None:
    """Check that there is a workflow of that id, or was one.

    Raises:
        WfError: there is none; names one that is spelt nearly so.
    """
    for archived in (None, "true"):
        first = client.page("workflows", limit=1, query={"prefix": workflow_id, "archived": archived}).items
        if first and first[0].get("workflowId") == workflow_id:
            return
    others = [str(each.get("workflowId")) for each in client.page("workflows", limit=LARGEST_PAGE, query={}).items]
    near = get_close_matches(workflow_id, others, n=1)
    said = f"there is no workflow {workflow_id}; did you mean {near[0]}?" if near else unknown(workflow_id)
    raise WfError(said, code=ExitCode.NOT_FOUND)


def trigger_words(trigger: Mapping[str, Any]) -> str:
    """Return a trigger in a few words."""
    kind = trigger.get("type", "-")
    if kind == "periodic":
        return f"every {trigger.get('interval', '?')}"
    if kind == "cron":
        expressions = trigger.get("expression", "?")
        shown = expressions if isinstance(expressions, str) else ", ".join(map(str, expressions))
        return f"cron {shown} ({trigger.get('timezone', 'UTC')})"
    return f"once, at {trigger.get('at', '?')}" if kind == "once" else str(kind)


def _next_run_words(workflow: Mapping[str, Any], present: datetime) -> str:
    """Return when a workflow runs next, or why it does not."""
    if workflow.get("archivedAt"):
        return "archived"
    return "paused" if workflow.get("pausedAt") else output.relative(workflow.get("nextRun"), present)


def _options(value: Any) -> str:
    """Return settings in one line."""
    if not isinstance(value, dict):
        return str(value)
    return ", ".join(
        f"{name} ({_options(each)})" if isinstance(each, dict) else f"{name}: {each}" for name, each in value.items()
    )


def _retry_words(workflow: Mapping[str, Any]) -> str:
    retries = workflow.get("retries", 0)
    backoff = output.members(workflow, "backoff")
    if not retries or not backoff:
        return str(retries)
    factor = backoff.get("factor")
    growth = f", then {factor:g} times that" if isinstance(factor, (int, float)) and factor != 1 else ""
    bound = "up to " if backoff.get("jitter") == "full" else ""
    return f"{retries}, after {bound}{backoff.get('base', '?')}{growth}, at most {backoff.get('cap', '?')}"


def _action_words(action: Mapping[str, Any]) -> str:
    """Return what an action does; one of a kind that this wf does not know, by its fields."""
    if action.get("type") == "http-request":
        return f"{action.get('method', '?')} {action.get('url', '?')}"
    if action.get("type") == "log":
        return str(action.get("message", ""))
    return " ".join(f"{name}={value}" for name, value in action.items() if name not in ("type", "actionId"))
