"""Puts ``wf`` together: its commands, its exit codes, and how it fails."""

import contextlib
import io
import sys
import traceback
from pathlib import Path
from typing import Annotated

import typer

from apps.cli import (
    backfills,
    dead_letters,
    definitions,
    differences,
    doctor,
    dry_run,
    executions,
    logs,
    profiles,
    projection,
    schedules,
    secrets,
    signals,
    tokens,
    trigger,
    variables,
    versions,
    workflows,
)
from apps.cli.errors import ExitCode, WfError
from apps.cli.options import examples, exit_codes, given_by, section
from apps.cli.usage import UsageError, wrong_usage

app = typer.Typer(
    name="wf",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["--help", "-h"]},
)

_DEFINITION = (
    "workflowId: recurrent-workflow",
    "trigger: {type: periodic, interval: 10s}",
    "actions:",
    "  - {type: http-request, url: https://example.org, method: GET}",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"wf {version('workflow-automation')}")
        raise typer.Exit


@app.callback(
    epilog="\n".join(
        [
            examples(
                "wf up", "wf apply workflows/", "wf trigger nightly --wait --timeout 5m", "wf executions --status failed"
            ),
            exit_codes(),
        ]
    )
)
def wf(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
    token: Annotated[str, profiles.Token] = "",
    profile: Annotated[str, profiles.Profile] = "",
) -> None:
    """Define workflows, run them, and see what happened.

    Commands talk to the service at http://127.0.0.1:8081; --url, WF_URL and profiles name another.
    """
    is_named = given_by(context, "profile") == "COMMANDLINE"
    found = profiles.caller(token, profile, is_named=is_named)
    profiles.choose(found)
    if found.profile_url:
        context.default_map = profiles.defaults(context.command, found.profile_url)


DEFINITIONS, EXECUTIONS, SERVICE = "Definitions", "Executions", "Service"

app.command(
    "apply",
    rich_help_panel=DEFINITIONS,
    epilog="\n".join(
        [
            examples(
                "wf apply nightly.yaml",
                "wf apply workflows/ --json",
                "wf apply workflows/ --prune --prefix billing-",
                "cat nightly.yaml | wf apply -",
            ),
            section("A definition", *_DEFINITION),
        ]
    ),
)(definitions.apply)
app.command(
    "validate",
    rich_help_panel=DEFINITIONS,
    epilog=examples("wf validate nightly.yaml", "wf validate workflows/ && wf apply workflows/"),
)(definitions.validate)
app.command(
    "dry-run",
    rich_help_panel=DEFINITIONS,
    epilog=examples("""wf dry-run nightly.yaml --input '{"name": "Ada"}'""", "wf dry-run nightly.yaml --json"),
)(dry_run.dry_run)
app.command(
    "diff",
    rich_help_panel=DEFINITIONS,
    epilog=examples("wf diff workflows/", "wf diff workflows/ && echo nothing to apply"),
)(differences.diff)
app.command(
    "export",
    rich_help_panel=DEFINITIONS,
    epilog=examples("wf export nightly", "wf export --directory workflows/", "wf export --prefix billing- > billing.yaml"),
)(differences.export)
app.command(
    "list", rich_help_panel=DEFINITIONS, epilog=examples("wf list", "wf list --prefix billing- --json | jq '.[].workflowId'")
)(workflows.list_workflows)
app.command(
    "show", rich_help_panel=DEFINITIONS, epilog=examples("wf show nightly", "wf show nightly -o yaml > nightly.yaml")
)(workflows.show)
app.command("delete", rich_help_panel=DEFINITIONS, epilog=examples("wf delete nightly", "wf delete nightly --yes"))(
    workflows.delete
)
app.command(
    "versions",
    rich_help_panel=DEFINITIONS,
    epilog=examples("wf versions nightly", "wf versions nightly --diff", "wf versions nightly 3 > nightly.yaml"),
)(versions.versions)
app.command("rollback", rich_help_panel=DEFINITIONS, epilog=examples("wf rollback nightly 3"))(versions.rollback)
app.command("pause", rich_help_panel=DEFINITIONS, epilog=examples("wf pause nightly"))(schedules.pause)
app.command("resume", rich_help_panel=DEFINITIONS, epilog=examples("wf resume nightly"))(schedules.resume)
app.command(
    "occurrences",
    rich_help_panel=EXECUTIONS,
    epilog=examples("wf occurrences nightly", "wf occurrences nightly --json | jq '.[].disposition'"),
)(schedules.occurrences)
app.command("upcoming", rich_help_panel=EXECUTIONS, epilog=examples("wf upcoming", "wf upcoming --within 12h --json"))(
    schedules.upcoming
)
app.command(
    "backfill",
    rich_help_panel=EXECUTIONS,
    epilog="\n".join(
        [
            examples(
                "wf backfill nightly --from 2026-01-01T00:00:00Z --dry-run",
                "wf backfill nightly --from 7d --to 1d --rate 6/m",
                "wf backfill nightly --from 7d --yes --wait",
            ),
            exit_codes(),
        ]
    ),
)(backfills.backfill)
app.command(
    "backfills",
    rich_help_panel=EXECUTIONS,
    epilog=examples("wf backfills nightly", "wf backfills nightly --json | jq '.[0]'"),
)(backfills.backfills)
app.command(
    "cancel-backfill",
    rich_help_panel=EXECUTIONS,
    epilog=examples("wf cancel-backfill nightly", 'wf cancel-backfill nightly --reason "wrong month"'),
)(backfills.cancel_backfill)
app.command(
    "trigger",
    rich_help_panel=EXECUTIONS,
    epilog="\n".join(
        [
            examples(
                "wf trigger nightly",
                "wf trigger nightly --wait --timeout 5m && echo done",
                "wf trigger nightly --follow",
                """wf trigger nightly --input '{"name": "Ada"}'""",
                "wf trigger ship --reference order-17",
                'wf trigger deploy --wait --key "$CI_PIPELINE_ID"',
            ),
            exit_codes(),
        ]
    ),
)(trigger.trigger)
app.command("retry", rich_help_panel=EXECUTIONS, epilog=examples(*trigger.examples_of("retry")))(trigger.retry)
app.command("run-again", rich_help_panel=EXECUTIONS, epilog=examples(*trigger.examples_of("run-again")))(trigger.run_again)
app.command(
    "executions",
    rich_help_panel=EXECUTIONS,
    epilog=examples(
        "wf executions",
        "wf executions -w nightly --status failed --limit 5",
        "wf executions -w nightly --from 8d --to 6d",
        "wf executions --reference order-17",
        "wf executions --watch --json | jq .status",
    ),
)(executions.executions)
app.command(
    "execution",
    rich_help_panel=EXECUTIONS,
    epilog=examples("wf execution 01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f", "wf execution ID --json | jq .status"),
)(executions.execution)

app.command(
    "logs",
    rich_help_panel=EXECUTIONS,
    epilog=examples("wf logs 01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f", "wf logs -f 01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f"),
)(logs.logs)
app.add_typer(tokens.tokens, name="tokens", rich_help_panel=SERVICE)
app.command("audit", rich_help_panel=SERVICE, epilog=examples("wf audit", "wf audit --path /workflows/nightly --json"))(
    tokens.audit
)
app.command("doctor", rich_help_panel=SERVICE, epilog=examples("wf doctor", "wf doctor --api-only --json"))(doctor.doctor)
app.command(
    "cancel",
    rich_help_panel=EXECUTIONS,
    epilog=examples("wf cancel 01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f", 'wf cancel ID --reason "wrong month"'),
)(executions.cancel)
app.command(
    "signal",
    rich_help_panel=EXECUTIONS,
    epilog=examples(
        "wf signal 01985a3e-7c1b-7d2e-8f00-3b1a2c4d5e6f approved",
        """wf signal ID approved --payload '{"by": "Ada"}'""",
        "jq -n '{rows: 7}' | wf signal ID done --payload -",
    ),
)(signals.signal)
app.add_typer(dead_letters.app, name="dead-letters", rich_help_panel=EXECUTIONS)
app.command("verify", rich_help_panel=SERVICE, epilog=examples("wf verify", "wf verify --workflow nightly --json"))(
    projection.verify
)
app.command("rebuild", rich_help_panel=SERVICE, epilog=examples("wf rebuild --dry-run", "wf rebuild --workflow nightly"))(
    projection.rebuild
)


app.add_typer(secrets.commands(), name="secrets", rich_help_panel=SERVICE)
app.add_typer(variables.commands(), name="vars", rich_help_panel=SERVICE)


# The options are those of apps.cli.up.up, which is read only when it is run: it needs the packages of the standalone extra.
@app.command(
    "up",
    rich_help_panel=SERVICE,
    add_help_option=False,
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []},
)
def up(context: typer.Context) -> None:
    """Start Kafka, MongoDB and the three services here, until Ctrl-C."""
    try:
        from apps.cli.up import app as alone
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ("apps", "actions", "domain", "events", "store"):
            raise
        raise WfError(
            f"`wf up` needs the package {error.name}",
            hint="Install what it needs: pip install 'workflow-automation[standalone]'",
        ) from None
    raise typer.Exit(alone(args=context.args, prog_name=context.command_path, standalone_mode=False) or ExitCode.OK)


def main() -> None:
    """Run ``wf`` and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that cannot show a character gets its code, not a traceback.
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(app(prog_name="wf", standalone_mode=False) or ExitCode.OK)
    except WfError as error:
        _fail(error)
    except UsageError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            typer.echo(error.format_message(), err=True)
            sys.exit(error.exit_code)
        _fail(wrong_usage(error))
    except typer.Abort:  # at a question
        _fail(WfError("interrupted", code=ExitCode.INTERRUPTED))
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        _fail(WfError(f"wf is broken: {type(error).__name__} at {place}: {error}", hint="Please report this as a defect."))


def _fail(failure: WfError) -> None:
    from apps.cli import output

    with contextlib.suppress(BrokenPipeError):
        output.error(failure.message, failure.details, failure.hint)
    sys.exit(failure.code)


if __name__ == "__main__":
    main()
