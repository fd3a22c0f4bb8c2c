"""How far a long command is: bars on a terminal, a line every few seconds elsewhere."""

import time
from contextlib import ExitStack
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typing_extensions import Self

from apps.cli import output

LINE_EVERY = 5.0  # seconds; what takes less is not worth a line


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class Bars:
    """One bar per step, on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
            _Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
        )
        self._stack = ExitStack()
        self._task: TaskID | None = None
        self._name, self._total, self._done = "", 0, 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        self._stack.enter_context(output.drawn(self._bars))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._finish()
        self._stack.close()

    def step(self, name: str, total: int | None) -> None:
        """Begin a step of so many units."""
        self._finish()
        self._task = self._bars.add_task(name, total=total or 0)
        self._name, self._total, self._done = name, total or 0, 0
        self._began = self._said = time.monotonic()

    def advance(self, count: int) -> None:
        """Say that so many more units are done."""
        if self._task is not None:
            self._bars.advance(self._task, count)
        self._done += count
        if time.monotonic() - self._said >= LINE_EVERY:
            self._say()

    def _finish(self) -> None:
        if self._name and time.monotonic() - self._began >= LINE_EVERY:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        if self._console.is_terminal:
            return  # there are the bars
        elapsed = max(self._said - self._began, 0.001)
        rate = self._done / elapsed
        left = f", {(self._total - self._done) / rate:.0f} s left" if 0 < self._done < self._total else ""
        self._console.print(f"{self._name}: {self._done:,} of {self._total:,}, {rate:,.0f}/s{left}")
