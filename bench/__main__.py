"""``python -m bench``: runs the scenarios and writes ``bench/results/``: JSON, a table, a plot, and flame graphs if wanted.

On a standalone stack, unless ``KAFKA_BOOTSTRAP`` and ``MONGODB_URL`` name servers for the services to use.
"""

import argparse
import asyncio
import json
import shutil
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from apps.standalone.errors import StandaloneError
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import GivenServers, Stack, on_free_ports
from bench import history, measure
from bench.scenarios import GOALS, SCENARIOS

RESULTS = Path(__file__).parent / "results"
USUAL = [name for name in SCENARIOS if name != "scaling" and not name.startswith("bare-")]
PROFILED = 15  # seconds
console = Console(stderr=True)

Found = dict[str, dict[str, list[float]]]


async def run(given: argparse.Namespace) -> Found:
    """Run the scenarios in turn, several times, on one stack; return every figure."""
    found: Found = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        settings = on_free_ports(StandaloneSettings(data_dir=Path(place)))
        servers = GivenServers.of_environment()
        async with (
            Stack(settings, servers=servers, progress=console.print) as stack,
            aiohttp.ClientSession() as session,
        ):
            names = ["http-64"] if given.flat else given.scenario or USUAL
            await _run_all(names, stack, session, given, found)
            if given.flat:
                await asyncio.to_thread(
                    history.fill, stack.mongodb_url, measure.DATABASE, given.stored_executions, given.stored_workflows
                )
                full: Found = defaultdict(lambda: defaultdict(list))
                await _run_all(names, stack, session, given, full)
                found["http-64, full store"] = full["http-64"]
                found["flat"]["% of the empty store's"] = [
                    100 * after / before
                    for before, after in zip(found["http-64"]["finished/s"], full["http-64"]["finished/s"], strict=True)
                ]
    return found


async def _run_all(
    names: Sequence[str], stack: Stack, session: aiohttp.ClientSession, given: argparse.Namespace, found: Found
) -> None:
    for number in range(1, given.runs + 1):
        for name in names:
            console.print(f"run {number} of {given.runs}: {name}")
            async with _profiled(stack, name, given.profile and number == given.runs):
                figures = await SCENARIOS[name](stack, session, given.scale)
            for figure, value in figures.items():
                found[name][figure].append(value)


@asynccontextmanager
async def _profiled(stack: Stack, name: str, wanted: bool) -> AsyncIterator[None]:
    """Have py-spy look at the three services while a scenario runs."""
    program = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if wanted and program is None:
        raise SystemExit("profiles are made by py-spy: pip install py-spy")
    spies = []
    if wanted:
        RESULTS.mkdir(exist_ok=True)
        for kind, processes in measure.kinds(stack).items():
            if kind in measure.SERVICES:
                path = RESULTS / f"{name}-{kind}.svg"
                arguments = ["record", "--pid", str(processes[0].pid), "--duration", str(PROFILED), "--output", str(path)]
                spies.append(
                    await asyncio.create_subprocess_exec(
                        str(program), *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
                    )
                )
    yield
    for spy in spies:
        await spy.wait()


def summarised(found: Found) -> dict[str, Any]:
    """Return the medians with their spread."""
    return {
        name: {figure: {**measure.spread(values), "runs": values} for figure, values in figures.items()}
        for name, figures in found.items()
    }


def verdict(name: str, figure: str, median: float) -> str:
    """Return how a median stands to its goal."""
    if (name, figure) not in GOALS:
        return ""
    sign, goal = GOALS[name, figure]
    reached = median >= goal if sign == "≥" else median <= goal
    return f"{'✓' if reached else '✗'} {sign} {goal:g}"


def show(results: dict[str, Any]) -> None:
    """Print the table."""
    table = Table(title="Median (min to max)", box=None)
    for column in ("scenario", "figure"):
        table.add_column(column)
    for column in ("median", "spread"):
        table.add_column(column, justify="right")
    table.add_column("goal")
    for name, figures in results.items():
        for figure, value in figures.items():
            table.add_row(
                name, figure, f"{value['median']:.2f}", f"{value['min']:.2f} to {value['max']:.2f}",
                verdict(name, figure, value["median"]),
            )  # fmt: skip
    Console().print(table)


def plot(results: dict[str, Any], path: Path) -> None:
    """Draw throughput and CPU cost per execution, where matplotlib is installed."""
    try:
        import matplotlib
    except ModuleNotFoundError:
        console.print("no plot: pip install matplotlib")
        return
    matplotlib.use("svg")
    from matplotlib import pyplot

    rates = {name: figures["finished/s"] for name, figures in results.items() if "finished/s" in figures}
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 3.5), layout="constrained")
    left.barh(list(rates), [rate["median"] for rate in rates.values()])
    left.set_title("executions finished per second")
    bottoms = dict.fromkeys(rates, 0.0)
    for kind in (*measure.SERVICES, "kafka", "mongodb"):
        costs = [results[name].get(f"CPU ms per execution, {kind}", {"median": 0})["median"] for name in rates]
        right.barh(list(rates), costs, left=list(bottoms.values()), label=kind)
        bottoms = {name: bottom + cost for (name, bottom), cost in zip(bottoms.items(), costs, strict=True)}
    right.set_title("CPU ms per execution")
    right.legend(fontsize="small")
    figure.savefig(path)


def read_arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the system on the standalone stack.")
    parser.add_argument(
        "--scenario",
        action="append",
        choices=list(SCENARIOS),
        help="Only this one; may be repeated. All but scaling and bare-… otherwise.",
    )
    parser.add_argument("--runs", type=int, default=5, help="How often each is run.")
    parser.add_argument("--scale", type=float, default=1, help="Multiplies the number of executions.")
    parser.add_argument("--flat", action="store_true", help="http-64 on an empty store, then on a full one.")
    parser.add_argument("--stored-executions", type=int, default=1_000_000, help="How full, with --flat.")
    parser.add_argument("--stored-workflows", type=int, default=100_000, help="How full, with --flat.")
    parser.add_argument("--profile", action="store_true", help="Write flame graphs of the services' last run.")
    parser.add_argument("--name", default="latest", help="Name of the files in bench/results/.")
    return parser.parse_args()


def main() -> None:
    """Run what the arguments say."""
    given = read_arguments()
    before = measure.pace()
    try:
        results = summarised(asyncio.run(run(given)))
    except StandaloneError as error:
        sys.exit(f"error: {error}")
    RESULTS.mkdir(exist_ok=True)
    document = {
        "at": datetime.now(timezone.utc).isoformat(),
        "machine": measure.machine(),
        "pace before": before,
        "pace after": measure.pace(),
        "results": results,
    }
    (RESULTS / f"{given.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    plot(results, RESULTS / f"{given.name}.svg")
    show(results)
    sys.stdout.write(f"pace of the machine: {before}\nwritten: bench/results/{given.name}.json\n")


if __name__ == "__main__":
    main()
