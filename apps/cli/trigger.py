"""``wf trigger``: starts an execution and, if asked, waits for its end."""

from typing import Annotated, Any

import typer

from apps.cli import logs, output
from apps.cli.client import Client, Problem
from apps.cli.errors import ExitCode, WfError
from apps.cli.executions import OPEN, show_execution, unknown
from apps.cli.inputs import Input, read_json_object
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, WorkflowId, chosen
from apps.cli.waiting import Timeout, check_timeout, seconds, wait_for
from apps.cli.workflows import unknown as unknown_workflow


def trigger(
    workflow_id: WorkflowId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of the execution, retries included.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what the actions log as it comes, until the end.")
    ] = False,
    timeout: Timeout = None,
    given: Input = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Start an execution of a workflow now."""
    check_timeout(timeout, wait)
    form = chosen(output_format, as_json)
    with Client(url) as client:
        execution_id, answer = _start(client, workflow_id, read_json_object(given, "--input") if given else None)
        if follow:
            output.note(f"{workflow_id} triggered: execution {execution_id}")
            if logs.show_as_it_comes(client, execution_id, follow=True).get("status") != "ok":
                raise typer.Exit(ExitCode.FAILED)
            return
        if not wait:
            if form is not Format.TABLE:
                output.data(answer, form)
                return
            output.line(f"{workflow_id} triggered: execution {execution_id}")
            output.note(f"See how it goes: wf execution {execution_id}")
            return
        found = wait_for(
            lambda: client.get("executions", execution_id, missing=unknown(execution_id)),
            name=workflow_id,
            is_over=lambda found: found.get("status") not in OPEN,
            words=_state,
            timeout=seconds(timeout),
            see=f"wf execution {execution_id}",
        )
    show_execution(found, form)
    if found.get("status") != "ok":
        # What happened is on stdout already.
        raise typer.Exit(ExitCode.FAILED)


def _start(client: Client, workflow_id: str, given: dict[str, Any] | None) -> tuple[str, dict[str, Any]]:
    try:
        body = None if given is None else {"input": given}
        answer = client.post("workflows", workflow_id, "trigger", body=body, missing=unknown_workflow(workflow_id))
    except Problem as problem:
        holder = problem.members.get("executionId")
        state = problem.members.get("triggerStatus")
        if problem.status != 409 or state is None:
            raise
        raise WfError(
            f"{workflow_id} is {state}: an execution of it is open",
            hint=f"See how it goes: wf execution {holder}" if holder else "Trigger it again.",
            code=ExitCode.CONFLICT,
        ) from None
    return str(answer.get("executionId", "")), answer


def _state(found: dict[str, Any]) -> str:
    """Return where an open execution stands, in a few words."""
    words = f"{found.get('status')}, attempt {found.get('attempt', 1)}"
    if found.get("nextAttemptAt"):
        failed = found.get("lastFailedAction")
        due = output.relative(found["nextAttemptAt"], output.now())
        return f"{failed or 'an action'} failed, next attempt {due if due.startswith('in') else 'now'}"
    return words
