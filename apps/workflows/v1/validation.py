"""``POST /workflows/validate``: what is wrong with a definition, line by line, and its other notation; stores nothing.

An editor asks this while somebody types, so a definition that is wrong is an answer (200), not an error. What could not be
stored is wrong, whatever the reason: secrets, variables and the schedule so far are looked up, as when it is stored.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, Final

from aiohttp import web

from actions.checking import needs
from actions.registry import WorkflowDefinition
from apps.definition_text import Document, Flaw, FlawedFile, documents, unsendable
from apps.operations import Answer, Operation
from apps.workflows.answers.validation import Validated
from apps.workflows.bodies import read_text
from apps.workflows.definitions import check_schedule
from apps.workflows.errors import BadRequest, FieldError
from apps.workflows.problems import SHOWN_ERRORS
from apps.workflows.surroundings import unstartable
from apps.workflows.v1.workflows import as_definition
from apps.workflows.views import Resource
from apps.yaml12 import dump

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
            {200: Answer("What is wrong with it, and its other notation.", Validated)},
            body=WorkflowDefinition,
            takes_key=False,
            changes=False,
        )
    }

    async def post(self, request: web.Request) -> web.Response:
        """Return whether a definition could be stored: if so in both notations, else with what is wrong."""
        text = await read_text(request, also=YAML)
        try:
            # A large text takes seconds, in which the service answers others as well.
            document, *more = await asyncio.to_thread(_documents, text, request.content_type not in YAML)
        except FlawedFile as flawed:
            return self.answer(_refused([flawed.flaw]))
        if more:
            return self.answer(_refused([Flaw("", None, "holds several definitions; keep one of them")]))
        if flaws := unsendable(document):
            return self.answer(_refused(flaws))
        try:
            definition = await as_definition(document.value, self.app)
            await check_schedule(definition, workflows=self.app.store.workflows, now=self.app.clock())
            warned = await unstartable(needs(definition), self.app.store.workflows)
        except BadRequest as refused:
            errors = refused.errors or [FieldError("", str(refused))]
            return self.answer(_refused([document.flaw(error.field, error.message) for error in errors]))
        return self.answer(
            {
                "valid": True,
                "errors": [],
                "warnings": [document.flaw(each["field"], each["message"]).to_wire() for each in warned],
                "definition": definition.to_wire(),
                # Both as written, without the defaults that the definition spells out.
                "written": document.value,
                "yaml": dump(document.value),
                # For what was stored, and so does spell them out.
                "concise": dump(definition.to_concise()),
            }
        )


def _documents(text: str, is_json: bool) -> list[Document]:
    return list(documents("definition", text, is_json=is_json))


def _refused(flaws: Sequence[Flaw]) -> dict[str, Any]:
    errors = [flaw.to_wire() for flaw in flaws[:SHOWN_ERRORS]]
    return {"valid": False, "errors": errors, "warnings": [], **dict.fromkeys(NOTATIONS)}


VIEWS: Final[tuple[Any, ...]] = (Validation,)
