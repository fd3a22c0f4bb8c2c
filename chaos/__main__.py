"""The command line of ``make chaos``."""

import asyncio
import logging
import secrets
from pathlib import Path
from typing import Annotated

import typer

from chaos import driver, report
from chaos.faults import EVERY, KINDS, schedule


def main(
    seed: Annotated[int | None, typer.Option(min=0, help="Reproduces the faults of another run [default: random].")] = None,
    minutes: Annotated[float, typer.Option(min=0.1, max=600, help="How long faults happen.")] = 5.0,
    faults: Annotated[str, typer.Option(help="Which faults, comma-separated.")] = ",".join(KINDS),
    every: Annotated[float, typer.Option(min=0.5, help="Seconds from one fault to the next, on average.")] = EVERY,
    plan: Annotated[bool, typer.Option("--plan", help="Print the faults and do nothing.")] = False,
    lines: Annotated[Path | None, typer.Option(dir_okay=False, help="File for what the services print.")] = None,
) -> None:
    """Disturb a stack of its own under load, then look whether anything was lost, doubled or left behind.

    Ends with status 1 when a rule was broken.
    """
    kinds = [kind.strip() for kind in faults.split(",") if kind.strip()]
    if unknown := set(kinds) - set(KINDS):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))}: known are {', '.join(KINDS)}", param_hint="--faults")
    seed = secrets.randbelow(2**31) if seed is None else seed
    if plan:
        for fault in schedule(seed, minutes * 60, kinds, every=every):
            typer.echo(str(fault))
        return
    # The driver's own clients tell at every attempt that Kafka cannot be reached, which is what is done to them.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    outcome = asyncio.run(driver.run(seed=seed, seconds=minutes * 60, kinds=kinds, every=every, say=typer.echo, lines=lines))
    report.show(
        outcome.seen,
        outcome.judgement,
        outcome.report,
        seed=seed,
        seconds=minutes * 60,
        quiet_after=outcome.quiet_after,
    )
    if outcome.judgement.violations:
        again = f"--seed {seed} --minutes {minutes:g} --every {every:g} --faults {','.join(kinds)}"
        typer.echo(f"reproduce with: make chaos ARGS='{again}'")
        raise typer.Exit(1)


typer.run(main)
