"""`wf up`: the whole system on this machine, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from apps.cli.options import examples
from apps.standalone.console import UpConsole
from apps.standalone.errors import StandaloneError
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import DEPENDENCIES, PARTS, SERVICES, Dependencies, Stack, Supervised

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")


def _parts(given: list[str] | None) -> list[str]:
    """Return the parts that are named, one by one or with commas between them."""
    parts = [word.strip() for words in given or () for word in words.split(",")]
    for part in parts:
        if part not in PARTS:
            near = get_close_matches(part, PARTS, n=1)
            meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(PARTS)}"
            raise typer.BadParameter(f"there is no part {part!r}{meant}")
    for service in SERVICES:
        missing = [name for name in DEPENDENCIES if name not in parts]
        if service in parts and missing:
            raise typer.BadParameter(f"{service} needs {' and '.join(missing)}, which --only does not name")
    return parts


@app.command(
    epilog=examples("wf up", "wf up --data-dir ./data --workflows-port 9081", "wf up --only kafka,mongodb,workflows")
)
def up(
    data_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False, show_default=False, help=r"Where all data are kept. \[default: the user's data directory]"
        ),
    ] = None,
    kafka_port: Annotated[int | None, typer.Option(min=1, max=65535, help=r"Kafka's port. \[default: 9092]")] = None,
    mongodb_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=r"The database's port. \[default: 27017]")
    ] = None,
    workflows_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=r"The HTTP API's port. \[default: 8081]")
    ] = None,
    scheduler_port: Annotated[
        int | None, typer.Option(min=1, max=65535, help=r"The scheduler's port. \[default: 8082]")
    ] = None,
    runner_port: Annotated[int | None, typer.Option(min=1, max=65535, help=r"The runner's port. \[default: 8083]")] = None,
    runners: Annotated[int, typer.Option(min=1, max=64, help="How many runners; further ones get free ports.")] = 1,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PART,…",
            show_default=False,
            callback=_parts,
            help=f"Start these alone, of {', '.join(PARTS)}; a service needs kafka and mongodb.",
        ),
    ] = None,
) -> None:
    """Start Kafka, MongoDB and the three services here, without Docker or Java; Ctrl-C stops them all.

    The data directory and the ports are also environment variables: WF_DATA_DIR, WF_KAFKA_PORT, …
    """
    given: dict[str, Any] = {
        "data_dir": data_dir.expanduser().resolve() if data_dir else None,
        "kafka_port": kafka_port,
        "mongodb_port": mongodb_port,
        "workflows_port": workflows_port,
        "scheduler_port": scheduler_port,
        "runner_port": runner_port,
    }
    screen = UpConsole()
    try:
        settings = StandaloneSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as exc:
        from apps.settings import complaints  # with all that services are made of

        for complaint in complaints(exc, prefix="WF_"):
            screen.error(complaint)
        raise typer.Exit(2) from None
    options: dict[str, Any] = {"sink": screen.line, "progress": screen.progress}
    parts = only or PARTS
    services = [name for name in SERVICES if name in parts]
    if runners > 1 and "runner" not in services:
        raise typer.BadParameter("means nothing without runner among the parts of --only", param_hint="'--runners'")
    stack = Stack(settings, services=services, **options) if services else Dependencies(settings, parts=parts, **options)
    with screen:
        try:
            asyncio.run(_run(stack, screen, further_runners=runners - 1))
        except StandaloneError as exc:
            screen.end_progress()
            screen.error(str(exc))
            raise typer.Exit(1) from None
        except OSError as exc:  # of the data directory: it cannot be written to, or is full
            screen.end_progress()
            screen.error(f"{exc.filename or settings.data_dir}: {exc.strerror or exc}")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            # Only where the loop cannot handle signals (Windows); everything has been stopped on the way here.
            pass


async def _run(stack: Dependencies | Stack, screen: UpConsole, *, further_runners: int) -> None:
    """Start, wait for a signal or for a child that cannot be kept running, stop."""
    asked_to_stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in _stop_signals():
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signum, asked_to_stop.set)
    stopping = asyncio.ensure_future(asked_to_stop.wait())
    running = asyncio.ensure_future(_keep_running(stack, screen, further_runners))
    try:
        await asyncio.wait([stopping, running], return_when=asyncio.FIRST_COMPLETED)
    finally:
        screen.end_progress()
        started = any(child.launches for child in stack.children.values())
        if started:
            screen.message("stopping")
        for task in (stopping, running):
            task.cancel()
        results = await asyncio.gather(stopping, running, return_exceptions=True)
        await stack.stop()
        if started:
            screen.message("stopped")
    failure = results[1]
    if isinstance(failure, Exception):
        raise failure


def _stop_signals() -> list[signal.Signals]:
    stop_signals = [signal.SIGINT, signal.SIGTERM]
    # `nohup wf up` asks to ignore the end of the terminal, everybody else expects the end of everything.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        stop_signals.append(signal.SIGHUP)
    return stop_signals


async def _keep_running(stack: Supervised, screen: UpConsole, further_runners: int) -> None:
    await stack.start()
    if isinstance(stack, Stack):
        for _ in range(further_runners):
            await stack.add_worker("runner")
    assert isinstance(stack, Dependencies | Stack)
    screen.ready(stack)
    raise await stack.wait_failure()
