"""What comes after a start: nothing, the end, or what is logged until then; for `wf trigger`, `wf retry`, `wf run-again`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from apps.cli import output, waiting
from apps.cli.client import Client
from apps.cli.errors import ExitCode
from apps.cli.executions import OPEN, unknown
from apps.cli.histories import (
    events,
    is_delayed,
    is_outcome,
    is_waiting,
    show_event,
    show_execution,
    step_words,
    tell_how_to_signal,
    waiting_words,
)
from apps.cli.options import Format

QUEUED = "It is queued: it runs when the execution that is open has ended."

Wait = Annotated[bool, typer.Option("--wait", help="Wait for the end of the execution, retries included, and show it.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Wait, and show what the actions log as it comes.")]


@dataclass(frozen=True)
class Patience:
    """How much is to be seen of an execution that was started."""

    wait: bool
    follow: bool
    timeout: float | None


def patience(wait: bool, follow: bool, timeout: str | None) -> Patience:
    """Return what the options ask for."""
    if timeout is not None and not (wait or follow):
        raise typer.BadParameter("only --wait and --follow wait; give one of them as well", param_hint="--timeout")
    return Patience(wait, follow, waiting.seconds(timeout) if timeout else None)


def see_through(client: Client, answer: dict[str, Any], done: str, how: Patience, form: Format) -> None:
    """Say that an execution was started (``done`` is how that sentence begins), and see as much of it as was asked for."""
    execution_id = str(answer.get("executionId", ""))
    is_queued = answer.get("status") == "workflow queued"
    if not (how.wait or how.follow):
        if form is not Format.TABLE:
            output.data(answer, form)
            return
        output.line(f"{done} {execution_id}")
        if is_queued:
            output.note(QUEUED)
        output.note(f"See how it goes: wf execution {execution_id}")
        return
    if form is Format.TABLE and is_queued:
        output.note(QUEUED)
    if how.follow:
        if form is Format.TABLE:
            output.note(f"{done} {execution_id}")
        found = follow(client, execution_id, form, timeout=how.timeout)
    else:
        *_, found = states(client, execution_id, timeout=how.timeout)
        show_execution(found, form)
    if found.get("status") != "ok":
        if form is Format.TABLE:
            output.note(what_next(found))
        # What happened is on stdout already.
        raise typer.Exit(ExitCode.FAILED)


def follow(client: Client, execution_id: str, form: Format, *, timeout: float | None = None) -> dict[str, Any]:
    """Write each result once, as it comes, and return the execution when it has ended."""
    shown: set[tuple[Any, ...]] = set()
    for found in states(client, execution_id, timeout=timeout):
        show_new(found, shown, form)
    if form is Format.TABLE:
        output.note(f"{found.get('status')}" + (f": {found['reason']}" if found.get("reason") else ""))
    return found


def show_new(found: dict[str, Any], shown: set[tuple[Any, ...]], form: Format) -> None:
    """Write the results of an execution that are not among those ``shown``."""
    for event in events(found):
        key = (event.get("attempt"), event.get("actionId") or event.get("at"), is_waiting(event))
        if key in shown:
            continue
        shown.add(key)
        if form is Format.TABLE:
            show_event(event, with_attempt=True)
            if is_waiting(event):
                tell_how_to_signal(found)
        elif is_outcome(event):
            output.item(event, form)


def what_next(found: dict[str, Any]) -> str:
    """Return what can be done about an execution that did not succeed."""
    execution_id = found.get("executionId")
    if found.get("status") == "skipped":
        return f"It did not run; start it anew: wf run-again {execution_id}"
    ways = f"Take it up where it failed:  wf retry {execution_id}\nStart it from the beginning: wf run-again {execution_id}"
    total = found.get("totalActions") or 0
    handled = [each for each in found.get("executedActions") or () if each.get("index", 0) >= total]
    # A retry would go on as if it was still paid for what was paid back; what has only logged has undone nothing.
    if any(each.get("status") == "ok" and each.get("output") for each in handled):
        ways += (
            "\nWhere onFailure or finally has undone something, a retry does not do that again: start it from the beginning."
        )
    return ways


def states(client: Client, execution_id: str, *, timeout: float | None = None) -> Iterator[dict[str, Any]]:
    """Yield an execution each time it is looked at, until it has ended; raises as :func:`apps.cli.waiting.states`."""
    return waiting.states(
        lambda: client.get("executions", execution_id, missing=unknown(execution_id)),
        name=lambda found: str(found.get("workflowId", execution_id)),
        is_over=lambda found: found.get("status") not in OPEN,
        words=_state,
        timeout=timeout,
        see=f"wf execution {execution_id}",
    )


def _state(found: dict[str, Any]) -> str:
    """Return where an open execution stands, in a few words."""
    awaited = output.members(found, "waitingFor")
    if awaited:
        return waiting_words(awaited, output.now())
    if found.get("nextAttemptAt"):
        failed = found.get("lastFailedAction")
        due = output.relative(found["nextAttemptAt"], output.now())
        words = f"{failed} failed, next attempt" if failed and not is_delayed(found) else "it waits and goes on"
        return f"{words} {due if due.startswith('in') else 'now'}"
    step = step_words(found, "currentStep")
    return f"{found.get('status')}, attempt {found.get('attempt', 1)}" + (f", {step}" if step else "")
