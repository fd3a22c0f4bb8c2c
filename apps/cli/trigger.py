"""``wf trigger``, ``wf retry`` and ``wf run-again``: three ways to start an execution."""

from typing import Annotated, Any

import typer

from apps.cli.client import Client, Missing, Problem
from apps.cli.errors import ExitCode, WfError
from apps.cli.executions import unknown
from apps.cli.inputs import Input, checked_key, checked_reference, read_json_object
from apps.cli.options import DEFAULT_URL, ExecutionId, Format, Json, Output, Url, WorkflowId, chosen
from apps.cli.starting import Follow, Wait, patience, see_through
from apps.cli.waiting import Timeout
from apps.cli.workflows import unknown as unknown_workflow


def trigger(
    workflow_id: WorkflowId,
    wait: Wait = False,
    follow: Follow = False,
    timeout: Timeout = None,
    given: Input = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default=False,
            callback=checked_reference,
            help="A number of yours by which it is found again: of an order, a customer.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            show_default=False,
            callback=checked_key,
            help="Idempotency-Key: given again within a day, it starts nothing, and stands for what it started first.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Start an execution of a workflow now."""
    how = patience(wait, follow, timeout)
    body: dict[str, Any] = {"input": read_json_object(given, "--input")} if given else {}
    if reference is not None:
        body["reference"] = reference
    with Client(url) as client:
        answer = _start(
            client, "workflows", workflow_id, "trigger", body=body or None, missing=unknown_workflow(workflow_id), key=key
        )
        see_through(client, answer, f"{workflow_id} triggered: execution", how, chosen(output_format, as_json))


def retry(
    execution_id: ExecutionId,
    wait: Wait = False,
    follow: Follow = False,
    timeout: Timeout = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Take up a finished execution where it failed, as a new one.

    It runs the same version of the workflow with the same input; what succeeded is not run again.
    """
    how = patience(wait, follow, timeout)
    with Client(url) as client:
        try:
            answer = _repeat(client, execution_id, "retry")
        except Problem as problem:
            if problem.kind == "nothing-to-retry":
                problem.message = problem.message.partition("; POST ")[0]
                problem.hint = f"To start its workflow from the first action: wf run-again {execution_id}"
            raise
        see_through(client, answer, "Taken up: execution", how, chosen(output_format, as_json))


def run_again(
    execution_id: ExecutionId,
    wait: Wait = False,
    follow: Follow = False,
    timeout: Timeout = None,
    url: Url = DEFAULT_URL,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Start the workflow of a finished execution once more, with the same input.

    It runs the current version, from the first action on.
    """
    how = patience(wait, follow, timeout)
    with Client(url) as client:
        answer = _repeat(client, execution_id, "run-again")
        see_through(client, answer, "Run again: execution", how, chosen(output_format, as_json))


def _repeat(client: Client, execution_id: str, how: str) -> dict[str, Any]:
    """Send what starts an execution from another one; raises as :func:`_start`."""
    try:
        return _start(client, "executions", execution_id, how, missing={"unknown-execution": unknown(execution_id)})
    except Problem as problem:
        if problem.kind != "unknown-workflow":
            raise
        workflow_id = client.get("executions", execution_id, missing=unknown(execution_id)).get("workflowId")
        raise WfError(
            f"{workflow_id} is archived, so nothing of it is started",
            hint="Bring it back with its file, and try again: wf apply FILE",
            code=ExitCode.NOT_FOUND,
        ) from None


def _start(client: Client, *path: str, body: Any = None, missing: Missing, key: str | None = None) -> dict[str, Any]:
    """Send what starts an execution.

    Raises:
        WfError: there is nothing to start, it must not be started, or one is open.
    """
    try:
        answer: dict[str, Any] = client.post(*path, body=body, missing=missing, key=key)
    except Problem as problem:
        if problem.status != 409 or "triggerStatus" not in problem.members:
            if problem.kind == "not-triggered-by-hand":
                problem.hint = "Add allowManual: true to its trigger and apply it."
            raise
        holder = problem.members.get("executionId")
        raise WfError(
            problem.message,
            hint=f"See how it goes: wf execution {holder}\nEnd it: wf cancel {holder}" if holder else "Try again.",
            code=ExitCode.CONFLICT,
        ) from None
    return answer


def examples_of(command: str) -> list[str]:
    """Return how a command that starts from an execution is used."""
    id_ = "01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f"
    return [f"wf {command} {id_}", f"wf {command} ID --follow", f"wf {command} ID --wait --timeout 5m && echo done"]
