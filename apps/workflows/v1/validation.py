"""``POST /workflows/validate``: what is wrong with a definition, line by line, and its other notation; stores nothing.

An editor asks this while somebody types, so a definition that is wrong is an answer (200), not an error.
"""

from typing import Any, ClassVar, Final

from aiohttp import web

from actions.registry import WorkflowDefinition
from apps.cli.definition_files import FlawedFile, check, parse
from apps.cli.yaml12 import dump
from apps.operations import Answer, Operation
from apps.workflows import answers
from apps.workflows.bodies import read_text
from apps.workflows.problems import SHOWN_ERRORS
from apps.workflows.views import Resource

NOTATIONS: Final = ("definition", "written", "yaml", "concise")
YAML: Final = frozenset({"application/yaml", "application/x-yaml", "text/yaml"})


class Validation(Resource):
    """Validates a definition in JSON or YAML."""

    view_name = "workflow-validate"
    view_path = "/workflows/validate"
    operations: ClassVar = {
        "post": Operation(
            "validateWorkflow",
            "Check a definition in JSON or YAML, and store nothing",
            {200: Answer("What is wrong with it, and its other notation.", answers.Validated)},
            body=WorkflowDefinition,
            uses_database=False,
            takes_key=False,
            changes=False,
        )
    }

    async def post(self, request: web.Request) -> web.Response:
        """Return whether a definition is valid: if so in both notations, else with what is wrong."""
        text = await read_text(request, also=YAML)
        return self.answer(validate(text, is_json=request.content_type not in YAML))


def validate(text: str, *, is_json: bool) -> dict[str, Any]:
    """Return what an editor shows of ``text``."""
    try:
        documents = parse("definition", text, is_json=is_json)
    except FlawedFile as flawed:
        return _answer([{"field": flawed.flaw.field, "message": flawed.flaw.message, "line": flawed.flaw.line}])
    if len(documents) > 1:
        return _answer([{"field": "", "message": "holds several definitions; keep one of them", "line": None}])
    (document,) = documents
    flaws = check(document)
    if flaws:
        return _answer([{"field": each.field, "message": each.message, "line": each.line} for each in flaws])
    definition = WorkflowDefinition.model_validate(document.value)
    return {
        "valid": True,
        "errors": [],
        "definition": definition.to_wire(),
        # Both as written, without the defaults that the definition spells out.
        "written": document.value,
        "yaml": dump(document.value),
        # For what was stored, and so does spell them out.
        "concise": dump(definition.to_concise()),
    }


def _answer(errors: list[dict[str, Any]]) -> dict[str, Any]:
    return {"valid": False, "errors": errors[:SHOWN_ERRORS], **dict.fromkeys(NOTATIONS)}


VIEWS: Final[tuple[Any, ...]] = (Validation,)
