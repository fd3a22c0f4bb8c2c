"""Workflow definitions in files, as the commands take them: what stands in them is read by :mod:`apps.definition_text`.

:func:`check` then tells what is wrong, by file, line and field.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from apps.cli.errors import ExitCode, WfError
from apps.definition_text import Document, Flaw, FlawedFile, documents, unsendable

STDIN = Path("-")
SUFFIXES = (".yaml", ".yml", ".json")


def read(paths: Iterable[Path]) -> tuple[list[Document], list[Flaw]]:
    """Return the definitions in files, in directories (recursively) and on stdin, and what is wrong with the files.

    Raises:
        WfError: a path does not exist or cannot be read, or a directory holds nothing.
    """
    found: list[Document] = []
    flaws: list[Flaw] = []
    for path in paths:
        for file in _files(path):
            name = "<stdin>" if file == STDIN else str(file)
            try:
                found += documents(name, _text(name, file), is_json=file.suffix == ".json")
            except FlawedFile as flawed:
                flaws.append(flawed.flaw)
    return found, [*flaws, *_given_twice(found)]


def in_order(flaws: Iterable[Flaw]) -> list[str]:
    """Return flaws as text, from the top of each file to its end."""
    return [str(flaw) for flaw in sorted(flaws, key=lambda flaw: (flaw.file, flaw.line or 0))]


def check(document: Document) -> list[Flaw]:
    """Return what is wrong with a definition, without asking the service."""
    from pydantic import ValidationError

    from actions.checking import Surroundings, problems, slips
    from actions.registry import WorkflowDefinition
    from actions.wording import all_told

    if flaws := unsendable(document):
        return flaws
    try:
        definition = WorkflowDefinition.model_validate(document.value)
    except ValidationError as error:
        found = all_told(error, document.value, WorkflowDefinition)
    else:
        found = [*problems(definition, Surroundings()), *slips(definition)]
    return [document.flaw(field, message) for field, message in found]


def check_id(document: Document) -> list[Flaw]:
    """Return what is wrong with the id alone: without one there is nothing to send the definition to."""
    from domain.identifiers import is_workflow_id

    if is_workflow_id(document.workflow_id):
        return []
    return [document.flaw("workflowId", "is not a workflow id" if "workflowId" in document.value else "is required")]


def is_same(mine: Mapping[str, Any], stored: Mapping[str, Any]) -> bool:
    """Tell whether a definition says what the service has stored; False where that cannot be told."""
    from pydantic import ValidationError

    from actions.registry import WorkflowDefinition

    names = {info.alias for info in WorkflowDefinition.model_fields.values()}
    theirs = {name: value for name, value in stored.items() if name in names}
    if isinstance(theirs.get("trigger"), dict):
        theirs["trigger"] = {name: value for name, value in theirs["trigger"].items() if name != "status"}
    try:
        # Compared as JSON: to Python true and 1 are equal.
        one, other = (
            json.dumps(WorkflowDefinition.model_validate(value).to_wire(), sort_keys=True) for value in (mine, theirs)
        )
    except ValidationError:
        return False
    return one == other


def _files(path: Path) -> Iterator[Path]:
    if path == STDIN or not path.is_dir():
        yield path
        return
    found = sorted(
        file
        for file in path.rglob("*")
        if file.suffix in SUFFIXES
        and file.is_file()
        and not any(part.startswith(".") for part in file.relative_to(path).parts)
    )
    if not found:
        raise WfError(f"{path} holds no definition", hint=f"Definitions are files named *{', *'.join(SUFFIXES)}.")
    yield from found


def _text(name: str, file: Path) -> str:
    try:
        raw = sys.stdin.buffer.read() if file == STDIN else file.read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WfError(f"cannot read {name}: {reason}", hint="Check the path.", code=ExitCode.USAGE) from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise FlawedFile(Flaw(name, line, "is not UTF-8; save the file in that encoding")) from None


def _given_twice(found: Iterable[Document]) -> Iterator[Flaw]:
    first: dict[str, Document] = {}
    for document in found:
        if document.workflow_id and document.workflow_id in first:
            other = first[document.workflow_id]
            place = f"{other.file}:{other.lines.get('workflowId', 1)}"
            yield document.flaw("workflowId", f"{document.workflow_id!r} is defined in {place} as well; keep one of them")
        first.setdefault(document.workflow_id, document)
