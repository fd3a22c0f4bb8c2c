"""What commands write: tables for people, JSON and YAML for programs.

Answers go to stdout, everything about them (errors, notes, progress) to stderr. On a terminal a table is as wide as the
terminal; in a pipe every row is one line, however long, unless COLUMNS says otherwise. Nothing from the service reaches
the terminal with its control characters: a log line may hold what some web server answered.
"""

import json
import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, Protocol

import typer

from apps.cli.options import Format

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.text import Text

STYLES = {
    "ok": "green",
    "done": "green",
    "created": "green",
    "updated": "green",
    "failed": "red",
    "warning": "yellow",
    "cancelled": "red",
    "busy": "cyan",
    "running": "cyan",
    "pending": "yellow",
    "waiting": "yellow",
    "skipped": "yellow",
    "archived": "yellow",
    "idle": "dim",
    "unchanged": "dim",
}
_UNBOUNDED = 100_000
_FOLDED = 12  # columns that what is folded keeps, where something else needs the room
_ABOVE = "\0"  # stands in a table where a line of its own belongs; nothing that is printable is the same
_BARE_CONTROLS = r"\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069"  # those that JSON leaves as they are
_CONTROL = re.compile(rf"[\x00-\x08\x0b-\x1f{_BARE_CONTROLS}]")
_BARE_CONTROL = re.compile(f"[{_BARE_CONTROLS}]")


def printable(value: object) -> str:
    """Return text whose control characters are written out (\\x1b), line breaks and tabs left alone."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), str(value))


def data(value: Any, form: Format) -> None:
    """Write ``value`` for programs."""
    if form is Format.YAML:
        from apps.yaml12 import dump

        _write(dump(value), end="")
    else:
        _write(_as_json(value, indent=2))


def _as_json(value: Any, *, indent: int | None) -> str:
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    text = json.dumps(value, indent=indent, ensure_ascii=not is_unicode)
    return _BARE_CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def item(value: Any, form: Format) -> None:
    """Write one of many values for programs, as it comes: a line of JSON, or a document of YAML."""
    if form is Format.YAML:
        _write("---\n", end="")
        data(value, form)
    else:
        _write(_as_json(value, indent=None))


def verbatim(text: str) -> None:
    """Write a text as it is, for programs; a terminal is shown its control characters rather than sent them."""
    if sys.stdout.isatty():
        _write(printable(text))
    else:
        typer.echo(text, color=True)  # else it takes out what looks like a colour


def line(text: str) -> None:
    """Write one line for people."""
    render(styled(printable(text)))


def note(text: str) -> None:
    """Write something about the answer that is not part of it."""
    _errors().print(styled(printable(text), "dim"), soft_wrap=True)


def error(message: str, details: Sequence[str] = (), hint: str = "") -> None:
    """Say what went wrong and what to do next."""
    from rich.text import Text

    console = _errors()
    console.print(Text.assemble(("error: ", "bold red"), printable(message)), soft_wrap=True)
    for detail in details:
        console.print(Text(f"  {printable(detail)}"), soft_wrap=True)
    if hint:
        console.print(Text(printable(hint)), soft_wrap=True)


def warning(message: str) -> None:
    """Say what is amiss, and has kept nothing from being done."""
    from rich.text import Text

    _errors().print(Text.assemble(("warning: ", "bold yellow"), printable(message)), soft_wrap=True)


def table(columns: Sequence[str], rows: Iterable[Sequence["str | Text"]]) -> None:
    """Write rows under headings; ``>`` aligns a column to the right, only one with ``~`` is folded to make room.

    A column with ``=`` (one at most) holds what people copy: what has no room there stands whole, above its row.
    """
    from rich.table import Table

    grid = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        grid.add_column(column.lstrip("~>="), justify=justify, overflow="fold", no_wrap=not column.startswith("~"))
    cells = [[styled(printable(cell)) if isinstance(cell, str) else cell for cell in row] for row in rows]
    copied = next((place for place, column in enumerate(columns) if column.startswith("=")), None)
    room = 0 if copied is None else width() - _least_beside(copied, columns, cells)
    above = []
    for row in cells:
        if copied is not None and row[copied].cell_len > room:
            above.append(row[copied])
            grid.add_row(_ABOVE)
            row[copied] = styled("")
        grid.add_row(*row)
    waiting = iter(above)
    for text in _lines(grid):
        if text == _ABOVE:
            render(next(waiting), fold=False)
        else:
            _write(text)


def _least_beside(place: int, columns: Sequence[str], cells: Sequence[Sequence["Text"]]) -> int:
    """Return how much of a line the other columns take at least."""
    least = 2 * (len(columns) - 1)
    for other, column in enumerate(columns):
        if other != place:
            longest = max([len(column.lstrip("~>=")), *(row[other].cell_len for row in cells)])
            least += min(longest, _FOLDED) if column.startswith("~") else longest
    return least


def facts(pairs: Iterable[tuple["str | Text", "str | Text"]], style: str = "bold") -> None:
    """Write names, in a style, and values, the values under each other and folded there."""
    from rich.table import Table

    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=style, no_wrap=True)
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, styled(printable(value)) if isinstance(value, str) else value)
    render(grid)


def indented(text: str, by: int, style: str = "") -> None:
    """Write text from column ``by`` on, folded there."""
    from rich.padding import Padding

    render(Padding(styled(printable(text), style), (0, 0, 0, by)))


def difference(lines: Sequence[str]) -> None:
    """Write a unified diff."""
    styles = {"+": "green", "-": "red", "@": "cyan"}
    for text in lines:
        # A line of a diff stays a line: what is folded cannot be applied.
        render(styled(printable(text), styles.get(text[:1], "")), fold=False)


def styled(text: str, style: str = "") -> "Text":
    """Return text in one style."""
    from rich.text import Text

    return Text(text, style=style, overflow="fold")


def status(name: object) -> "Text":
    """Return a status as a word, coloured."""
    text = printable(name or "-")
    return styled(text, STYLES.get(text, ""))


def render(what: "RenderableType", *, fold: bool = True) -> None:
    """Write something to stdout, without the blanks that would fill up its lines."""
    for text in _lines(what, fold=fold):
        _write(text)


def _lines(what: "RenderableType", *, fold: bool = True) -> list[str]:
    console = _console()
    with console.capture() as capture:
        console.print(what, soft_wrap=not fold)
    return [text.rstrip(" ") for text in capture.get().splitlines()]


class Progress(Protocol):
    """Says how far something is."""

    def __call__(self, text: str) -> None: ...


# What is drawn over and over on the last line of the terminal; lines that are written meanwhile go above it.
_drawn: "Live | None" = None


@contextmanager
def progress(text: str) -> Iterator[Progress]:
    """Show on a terminal that something is under way; elsewhere nothing."""
    if not sys.stderr.isatty():
        yield lambda text: None
        return
    from rich.spinner import Spinner

    spinner = Spinner("dots", styled(printable(text)))
    with drawn(spinner):
        yield lambda text: spinner.update(text=styled(printable(text)))


@contextmanager
def drawn(what: "RenderableType") -> Iterator[None]:
    """Draw something that changes, on a terminal alone, until the end of the block."""
    global _drawn
    from rich.live import Live

    console = _console(stderr=True)
    if not console.is_terminal or _drawn is not None:
        yield
        return
    # Not redirected: what goes to a file must not be drawn on the terminal.
    with Live(what, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as _drawn:
        try:
            yield
        finally:
            _drawn = None


def _write(text: str, end: str = "\n") -> None:
    if _drawn is not None and sys.stdout.isatty():
        from rich.text import Text

        _drawn.console.print(Text.from_ansi(text), end=end, soft_wrap=True)
    else:
        typer.echo(text, nl=bool(end))


def now() -> datetime:
    """Return the present instant."""
    return datetime.now(timezone.utc)


def instant(text: object) -> datetime | None:
    """Read an instant of the API; None where there is none."""
    try:
        return datetime.fromisoformat(str(text).replace("Z", "+00:00")).astimezone(timezone.utc)
    except ValueError:
        return None


def relative(text: object, present: datetime, *, none: str = "-") -> str:
    """Return how far from ``present`` an instant is, as in ``3m ago`` or ``in 12s``."""
    value = instant(text)
    if value is None:
        return none
    seconds = (present - value).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{_largest_unit(seconds)} ago" if seconds > 0 else f"in {_largest_unit(-seconds)}"


def age(text: object, present: datetime) -> str:
    """Return how long ago an instant was; a clock that is ahead makes no negative ages."""
    value = instant(text)
    return "-" if value is None else _largest_unit(max(0.0, (present - value).total_seconds()))


def clock(text: object) -> str:
    """Return an instant by the calendar and the clock in UTC, as in ``2026-01-31 12:00:00``."""
    value = instant(text)
    return "-" if value is None else f"{value:%Y-%m-%d %H:%M:%S}"


def exact(text: object, present: datetime) -> str:
    """Return an instant with its distance, as in ``2026-01-31 12:00:00 UTC (3m ago)``."""
    return "-" if instant(text) is None else f"{clock(text)} UTC ({relative(text, present)})"


def length(start: object, end: object) -> str:
    """Return the time between two instants, as in ``350ms``, ``1.2s`` or ``3m 20s``."""
    first, last = instant(start), instant(end)
    return "-" if first is None or last is None else span(max(0.0, (last - first).total_seconds()))


def span(seconds: float) -> str:
    """Return a length of time in at most two units."""
    if seconds < 1:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 10:
        return f"{seconds:.1f}s"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


def width() -> int:
    """Return how many columns an answer may take."""
    return shutil.get_terminal_size((_UNBOUNDED, 24)).columns


def members(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the object at ``key``; an empty one where there is none."""
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _largest_unit(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def _errors() -> "Console":
    return _console(stderr=True) if _drawn is None else _drawn.console


def _console(stderr: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=None if stderr else width())
