"""`wf verify` and `wf rebuild`: the documents against the log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from apps.cli import output
from apps.cli.environment import said, service_settings
from apps.cli.errors import ExitCode, Unreachable, WfError
from apps.cli.options import Format, Json, Output, chosen

if TYPE_CHECKING:  # read only when a command runs: the drivers of Kafka and MongoDB take longer to load than most commands
    from apps.cli.progress import Bars
    from apps.projection.rebuild import Rebuilt
    from apps.projection.session import Target
    from apps.projection.verify import Finding, Report

T = TypeVar("T")

DIFFERENT = 2
SHOWN = 50
WHERE = "This command talks to Kafka and MongoDB itself: see --kafka and --mongodb."
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


def verify(
    workflow: Workflow = None,
    kafka: Kafka = None,
    mongodb: Mongo = None,
    database: Database = None,
    scratch: ScratchDir = None,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Compare every execution in the database with what the event log tells of it.

    Exit code 0 where nothing differs, 2 where something does. The services may run meanwhile. Set RETENTION_DAYS here as the
    services have it: by a longer one, what they have removed counts as missing.
    """
    from apps.projection import session

    form = chosen(output_format, as_json)
    target = _target(workflow, kafka, mongodb, database, scratch)
    report = _carry_out(lambda bars: session.verify(target, bars, keep=SHOWN))
    _print(report, form)
    if not report.is_clean:
        if form is Format.TABLE:
            output.note("What `wf rebuild` would write: wf rebuild --dry-run")
        raise typer.Exit(DIFFERENT)


def rebuild(
    workflow: Workflow = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what differs and what of it would be written; write nothing.")
    ] = False,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also while executions are open; those stay as they are unless they are missing or behind."
        ),
    ] = False,
    kafka: Kafka = None,
    mongodb: Mongo = None,
    database: Database = None,
    scratch: ScratchDir = None,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Write executions anew from the event log, where the database differs or lacks them.

    What is open is written where it is missing, and where the database has an earlier state of it, if no runner is at work.
    Exit code 0 where the database agrees with the log afterwards, 2 where some were left (or, with --dry-run, differ), 3
    where executions are open and --force is not given. Set RETENTION_DAYS here as the services have it: by a longer one,
    what they have removed counts as missing and is written again.
    """
    from apps.projection import session

    form = chosen(output_format, as_json)
    target = _target(workflow, kafka, mongodb, database, scratch)
    report: Report
    done: Rebuilt | None = None
    if dry_run:
        report = _carry_out(lambda bars: session.verify(target, bars, keep=SHOWN))
    else:
        report, done = _carry_out(lambda bars: session.verify_and_rebuild(target, bars, keep=SHOWN, force=force))
    _print(report, form, done=done, show_differences=dry_run)
    if done is None and not dry_run:
        raise WfError(
            f"{report.open} executions are open; nothing was written",
            hint="Let them finish, or give --force to rebuild the others.",
            code=ExitCode.CONFLICT,
        )
    left = report.differing if done is None else report.differing - done.written
    raise typer.Exit(0 if left == 0 else DIFFERENT)


def _target(
    workflow: str | None, kafka: str | None, mongodb: str | None, database: str | None, scratch: Path | None
) -> Target:
    from apps.projection.session import Target
    from domain.identifiers import is_workflow_id

    if workflow is not None and not is_workflow_id(workflow):
        raise typer.BadParameter(f"{workflow[:200]!r} is not a workflow id", param_hint="--workflow")
    settings = service_settings(kafka_bootstrap=kafka, mongodb_url=mongodb, mongodb_database=database)
    return Target(settings, workflow, scratch)


def _carry_out(work: Callable[[Bars], Awaitable[T]]) -> T:
    from apps.cli.kafka_refusals import collected
    from apps.cli.progress import Bars
    from apps.projection.session import Unreachable as CannotRead

    async def run() -> T:
        with Bars() as bars:
            return await work(bars)

    with collected() as refusals:
        try:
            return asyncio.run(run())
        except CannotRead as error:
            if refusals:
                raise Unreachable(f"Kafka cannot be read: {refusals}", hint=f"{refusals.mend} {WHERE}") from None
            raise Unreachable(said(error), hint=WHERE) from None


def _print(report: Report, form: Format, *, done: Rebuilt | None = None, show_differences: bool = True) -> None:
    if form is not Format.TABLE:
        output.data(_as_data(report, done), form)
        return
    if show_differences:
        for finding in report.findings:
            output.render(output.styled(f"{finding.execution_id} of {output.printable(finding.workflow_id)}", "bold"))
            output.facts(
                (f"  {each.field}", f"{_short(each.stored)}; by the log {_short(each.folded)}")
                for each in finding.differences
            )
            if not finding.can_be_rebuilt:
                output.line(f"  wf rebuild leaves it as it is: {_why_left(finding)}")
        if report.differing > len(report.findings):
            output.line(f"… and {report.differing - len(report.findings)} more executions")
    output.line(
        f"{report.records} records: {report.clean} executions agree, {report.differing} differ, "
        f"{report.uncovered} are not covered by the log, {report.open} were open"
    )
    if done is not None:
        output.line(f"{done.written} written, of them {done.restored} open ones restored; {done.left} left as they are")
        for execution in done.unplaced:
            output.note(
                f"Open by the log, without a place: {execution.execution_id} of {output.printable(execution.workflow_id)}; "
                "others of its workflow have begun since."
            )
        if done.unknown_versions:
            missing = ", ".join(
                f"{output.printable(workflow_id)} version {number}" for workflow_id, number in sorted(done.unknown_versions)
            )
            output.note(f"Not in the database, and needed by what is open: {missing}.")
            output.note("Start the API alone and `wf apply` them before schedulers and runners start: else it fails.")


def _why_left(finding: Finding) -> str:
    if finding.is_behind and finding.told.complete:
        return "it is open, and runners are at work"
    return "it is open, or the log says too little of it"


def _short(value: Any) -> str:
    text = value.isoformat() if isinstance(value, datetime) else str(getattr(value, "value", value))
    return text if len(text) <= _TOO_LONG else text[: _TOO_LONG - 1] + "…"


def _as_data(report: Report, done: Rebuilt | None) -> dict[str, Any]:
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
        answer["withoutPlace"] = [
            {"executionId": each.execution_id, "workflowId": each.workflow_id} for each in done.unplaced
        ]
        answer["missingVersions"] = [
            {"workflowId": workflow_id, "version": number} for workflow_id, number in sorted(done.unknown_versions)
        ]
    return answer


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "executionId": finding.execution_id,
        "workflowId": finding.workflow_id,
        "canBeRebuilt": finding.can_be_rebuilt,
        "fields": [
            {"field": each.field, "folded": _short(each.folded), "stored": _short(each.stored)}
            for each in finding.differences
        ],
    }
