"""``wf dry-run``: what a definition in a file would do, without a service and without sending anything."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

import typer

from apps.cli import output
from apps.cli.errors import ExitCode, WfError
from apps.cli.inputs import Input, read_json_object
from apps.cli.options import Format, Json, Output, chosen


def dry_run(
    file: Annotated[Path, typer.Argument(metavar="FILE", show_default=False, help="A file with one definition, or -.")],
    given: Input = None,
    actions: Annotated[
        str | None,
        typer.Option(
            "--actions",
            metavar="JSON",
            show_default=False,
            help='What actions are taken to have answered, by id: \'{"call": {"output": {"json": {"id": 1}}}}\', or @FILE.',
        ),
    ] = None,
    variables: Annotated[
        str | None,
        typer.Option(
            "--vars",
            metavar="JSON",
            show_default=False,
            help="""The variables, by name: '{"BASE_URL": "https://example.org"}', or @FILE.""",
        ),
    ] = None,
    output_format: Output = Format.TABLE,
    as_json: Json = False,
) -> None:
    """Render and check everything in a definition, and send nothing.

    Whether the secrets that it names are set is for the service to say, and the same of variables where --vars is not given.
    """
    from apps.cli import definition_files

    form = chosen(output_format, as_json)
    documents, flaws = definition_files.read([file])
    for document in documents:
        flaws += definition_files.check(document)
    if flaws or len(documents) != 1:
        raise WfError(
            "the definition is not valid" if flaws else f"{file} holds {len(documents)} definitions; a dry run takes one",
            details=definition_files.in_order(flaws),
            hint="Mend these places and try again." if flaws else "",
            code=ExitCode.FAILED,
        )
    from actions.checking import Surroundings
    from actions.dry_run import bad_answers
    from actions.dry_run import dry_run as run
    from actions.registry import WorkflowDefinition
    from domain.identifiers import execution_id
    from domain.instants import instant, written

    definition = WorkflowDefinition.model_validate(documents[0].value)
    answers = read_json_object(actions, "--actions")
    wrong = bad_answers(definition, answers)
    if wrong:
        raise WfError("--actions is not valid", details=[f"{field}: {what}" for field, what in wrong], code=ExitCode.USAGE)
    now = instant(datetime.now(timezone.utc))
    found: dict[str, Any] = run(
        definition,
        given=read_json_object(given, "--input"),
        answers=answers,
        execution={
            "id": execution_id(now, bytes(10)), "workflowId": definition.workflow_id, "version": 0, "attempt": 1,
            "createdAt": written(now), "dueAt": None, "reference": None,
            "status": "ok", "failure": None,
        },
        around=Surroundings(variables=None if variables is None else read_json_object(variables, "--vars")),
    )  # fmt: skip
    if form is not Format.TABLE:
        output.data(found, form)
    else:
        if definition.reference is not None:
            output.line(f"reference: {found['reference'] or 'none, of this input'}")
        for step in found["steps"]:
            where = "" if step["list"] == "actions" else f" ({step['list']})"
            output.line(f"{step['actionId']}{where}: {step['result']}")
            if "rendered" in step:
                output.indented(json.dumps(step["rendered"], indent=2, ensure_ascii=False), 2)
            if "triggers" in step:
                output.indented(_in_words(step["triggers"]), 2)
            if "tokenFrom" in step:
                output.indented(f"would get a token from {step['tokenFrom']}, unless its runner has one", 2)
            if step.get("unknown"):
                output.indented(f"not known before it runs: {', '.join(step['unknown'])}", 2)
    if not found["valid"]:
        raise WfError(
            "it would not run",
            details=[f"{error['field']}: {error['message']}" for error in found["errors"]] if form is Format.TABLE else (),
        )


def _in_words(triggers: Mapping[str, Any]) -> str:
    count, inputs = triggers["count"], triggers["inputs"]
    first = f"; the first input: {json.dumps(inputs[0], ensure_ascii=False)}" if inputs else ""
    return f"would start {triggers['workflowId']} {'once' if count == 1 else f'{count} times'}{first}"
