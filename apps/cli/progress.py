"""How far a long command is: bars on a terminal, a line every few seconds elsewhere."""

import time
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

LINE_EVERY = 5.0  # seconds


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class Bars:
    """One bar per step, on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True)
        self._shown: Progress | None = None
        if self._console.is_terminal:
            self._shown = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed:,.0f} of {task.total:,.0f}"),
                _Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
        self._task: TaskID | None = None
        self._name, self._total, self._done = "", 0, 0
        self._began = self._said = time.monotonic()

    def __enter__(self) -> Self:
        if self._shown is not None:
            self._shown.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._shown is not None:
            self._shown.stop()
        elif self._name:
            self._say()

    def step(self, name: str, total: int | None) -> None:
        """Begin a step of so many units."""
        if self._shown is not None:
            self._task = self._shown.add_task(name, total=total or 0)
            return
        if self._name:
            self._say()
        self._name, self._total, self._done = name, total or 0, 0
        self._began = self._said = time.monotonic()

    def advance(self, count: int) -> None:
        """Say that so many more units are done."""
        if self._shown is not None and self._task is not None:
            self._shown.advance(self._task, count)
            return
        self._done += count
        if time.monotonic() - self._said >= LINE_EVERY:
            self._say()

    def _say(self) -> None:
        self._said = time.monotonic()
        elapsed = max(self._said - self._began, 0.001)
        rate = self._done / elapsed
        left = f", {(self._total - self._done) / rate:.0f} s left" if 0 < self._done < self._total else ""
        self._console.print(f"{self._name}: {self._done:,} of {self._total:,}, {rate:,.0f}/s{left}")
