"""Waits for the end of something that the service is at.

Waiting polls, ever more slowly up to once a second. A service that is restarted meanwhile is waited for as well: what it was
at goes on without it.
"""

import re
import time
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.client import PATIENCE
from apps.cli.errors import ExitCode, Interrupted, Unreachable, WfError

FIRST_PAUSE, LONGEST_PAUSE = 0.05, 1.0
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(text: str) -> float | None:
    """Return a length of time as options take it; None where the text is none."""
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([smhd]?)", text)
    return float(match[1]) * _UNITS[match[2]] if match else None


def checked_length(value: str | None) -> str | None:
    """Refuse what is not a length of time."""
    if value is not None and not seconds(value):
        raise typer.BadParameter(f"{value!r} is not a length of time; write for example 90, 90s, 5m, 1h or 1d")
    return value


Timeout = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        show_default=False,
        callback=checked_length,
        help="Wait no longer than this: 90, 90s, 5m, 1h, 1d. What is waited for goes on all the same.",
    ),
]


def states(
    ask: Callable[[], dict[str, Any]],
    *,
    name: Callable[[dict[str, Any]], str],
    is_over: Callable[[dict[str, Any]], bool],
    words: Callable[[dict[str, Any]], str],
    timeout: float | None,
    see: str,
) -> Iterator[dict[str, Any]]:
    """Yield what ``ask`` finds each time, until that ``is_over``.

    ``name`` is what it is called, ``words`` says where it stands meanwhile, ``see`` is the command that shows it later.

    Raises:
        WfError: it has not ended within ``timeout`` seconds.
        Unreachable: the service was away for too long.
        Interrupted: by Ctrl-C.
    """
    begun = seen = time.monotonic()
    found: dict[str, Any] = {}
    state = "started"
    pause = FIRST_PAUSE
    goes_on = f"It goes on; see how: {see}"
    try:
        with output.progress(state) as show:
            while True:
                try:
                    found = ask()
                except Unreachable as unreachable:
                    if not unreachable.may_return:
                        raise
                    if time.monotonic() - seen > PATIENCE:
                        unreachable.hint = f"It goes on; once the service is back: {see}"
                        raise
                    state = "the service is away, waiting for it"
                else:
                    seen = time.monotonic()
                    yield found
                    if is_over(found):
                        return
                    state = words(found)
                passed = time.monotonic() - begun
                if timeout is not None and passed >= timeout:
                    raise WfError(
                        f"{name(found)} has not ended within {output.span(timeout)}: {state}",
                        hint=goes_on,
                        code=ExitCode.TIMEOUT,
                    )
                show(f"{state} ({output.span(passed) if passed >= 1 else '0s'})")
                time.sleep(pause if timeout is None else min(pause, timeout - passed))
                pause = min(pause * 1.5, LONGEST_PAUSE)
    except KeyboardInterrupt:
        raise Interrupted(goes_on) from None
