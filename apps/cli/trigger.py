"""``wf trigger``: starts an execution and, if asked, waits for its end.

Waiting polls the execution, ever more slowly up to once a second. A service that is restarted meanwhile is waited for as
well: the execution goes on without it.
"""

import re
import time
from typing import Annotated, Any

import typer

from apps.cli import logs, output
from apps.cli.client import Client, Problem
from apps.cli.errors import ExitCode, Interrupted, Unreachable, WfError
from apps.cli.executions import OPEN, show_execution, unknown
from apps.cli.inputs import Input, read_json_object
from apps.cli.options import DEFAULT_URL, Format, Json, Output, Url, WorkflowId, chosen
from apps.cli.workflows import unknown as unknown_workflow

PATIENCE = 30.0  # seconds that the service may be away while an execution is waited for
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _checked_timeout(value: str | None) -> str | None:
    if value is not None and not _seconds(value):
        raise typer.BadParameter(f"{value!r} is not a length of time; write for example 90, 90s, 5m or 1h")
    return value


def _seconds(text: str) -> float | None:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh]?)", text)
    return float(match[1]) * _UNITS[match[2]] if match else None


def trigger(
    workflow_id: WorkflowId,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end of the execution, retries included.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Show what the actions log as it comes, until the end.")
    ] = False,
    timeout: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            show_default=False,
            callback=_checked_timeout,
            help="Wait no longer than this: 90, 90s, 5m, 1h. The execution goes on all the same.",
        ),
    ] = None,
    given: Input = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Start an execution of a workflow now."""
    if timeout is not None and not wait:
        raise typer.BadParameter("only --wait waits; give both or neither", param_hint="--timeout")
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
        try:
            found = _wait(client, workflow_id, execution_id, _seconds(timeout) if timeout else None)
        except KeyboardInterrupt:
            raise Interrupted(f"It goes on; see how: wf execution {execution_id}") from None
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


def _wait(client: Client, workflow_id: str, execution_id: str, timeout: float | None) -> dict[str, Any]:
    """Return the execution once it has ended."""
    begun = seen = time.monotonic()
    end = None if timeout is None else begun + timeout
    pause = FIRST_PAUSE
    words = "started"
    with output.progress(f"{workflow_id}: started") as show:
        while True:
            try:
                found: dict[str, Any] = client.get("executions", execution_id, missing=unknown(execution_id))
            except Unreachable as unreachable:
                if time.monotonic() - seen > PATIENCE:
                    unreachable.hint = f"The execution goes on; once the service is back: wf execution {execution_id}"
                    raise
                words = "the service is away, waiting for it"
            else:
                seen = time.monotonic()
                if found.get("status") not in OPEN:
                    return found
                words = _state(found)
            passed = time.monotonic() - begun
            if end is not None and passed + pause > end - begun:
                pause = max(0.0, end - time.monotonic())
                if pause == 0:
                    raise WfError(
                        f"{workflow_id} has not ended within {output.span(passed)}: {words}",
                        hint=f"It goes on; see how: wf execution {execution_id}",
                        code=ExitCode.TIMEOUT,
                    )
            show(f"{workflow_id}: {words} ({output.span(passed) if passed >= 1 else '0s'})")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE) or FIRST_PAUSE


def _state(found: dict[str, Any]) -> str:
    """Return where an open execution stands, in a few words."""
    words = f"{found.get('status')}, attempt {found.get('attempt', 1)}"
    if found.get("nextAttemptAt"):
        failed = found.get("lastFailedAction")
        due = output.relative(found["nextAttemptAt"], output.now())
        return f"{failed or 'an action'} failed, next attempt {due if due.startswith('in') else 'now'}"
    return words
