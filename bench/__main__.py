"""``python -m bench``: runs the scenarios and writes ``bench/results/``: JSON, a table, a plot."""

import argparse
import asyncio
import json
import sys
import tempfile
from collections import defaultdict
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import aiohttp
from rich.console import Console
from rich.table import Table

from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports
from bench import history, measure
from bench.scenarios import GOALS, SCENARIOS, machine
from store.client import MongoStore

RESULTS = Path(__file__).parent / "results"
console = Console(stderr=True)


async def run(names: list[str], runs: int, scale: int, stored: int, workflows: int) -> dict[str, Any]:
    """Run the scenarios in turn, ``runs`` times, on one standalone stack; return every figure."""
    found: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        settings = on_free_ports(StandaloneSettings(data_dir=Path(place)))
        async with Stack(settings, progress=console.print) as stack, aiohttp.ClientSession() as session:
            if stored or workflows:
                store = MongoStore(stack.mongodb_url, "workflows")
                await history.fill(store, stored, workflows or 1)
                await store.stop()
            for number in range(1, runs + 1):
                for name in names:
                    console.print(f"run {number} of {runs}: {name}")
                    for figure, value in (await SCENARIOS[name](stack, session, scale)).items():
                        found[name][figure].append(value)
    return {name: {figure: {**measure.spread(values), "runs": values} for figure, values in figures.items()}
            for name, figures in found.items()}  # fmt: skip


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
    for kind in ("api", "scheduler", "runner", "kafka", "mongodb"):
        costs = [results[name].get(f"CPU ms per execution, {kind}", {"median": 0})["median"] for name in rates]
        right.barh(list(rates), costs, left=list(bottoms.values()), label=kind)
        bottoms = {name: bottom + cost for (name, bottom), cost in zip(bottoms.items(), costs, strict=True)}
    right.set_title("CPU ms per execution")
    right.legend(fontsize="small")
    figure.savefig(path)


def main() -> None:
    """Run what the arguments say."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure the system on the standalone stack.")
    parser.add_argument(
        "--scenario", action="append", choices=list(SCENARIOS), help="Only these; all but scaling otherwise."
    )
    parser.add_argument("--runs", type=int, default=5, help="How often each is run.")
    parser.add_argument("--scale", type=int, default=1, help="Multiplies the number of executions.")
    parser.add_argument("--stored-executions", type=int, default=0, help="Fill the history first, as in 1000000.")
    parser.add_argument("--stored-workflows", type=int, default=0, help="Fill the workflows first, as in 100000.")
    parser.add_argument("--name", default="latest", help="Name of the files in bench/results/.")
    given = parser.parse_args()
    names = given.scenario or [name for name in SCENARIOS if name != "scaling"]
    results = asyncio.run(run(names, given.runs, given.scale, given.stored_executions, given.stored_workflows))
    RESULTS.mkdir(exist_ok=True)
    stored = {"executions": given.stored_executions, "workflows": given.stored_workflows}
    document = {"at": datetime.now(timezone.utc).isoformat(), "machine": machine(), "stored": stored, "results": results}
    (RESULTS / f"{given.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    plot(results, RESULTS / f"{given.name}.svg")
    show(results)
    sys.stdout.write(f"written: bench/results/{given.name}.json\n")


if __name__ == "__main__":
    main()
