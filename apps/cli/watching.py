"""``wf executions --watch``: a line for whatever changes. It polls, so that in a pipe it is the same as on a terminal."""

import time
from typing import Any

import typer

from apps.cli import output
from apps.cli.client import PATIENCE, Client, Page
from apps.cli.errors import ExitCode, Unreachable
from apps.cli.options import Format

PAUSE = 0.5  # seconds
_REMEMBERED = 10_000


def watch(client: Client, query: dict[str, Any], limit: int, form: Format) -> None:
    """Write a line for every execution that is new or has another status, until Ctrl-C."""
    seen: dict[str, Any] = {}
    try:
        with output.progress("watching; Ctrl-C ends it"):
            while True:
                page = _page(client, query, 100 if seen else limit)
                for item in reversed(page.items):
                    state = (item.get("status"), item.get("attempt"))
                    if seen.get(item["executionId"]) != state:
                        seen[item["executionId"]] = state
                        _show(item, form)
                if len(seen) > _REMEMBERED:
                    seen = {item["executionId"]: (item.get("status"), item.get("attempt")) for item in page.items}
                time.sleep(PAUSE)
    except KeyboardInterrupt:
        raise typer.Exit(ExitCode.INTERRUPTED) from None


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
