"""What is printed in the end."""

from collections import Counter
from datetime import datetime, timezone

from rich.console import Console
from rich.table import Table

from apps.projection.verify import Report
from chaos.checker import Evidence, Judgement, Violation, summary

SHOWN = 10


def show(seen: Evidence, judgement: Judgement, report: Report, *, seed: int, seconds: float, quiet_after: float) -> None:
    """Print the tables, and a trace of each violation."""
    console = Console(soft_wrap=True, highlight=False)
    faults = Table("fault", "times", "worst recovery", "median recovery", title=f"Faults (seed {seed}, {seconds:.0f} s)")
    times = Counter(fault.name for fault in seen.faults)
    for name, count in sorted(times.items()):
        worst, middle = summary(judgement.recovery[name])
        faults.add_row(name, str(count), f"{worst:.1f} s", f"{middle:.1f} s")
    worst, middle = summary([value for values in judgement.recovery.values() for value in values])
    faults.add_row("all", str(len(seen.faults)), f"{worst:.1f} s", f"{middle:.1f} s", style="bold")
    console.print(faults)
    figures = Table(show_header=False, title="Executions")
    for name, value in (
        ("promised to a caller", len(seen.accepted)),
        ("in all", len(seen.executions)),
        *sorted(judgement.statuses.items()),
        *((f"ticks {name}", count) for name, count in sorted(judgement.ticks.items())),
        ("signals accepted", len(seen.told)),
        *((f"with handlers, {word}", count) for word, count in sorted(judgement.handlers.items())),
        ("records published", len(seen.published)),
        ("executions started by them", judgement.started_by_records),
        ("dead letters of them", judgement.dead_letters),
        ("not read before the broker was wiped", judgement.unread_in_the_log),
        ("requests received", len(seen.requests)),
        ("repeated after an interruption", judgement.repeats),
        ("sent late by a runner that came to", judgement.late),
        ("requests lost with a wiped broker", judgement.lost_with_the_log),
        ("verified against the log", report.clean),
        ("older than the wiped log", report.uncovered),
        ("lost", sum(violation.rule.startswith("every admitted") for violation in judgement.violations)),
        ("quiet after", f"{quiet_after:.1f} s"),
        ("violations", len(judgement.violations)),
    ):
        figures.add_row(name, str(value))
    console.print(figures)
    for violation in judgement.violations[:SHOWN]:
        trace(console, violation, seen)
    if len(judgement.violations) > SHOWN:
        console.print(f"… and {len(judgement.violations) - SHOWN} more violations")


def trace(console: Console, violation: Violation, seen: Evidence) -> None:
    """Print what is known of the execution that a rule was broken by."""
    console.print(f"VIOLATION: {violation.rule}: {violation.execution_id} {violation.what}", style="bold red")
    if not violation.execution_id:
        return
    lines: list[tuple[float, str]] = []
    for promise in seen.accepted:
        if promise.execution_id == violation.execution_id:
            lines.append((promise.at, f"promised: {promise.how} {promise.workflow_id}"))
    for request in seen.requests:
        if request.execution_id == violation.execution_id:
            took = f"{request.ended - request.began:.3f} s" if request.ended else "never answered"
            what = f"{request.key} epoch {request.epoch} attempt {request.attempt}"
            lines.append((request.began, f"request {what}: {request.status}, {took}"))
    for record in seen.records.get(violation.execution_id, ()):
        fields = {name: value for name, value in record.asdict().items() if value not in (None, [], "")}
        at = fields.get("finished_at") or fields.get("at") or fields.get("requested_at")
        fields = {k: v for k, v in fields.items() if k not in ("workflow_id", "execution_id", "logs", "event", "version")}
        lines.append((at.timestamp() if at else 0.0, f"{type(record).__name__} {fields}"))
    if lines:
        first, last = min(at for at, _ in lines), max(at for at, _ in lines)
        for fault in seen.faults:
            if fault.ended >= first - 20 and fault.began <= last + 40:
                lines.append((fault.began, f"FAULT {fault.name} until {_clock(fault.ended)}"))
    for at, line in sorted(lines):
        console.print(f"  {_clock(at)} {line}")
    console.print(f"  stored: {seen.executions.get(violation.execution_id)}")


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).strftime("%H:%M:%S.%f")[:-3]
