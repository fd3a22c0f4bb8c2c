"""``wf executions --watch``: a line for whatever changes. It polls, so that in a pipe it is the same as on a terminal."""

import time
from typing import Any

import typer

from apps.cli import output
from apps.cli.client import PATIENCE, Client, Page
from apps.cli.errors import ExitCode, Unreachable
from apps.cli.options import Format

PAUSE = 0.5  # seconds
_WINDOW = 100  # of the newest executions: those that are looked at for changes
_REMEMBERED = 10_000


def watch(client: Client, query: dict[str, Any], limit: int, form: Format) -> None:
    """Write a line for every execution that is new or has another status, until Ctrl-C."""
    try:
        with output.progress("watching; Ctrl-C ends it"):
            page = _page(client, query, max(limit, _WINDOW) if limit else 0)
            # What lies before those that were asked for is no news until it changes.
            seen = _states(page.items[limit:] if limit else [])
            while True:
                for item in reversed(page.items):
                    state = _state(item)
                    if seen.get(item["executionId"]) != state:
                        seen[item["executionId"]] = state
                        _show(item, form)
                if len(seen) > _REMEMBERED:
                    seen = _states(page.items)
                time.sleep(PAUSE)
                page = _page(client, query, _WINDOW)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


def _state(item: dict[str, Any]) -> tuple[Any, Any]:
    return item.get("status"), item.get("attempt")


def _states(items: list[dict[str, Any]]) -> dict[str, tuple[Any, Any]]:
    return {item["executionId"]: _state(item) for item in items}


def _show(item: dict[str, Any], form: Format) -> None:
    if form is not Format.TABLE:
        output.item(item, form)
        return
    line = output.styled(f"{output.now().astimezone():%H:%M:%S}  {item['executionId']}  ")
    line.append_text(output.status(item.get("status"))).append(f"  {output.printable(item['workflowId'])}", "none")
    output.render(line)


def _page(client: Client, query: dict[str, Any], limit: int) -> Page:
    begun = time.monotonic()
    while True:
        try:
            return client.page("executions", limit=limit, query=query)
        except Unreachable as unreachable:
            if not unreachable.may_return or time.monotonic() - begun > PATIENCE:
                raise
            time.sleep(PAUSE)
