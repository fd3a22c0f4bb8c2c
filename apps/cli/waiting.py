"""Waits for the end of something that the service is at.

Waiting polls, ever more slowly up to once a second. A service that is restarted meanwhile is waited for as well: what it was
at goes on without it.
"""

import re
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.errors import ExitCode, Interrupted, Unreachable, WfError

PATIENCE = 30.0  # seconds that the service may be away
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


def _checked(value: str | None) -> str | None:
    if value is not None and not seconds(value):
        raise typer.BadParameter(f"{value!r} is not a length of time; write for example 90, 90s, 5m or 1h")
    return value


Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        show_default=False,
        callback=_checked,
        help="Wait no longer than this: 90, 90s, 5m, 1h. What is waited for goes on all the same.",
    ),
]


def seconds(text: str | None) -> float | None:
    """Return the length of what ``--timeout`` says; None where it says nothing."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smh]?)", text or "")
    return float(match[1]) * _UNITS[match[2]] if match else None


def check_timeout(timeout: str | None, wait: bool) -> None:
    """Refuse a timeout where nothing is waited for."""
    if timeout is not None and not wait:
        raise typer.BadParameter("only --wait waits; give both or neither", param_hint="--timeout")


def wait_for(
    ask: Callable[[], dict[str, Any]],
    *,
    name: str,
    is_over: Callable[[dict[str, Any]], bool],
    words: Callable[[dict[str, Any]], str],
    timeout: float | None,
    see: str,
) -> dict[str, Any]:
    """Return what ``ask`` finds once that ``is_over``.

    ``words`` says where it stands meanwhile, ``see`` is the command that shows it later.

    Raises:
        WfError: the timeout has passed.
        Unreachable: the service was away for too long.
        Interrupted: by Ctrl-C.
    """
    try:
        return _poll(ask, name, is_over, words, timeout, see)
    except KeyboardInterrupt:
        raise Interrupted(f"It goes on; see how: {see}") from None


def _poll(
    ask: Callable[[], dict[str, Any]],
    name: str,
    is_over: Callable[[dict[str, Any]], bool],
    words: Callable[[dict[str, Any]], str],
    timeout: float | None,
    see: str,
) -> dict[str, Any]:
    begun = seen = time.monotonic()
    end = None if timeout is None else begun + timeout
    pause = FIRST_PAUSE
    state = "started"
    with output.progress(f"{name}: {state}") as show:
        while True:
            try:
                found = ask()
            except Unreachable as unreachable:
                if time.monotonic() - seen > PATIENCE:
                    unreachable.hint = f"It goes on; once the service is back: {see}"
                    raise
                state = "the service is away, waiting for it"
            else:
                seen = time.monotonic()
                if is_over(found):
                    return found
                state = words(found)
            passed = time.monotonic() - begun
            if end is not None and passed + pause > end - begun:
                pause = max(0.0, end - time.monotonic())
                if pause == 0:
                    raise WfError(
                        f"{name} has not ended within {output.span(passed)}: {state}",
                        hint=f"It goes on; see how: {see}",
                        code=ExitCode.TIMEOUT,
                    )
            show(f"{name}: {state} ({output.span(passed) if passed >= 1 else '0s'})")
            time.sleep(pause)
            pause = min(pause * 1.5, LONGEST_PAUSE) or FIRST_PAUSE
