"""Workflow definitions as people write them: YAML with one or several documents, or JSON with one object.

Each document becomes plain JSON values plus the line of every field, so that whatever is wrong is told by its place. What
the service adds to a definition when it shows one (version, times, status) is left out, so that ``wf show -o yaml`` can be
edited and applied.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import yaml

from apps.yaml12 import Loader
from domain.definition import ADDED_WHEN_SHOWN
from domain.json_values import DEEPEST, TOO_DEEP, odd_values, read_json

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


def documents(name: str, text: str, *, is_json: bool) -> Iterator[Document]:
    """Yield the definitions in a text that is called ``name``.

    Raises:
        FlawedFile: it cannot be read any further.
    """
    if is_json or text.lstrip().startswith("{"):
        try:
            yield _json_document(name, text)
            return
        except FlawedFile:
            # What begins like JSON may be YAML in braces.
            if is_json:
                raise
    yield from _yaml_documents(name, text)


def unsendable(document: Document) -> list[Flaw]:
    """Return the first of what the service takes in no body, whatever it means."""
    return [document.flaw(path, message) for path, message in islice(odd_values(document.value), _MOST_ODDITIES)]


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
