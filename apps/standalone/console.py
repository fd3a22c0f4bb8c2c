"""What `wf up` shows: how far the start is, the children's lines with prefix and colour, and where everything is."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from apps.standalone.stack import SERVICES, Dependencies, Stack

COLOURS = {"kafka": "33", "mongodb": "32", "workflows": "36", "scheduler": "35", "runner": "34"}
#: Without a terminal, progress is printed as lines, and not more often than this.
LINE_INTERVAL = 3.0


class UpConsole:
    """The output of one `wf up`: everything goes to stdout, errors to stderr."""

    def __init__(self) -> None:
        self.console = Console(highlight=False, soft_wrap=not sys.stdout.isatty())
        self.errors = Console(stderr=True, highlight=False, soft_wrap=True)
        self._status = self.console.status("starting", spinner="dots") if self.console.is_terminal else None
        self._shown_at = 0.0
        self._shown = ""
        self._since = time.monotonic()

    def __enter__(self) -> UpConsole:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> None:
        self.end_progress()

    def progress(self, line: str) -> None:
        """Show how far the start is."""
        if self._status is not None:
            self._status.update(Text(line))
            return
        # "fetching Apache Kafka: 1.5 MB" and "…: 2.0 MB" are one subject; a new subject is always shown.
        subject, now = line.split(":")[0], time.monotonic()
        if subject != self._shown or now - self._shown_at >= LINE_INTERVAL:
            self._shown, self._shown_at = subject, now
            self.console.print(Text(line))
            self._flush()

    def end_progress(self) -> None:
        """Nothing is being started any more."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def line(self, name: str, line: str) -> None:
        """Show one line a child printed. Written without rich, which would cost more than printing a busy log may."""
        if self._status is not None:
            self.console.print(Text.from_ansi(f"{self._prefix(name)}{line}"), soft_wrap=True)
            return
        try:
            sys.stdout.write(f"{self._prefix(name)}{line}\n")
            sys.stdout.flush()
        except (OSError, ValueError):
            # Whoever read this has gone (`wf up | head`); that is no reason to stop the services.
            pass

    def message(self, text: str) -> None:
        """Say something about the stack as a whole."""
        try:
            self.console.print(Text(text, style="bold"))
            self._flush()
        except (OSError, ValueError):
            pass

    def error(self, text: str) -> None:
        """Say why it does not go on."""
        self.errors.print(Text.assemble(("error: ", "bold red"), text))

    def ready(self, running: Dependencies | Stack) -> None:
        """Say that all is ready, where it is and what to do next."""
        self.end_progress()
        children = running.children
        places = [("Kafka", running.kafka_bootstrap)] if "kafka" in children else []
        places += [("MongoDB", running.mongodb_url)] if "mongodb" in children else []
        places += [("data", str(running.settings.data_dir))]
        hint = "Services find them through KAFKA_BOOTSTRAP and MONGODB_URL. Ctrl-C stops everything."
        if isinstance(running, Stack):
            services = [(name, f"{worker.url}/health") for name, worker in running.workers.items() if name != "workflows"]
            if "workflows" in running.workers:
                api = running.api_url
                services = [("dashboard", f"{api}/"), ("HTTP API", f"{api}/v1/workflows"), *services]
            places = [*services, *places]
            if "runner" in running.workers:
                allowed = running.settings.http_allow_hosts or "public addresses only"
                places.append(("workflows", f"may reach {allowed} (WF_HTTP_ALLOW_HOSTS)"))
            hint = "Next: wf apply FILE.yaml, wf trigger ID --wait, wf list. Ctrl-C stops everything."
            if missing := [name for name in SERVICES if name not in running.workers]:
                hint = f"Not started: {', '.join(missing)}. Ctrl-C stops everything."
        title = f"ready in {time.monotonic() - self._since:.1f} s"
        if not self.console.is_terminal:
            lines = [title, *(f"{name:<10} {place}" for name, place in places), hint]
            self.message("\n".join(lines))
            return
        table = Table.grid(padding=(0, 2))
        table.add_column(style="bold")
        table.add_column(style="cyan", overflow="fold")
        for name, place in places:
            table.add_row(name, Text(place))
        width = min(self.console.width, 80)
        self.console.print(Panel(Group(table, "", Text(hint)), title=title, border_style="green", width=width))
        self._flush()

    def _prefix(self, name: str) -> str:
        if not self.console.is_terminal or self.console.no_color:
            return f"{name:<9} | "
        return f"\x1b[{COLOURS.get(name.split('-')[0], '37')}m{name:<9} │\x1b[0m "

    def _flush(self) -> None:
        sys.stdout.flush()
