"""``wf logs`` and ``wf executions --watch``: what happens, as it happens.

Both poll, at most once a second, and write a line for what is new: in a pipe it is the same as on a terminal.
"""

import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import Client
from apps.cli.errors import ExitCode, Interrupted, Unreachable
from apps.cli.options import DEFAULT_URL, ExecutionId, Format, Url

PAUSE = 0.5  # seconds
PATIENCE = 30.0  # seconds that the service may be away
OPEN = ("pending", "running")


def logs(
    execution_id: ExecutionId,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the execution has ended.")] = False,
    url: Url = DEFAULT_URL,
) -> None:
    """Show what the actions of an execution logged."""
    with Client(url) as client:
        found = show_as_it_comes(client, execution_id, follow=follow)
    if follow and found.get("status") != "ok":
        raise typer.Exit(ExitCode.FAILED)


def show_as_it_comes(client: Client, execution_id: str, *, follow: bool) -> dict[str, Any]:
    """Write each result once, and return the execution as it was last seen."""
    shown: set[tuple[Any, Any]] = set()
    missing = f"there is no execution {execution_id}; `wf executions` lists those that are kept"
    while True:
        found: dict[str, Any] = _patiently(lambda: client.get("executions", execution_id, missing=missing))
        for outcome in found.get("executedActions") or ():
            key = (outcome.get("attempt"), outcome.get("actionId"))
            if key not in shown:
                shown.add(key)
                _show(outcome)
        if not follow or found.get("status") not in OPEN:
            if follow:
                output.note(f"{found.get('status')}" + (f": {found['reason']}" if found.get("reason") else ""))
            return found
        _pause(f"It goes on; see how: wf logs -f {execution_id}")


def watch(client: Client, query: dict[str, Any], form: Format) -> None:
    """Write a line for every execution that is new or has another status, until Ctrl-C."""
    seen: dict[str, Any] = {}
    while True:
        page = _patiently(lambda: client.page("executions", limit=100, query=query))
        for item in reversed(page.items):
            state = (item.get("status"), item.get("attempt"))
            if seen.get(item["executionId"]) != state:
                seen[item["executionId"]] = state
                if form is Format.TABLE:
                    moment = f"{output.now():%H:%M:%S}"
                    line = output.styled(f"{moment}  {item['executionId']}  {output.printable(item['workflowId'])}  ")
                    output.render(line.append_text(output.status(item.get("status"))))
                else:
                    output.data(item, form)
        if len(seen) > 10_000:
            seen = {item["executionId"]: (item.get("status"), item.get("attempt")) for item in page.items}
        _pause("")


def _patiently(ask: Callable[[], Any]) -> Any:
    begun = time.monotonic()
    while True:
        try:
            return ask()
        except Unreachable:
            if time.monotonic() - begun > PATIENCE:
                raise
            time.sleep(PAUSE)


def _pause(hint: str) -> None:
    try:
        time.sleep(PAUSE)
    except KeyboardInterrupt:
        raise Interrupted(hint) from None


def _show(outcome: dict[str, Any]) -> None:
    head = output.styled(f"[{outcome.get('attempt')}] ").append_text(output.status(outcome.get("status")))
    output.render(head.append(f" {output.printable(outcome.get('actionId', '-'))}", "bold"))
    for log in outcome.get("logs") or ():
        output.indented(str(log), 4)
    error = output.members(outcome, "error")
    if error:
        output.indented(f"{error.get('class', 'error')}: {error.get('message', '')}", 4, "red")
