"""Workflow definitions in files: YAML with one or several documents, or JSON with one object.

Life cycle of a file: its text is read; each document becomes plain JSON values plus the line of every field; what the
service adds to a definition when it shows one (version, times, status) is left out, so that ``wf show -o yaml`` can be
edited and applied; :func:`check` then tells what is wrong, by file, line and field.
"""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from apps.cli.errors import ExitCode, WfError
from apps.cli.yaml12 import Loader
from domain.json_values import DEEPEST, TOO_DEEP, odd_values, read_json

STDIN = Path("-")
SUFFIXES = (".yaml", ".yml", ".json")
_MOST_ODDITIES = 50  # that are told
_MOST_NODES = 200_000  # aliases counted as often as they are used: a few lines of YAML can stand for gigabytes
_JSON_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "map", "seq", "merge")
)


@dataclass(frozen=True)
class Flaw:
    """Something wrong in a file, shown as compilers do, so that editors and grep find the place."""

    file: str
    line: int | None
    message: str
    field: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.field}: {self.message}" if self.field else f"{place}: {self.message}"

    def to_wire(self) -> dict[str, Any]:
        """Return what is said of it to programs that know which file is meant."""
        return {"field": self.field, "message": self.message, "line": self.line}


class FlawedFile(Exception):
    """A file cannot be read any further."""

    def __init__(self, flaw: Flaw) -> None:
        super().__init__(str(flaw))
        self.flaw = flaw


@dataclass(frozen=True)
class Document:
    """One definition in a file."""

    file: str
    value: dict[str, Any]
    lines: Mapping[str, int] = field(repr=False)  # by path of the field, as in actions[0].url; "" is the document
    left_out: tuple[str, ...] = ()  # fields that the service sets

    @property
    def workflow_id(self) -> str:
        """The id as it is written; empty where it is missing."""
        found = self.value.get("workflowId")
        return found if isinstance(found, str) else ""

    def flaw(self, path: str, message: str) -> Flaw:
        """Return what is wrong with one field, at its line or else at the line of what holds it."""
        place = path
        while place and place not in self.lines:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return Flaw(self.file, self.lines.get(place), message, path)


def read(paths: Iterable[Path]) -> tuple[list[Document], list[Flaw]]:
    """Return the definitions in files, in directories (recursively) and on stdin, and what is wrong with the files.

    Raises:
        WfError: a path does not exist or cannot be read, or a directory holds nothing.
    """
    documents: list[Document] = []
    flaws: list[Flaw] = []
    for path in paths:
        for file in _files(path):
            name = "<stdin>" if file == STDIN else str(file)
            try:
                documents += _documents(name, _text(name, file), is_json=file.suffix == ".json")
            except FlawedFile as flawed:
                flaws.append(flawed.flaw)
    return documents, [*flaws, *_given_twice(documents)]


def parse(name: str, text: str, *, is_json: bool) -> list[Document]:
    """Return the definitions in a text that is called ``name``.

    Raises:
        FlawedFile: it cannot be read any further.
    """
    return list(_documents(name, text, is_json=is_json))


def in_order(flaws: Iterable[Flaw]) -> list[str]:
    """Return flaws as text, from the top of each file to its end."""
    return [str(flaw) for flaw in sorted(flaws, key=lambda flaw: (flaw.file, flaw.line or 0))]


def check(document: Document) -> list[Flaw]:
    """Return what is wrong with a definition, without asking the service."""
    from pydantic import ValidationError

    from actions.checking import Surroundings, problems, slips
    from actions.registry import WorkflowDefinition
    from apps.workflows.field_errors import field_errors

    if flaws := unsendable(document):
        return flaws
    try:
        definition = WorkflowDefinition.model_validate(document.value)
    except ValidationError as error:
        return [
            document.flaw(found.field, found.message) for found in field_errors(error, document.value, WorkflowDefinition)
        ]
    found = [*problems(definition, Surroundings()), *slips(definition)]
    return [document.flaw(field, message) for field, message in found]


def unsendable(document: Document) -> list[Flaw]:
    """Return the first of what the service takes in no body, whatever it means."""
    return [document.flaw(path, message) for path, message in islice(odd_values(document.value), _MOST_ODDITIES)]


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


def _documents(name: str, text: str, *, is_json: bool) -> Iterator[Document]:
    if is_json or text.lstrip().startswith("{"):
        try:
            yield _json_document(name, text)
            return
        except FlawedFile:
            # What begins like JSON may be YAML in braces.
            if is_json:
                raise
    yield from _yaml_documents(name, text)


def _json_document(name: str, text: str) -> Document:
    try:
        value = read_json(text, lambda key: _twice(name, key))
    except json.JSONDecodeError as error:
        raise FlawedFile(Flaw(name, error.lineno, f"is not JSON at column {error.colno}: {error.msg}")) from None
    except RecursionError:
        raise FlawedFile(Flaw(name, None, TOO_DEEP)) from None
    lines: Mapping[str, int] = {}
    # JSON is YAML but for rarities (tabs between tokens); then there are no lines to tell.
    with contextlib.suppress(yaml.YAMLError, FlawedFile, RecursionError):
        lines = next((_Walk(name).lines(node) for node in Loader(text).documents()), {})
    return _document(name, value, lines or {"": 1})


def _yaml_documents(name: str, text: str) -> Iterator[Document]:
    loader = None
    count = 0
    try:
        loader = Loader(text)
        for node in loader.documents():
            if node.tag == "tag:yaml.org,2002:null":
                continue
            count += 1
            lines = _Walk(name).lines(node)
            yield _document(name, loader.value(node), lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f" at column {mark.column + 1}" if mark else ""
        raise FlawedFile(Flaw(name, mark.line + 1 if mark else None, f"is not YAML{place}: {error.problem}")) from None
    except yaml.YAMLError as error:
        raise FlawedFile(Flaw(name, None, f"is not YAML: {str(error).splitlines()[0]}")) from None
    except RecursionError:
        raise FlawedFile(Flaw(name, None, TOO_DEEP)) from None
    except ValueError as error:
        raise FlawedFile(Flaw(name, None, str(error))) from None
    finally:
        if loader is not None:
            loader.dispose()
    if not count:
        raise FlawedFile(Flaw(name, None, "holds no definition; see `wf apply --help`"))


def _document(name: str, value: Any, lines: Mapping[str, int]) -> Document:
    if not isinstance(value, dict):
        raise FlawedFile(
            Flaw(
                name,
                lines.get(""),
                "is not a definition: it must be a mapping; several stand in a YAML file, separated by ---",
            )
        )
    from domain.definition import ADDED_WHEN_SHOWN

    kept = {key: item for key, item in value.items() if key not in ADDED_WHEN_SHOWN}
    left_out = [key for key in value if key in ADDED_WHEN_SHOWN]
    trigger = kept.get("trigger")
    if isinstance(trigger, dict) and "status" in trigger:
        kept["trigger"] = {key: item for key, item in trigger.items() if key != "status"}
        left_out.append("trigger.status")
    return Document(name, kept, lines, tuple(left_out))


class _Walk:
    """Goes once through the nodes of a document: notes their lines, refuses what is not JSON."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.found: dict[str, int] = {}
        self.count = 0

    def lines(self, root: Any) -> Mapping[str, int]:
        """Return the line of every field."""
        self._node(root, "", root.start_mark.line + 1, 0)
        return self.found

    def _node(self, node: Any, path: str, line: int, depth: int) -> None:
        self.found.setdefault(path, line)
        self.count += 1
        if depth > DEEPEST:
            raise self._flaw(line, TOO_DEEP)
        if self.count > _MOST_NODES:
            raise self._flaw(line, f"stands for more than {_MOST_NODES} values; use fewer aliases")
        if node.tag not in _JSON_TAGS:
            raise self._flaw(
                node.start_mark.line + 1, f"the tag {node.tag.rpartition(':')[2]} means nothing here; remove it"
            )
        if node.id == "sequence":
            for index, item in enumerate(node.value):
                self._node(item, f"{path}[{index}]", item.start_mark.line + 1, depth + 1)
        elif node.id == "mapping":
            self._mapping(node, path, depth)

    def _mapping(self, node: Any, path: str, depth: int) -> None:
        keys: set[str] = set()
        for key, item in node.value:
            line = key.start_mark.line + 1
            if key.id != "scalar" or key.tag.rpartition(":")[2] not in ("str", "merge"):
                shown = repr(key.value) if key.id == "scalar" else "of several values"
                raise self._flaw(line, f"the key {shown} is not text; put it in quotes")
            if key.value in keys:
                raise self._flaw(line, f"the key {key.value!r} is given twice; keep one of them")
            keys.add(key.value)
            if key.tag.endswith(":merge"):
                self._node(item, path, line, depth + 1)
            else:
                self._node(item, f"{path}.{key.value}" if path else key.value, line, depth + 1)

    def _flaw(self, line: int, message: str) -> FlawedFile:
        return FlawedFile(Flaw(self.file, line, message))


def _twice(file: str, key: str) -> FlawedFile:
    return FlawedFile(Flaw(file, None, f"the key {key!r} is given twice in one object; keep one of them"))


def _given_twice(documents: Iterable[Document]) -> Iterator[Flaw]:
    first: dict[str, Document] = {}
    for document in documents:
        if document.workflow_id and document.workflow_id in first:
            other = first[document.workflow_id]
            place = f"{other.file}:{other.lines.get('workflowId', 1)}"
            yield document.flaw("workflowId", f"{document.workflow_id!r} is defined in {place} as well; keep one of them")
        first.setdefault(document.workflow_id, document)
