"""`wf verify` and `wf rebuild`: the documents against the log."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any

import typer
from aiokafka.errors import KafkaError
from rich.console import Console
from rich.table import Table

from apps.cli.progress import Bars
from apps.projection.log import Log, LogUnreachable
from apps.projection.rebuild import Rebuilt
from apps.projection.rebuild import rebuild as write_anew
from apps.projection.scratch import Scratch
from apps.projection.verify import Finding, Report, Verification
from apps.settings import ServiceSettings
from domain.identifiers import is_workflow_id
from domain.instants import instant
from store.client import MongoStore
from store.interfaces import StoreUnavailable

DIFFERENT = 2
UNREACHABLE = 5
REFUSED = 3
SHOWN = 50
_TOO_LONG = 70

Kafka = Annotated[
    str | None, typer.Option("--kafka", envvar="KAFKA_BOOTSTRAP", help="Kafka brokers, host:port[,host:port].")
]
Mongo = Annotated[str | None, typer.Option("--mongodb", envvar="MONGODB_URL", help="MongoDB connection string.")]
Database = Annotated[str | None, typer.Option("--database", envvar="MONGODB_DATABASE", help="Name of the database.")]
Workflow = Annotated[str | None, typer.Option("--workflow", help="Only the executions of this workflow.")]
ScratchDir = Annotated[
    Path | None,
    typer.Option(
        "--scratch", exists=True, file_okay=False, help="Where the temporary file goes; about the size of the two topics."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")]


@dataclass
class Target:
    """Where to look."""

    settings: ServiceSettings
    workflow_id: str | None
    scratch: Path | None


@contextlib.asynccontextmanager
async def _verification(target: Target, bars: Bars) -> AsyncIterator[tuple[Verification, MongoStore]]:
    settings = target.settings
    store = MongoStore(
        settings.mongodb_url,
        settings.mongodb_database,
        timeout=max(settings.mongodb_timeout, 30.0),
        retention_days=settings.retention_days,
    )
    consumer = Log.consumer(settings.kafka_bootstrap)
    try:
        await store.start()
        await consumer.start()
        log = Log(consumer, workflow_id=target.workflow_id)
        await log.assign()
        with Scratch(target.scratch) as scratch:
            yield (
                Verification(
                    log=log,
                    documents=store.executions,
                    scratch=scratch,
                    progress=bars,
                    workflow_id=target.workflow_id,
                    expired_before=datetime.now(timezone.utc) - timedelta(days=settings.retention_days),
                ),
                store,
            )
    finally:
        await consumer.stop()
        await store.stop()


def verify(
    workflow: Workflow = None,
    kafka: Kafka = None,
    mongodb: Mongo = None,
    database: Database = None,
    scratch: ScratchDir = None,
    as_json: AsJson = False,
) -> None:
    """Fold both topics from the beginning and report every execution whose document differs.

    Ends with status 0 when nothing differs, 2 when something does, 5 when Kafka or MongoDB cannot be reached. The services
    may run meanwhile.
    """
    target = _target(workflow, kafka, mongodb, database, scratch)

    async def work(bars: Bars) -> Report:
        async with _verification(target, bars) as (verification, _):
            return await verification.run(keep=SHOWN)

    report: Report = _carry_out(work, target)
    _print(report, as_json=as_json)
    raise typer.Exit(0 if report.is_clean else DIFFERENT)


def rebuild(
    workflow: Workflow = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be written; write nothing.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also while executions are open; those stay as they are unless they are missing.")
    ] = False,
    kafka: Kafka = None,
    mongodb: Mongo = None,
    database: Database = None,
    scratch: ScratchDir = None,
    as_json: AsJson = False,
) -> None:
    """Write every execution that the log covers as the log tells it, where its document differs or is missing.

    Ends with status 0 when the documents agree with the log afterwards, 2 when some were left (or, with --dry-run, would be
    written), 3 when executions are open and --force is not given, 5 when Kafka or MongoDB cannot be reached.
    """
    target = _target(workflow, kafka, mongodb, database, scratch)

    async def work(bars: Bars) -> tuple[Report, Rebuilt | None]:
        async with _verification(target, bars) as (verification, store):
            report = await verification.run(keep=SHOWN)
            if dry_run or (report.open and not force):
                return report, None
            if target.workflow_id is None:
                await store.ensure_indexes()
            done = await write_anew(
                verification,
                store.executions,
                progress=bars,
                differing=report.differing,
                now=instant(datetime.now(timezone.utc)),
            )
            return report, done

    report, done = _carry_out(work, target)
    _print(report, as_json=as_json, done=done, show_differences=dry_run)
    if done is None and not dry_run:
        _stderr().print(
            f"{report.open} executions are open: stop the services or let them finish, or give --force to rebuild the others"
        )
        raise typer.Exit(REFUSED)
    left = report.differing if done is None else report.differing - done.written
    raise typer.Exit(0 if left == 0 else DIFFERENT)


def _target(
    workflow: str | None, kafka: str | None, mongodb: str | None, database: str | None, scratch: Path | None
) -> Target:
    if workflow is not None and not is_workflow_id(workflow):
        raise typer.BadParameter(f"{workflow[:200]!r} is not a workflow id", param_hint="--workflow")
    given: dict[str, Any] = {"kafka_bootstrap": kafka, "mongodb_url": mongodb, "mongodb_database": database}
    settings = ServiceSettings(**{name: value for name, value in given.items() if value is not None})
    return Target(settings, workflow, scratch)


def _carry_out(work: Any, target: Target) -> Any:
    async def run() -> Any:
        with Bars() as bars:
            return await work(bars)

    try:
        return asyncio.run(run())
    except (KafkaError, OSError, asyncio.TimeoutError, LogUnreachable) as error:
        problem = f"Kafka at {target.settings.kafka_bootstrap} cannot be read: {error}"
    except StoreUnavailable as error:
        problem = f"MongoDB cannot be read: {error}"
    _stderr().print(problem)
    raise typer.Exit(UNREACHABLE)


def _stderr() -> Console:
    return Console(stderr=True, soft_wrap=True)


def _print(report: Report, *, as_json: bool, done: Rebuilt | None = None, show_differences: bool = True) -> None:
    if as_json:
        typer.echo(json.dumps(_as_json(report, done), default=str))
        return
    console = Console(soft_wrap=True, highlight=False)
    if report.findings and show_differences:
        table = Table("execution", "workflow", "field", "by the log", "stored", title="Differences", expand=False)
        for finding in report.findings:
            for difference in finding.differences:
                table.add_row(
                    finding.execution_id,
                    finding.workflow_id,
                    difference.field,
                    _short(difference.folded),
                    _short(difference.stored),
                )
        console.print(table)
        if report.differing > len(report.findings):
            console.print(f"… and {report.differing - len(report.findings)} more executions")
    console.print(
        f"{report.records} records: {report.clean} executions agree, {report.differing} differ, "
        f"{report.uncovered} are not covered by the log, {report.open} were open"
    )
    if done is not None:
        console.print(f"{done.written} written, of them {done.restored} open ones restored; {done.left} left as they are")


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else str(getattr(value, "value", value))
    return text if len(text) <= _TOO_LONG else text[: _TOO_LONG - 1] + "…"


def _as_json(report: Report, done: Rebuilt | None) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "records": report.records,
        "clean": report.clean,
        "differing": report.differing,
        "notCovered": report.uncovered,
        "open": report.open,
        "differences": [_finding(finding) for finding in report.findings],
    }
    if done is not None:
        answer["written"] = done.written
        answer["restored"] = done.restored
        answer["left"] = done.left
    return answer


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "executionId": finding.execution_id,
        "workflowId": finding.workflow_id,
        "fields": [
            {"field": each.field, "folded": _short(each.folded), "stored": _short(each.stored)}
            for each in finding.differences
        ],
    }
