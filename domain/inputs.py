"""What an execution is given, its input or a signal: a JSON object, and the JSON Schema that it may be asked to obey.

Draft 2020-12, checked by a library whose regular expressions take linear time. A schema is refused where checking by it
might not end soon or reach elsewhere: references lead within the schema, and not round in circles.

What an input leaves out and its schema says as ``default`` (:mod:`domain.defaults`) is filled in when the execution is
admitted, and stored with it: that is what it ran with, whatever the definition says later.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Any, Final
from urllib.parse import quote

from pydantic import AfterValidator

from domain import patterns
from domain.defaults import Defaults, Filling, Path, TooMuch, find
from domain.errors import DomainError
from domain.excerpts import excerpt
from domain.json_values import odd_values

LARGEST_INPUT: Final = 262_144  # bytes of JSON
LARGEST_SCHEMA: Final = 65_536
LARGEST_UNFOLDED: Final = 5_000  # parts of a schema, where every reference is replaced by what it stands for
MOST_PROBLEMS: Final = 20
_LONGEST_MESSAGE: Final = 300
_REFUSED: Final = ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor", "$id", "$schema")
_TOO_LARGE: Final = f"must be at most {LARGEST_INPUT} bytes of JSON"
_ITSELF: Final = "urn:schema"
_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"


class BadSchema(DomainError):
    """Not a JSON Schema that input can be checked by."""


class BadInput(DomainError):
    """What is given, in the field ``name``, cannot be carried, or does not obey its schema."""

    def __init__(self, problems: "list[InputProblem]", name: str = "input") -> None:
        super().__init__("; ".join(f"{problem.path}: {problem.message}" for problem in problems))
        self.problems = problems
        self.name = name


@dataclass(frozen=True)
class InputProblem:
    """What is wrong with one place of the input, as in ``input.items[0].name``."""

    path: str
    message: str


class InputSchema:
    """A schema to check input by.

    Raises:
        BadSchema: it is none.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        import jsonschema_rs  # 3 MB of memory, which only workflows with a schema need

        if len(json.dumps(schema)) > LARGEST_SCHEMA:
            raise BadSchema(f"is larger than {LARGEST_SCHEMA} bytes")
        if str(schema.get("$schema", _DRAFT)).rstrip("#") != _DRAFT:
            raise BadSchema(f"$schema must be {_DRAFT}, or absent")
        rules = {key: value for key, value in schema.items() if key != "$schema"}
        try:
            _unfolded(rules, rules, frozenset(), {})
        except RecursionError:
            raise BadSchema("is nested too deep, its references replaced by what they stand for") from None
        patterns.of_schema(rules)
        try:
            self._validator = jsonschema_rs.Draft202012Validator(
                rules, retriever=_refuse, pattern_options=jsonschema_rs.RegexOptions()
            )
        except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as error:
            path = getattr(error, "instance_path", None) or []
            where = _place(path).lstrip(".")
            message = getattr(error, "message", str(error))
            raise BadSchema(excerpt(f"{where}: {message}" if where else message, _LONGEST_MESSAGE)) from None
        self._rules = rules
        self._defaults = Defaults(rules)

    def fill_in(self, given: Mapping[str, Any], name: str = "input") -> Mapping[str, Any]:
        """Return input with what it leaves out and the schema says as ``default``.

        Raises:
            BadInput: that is larger than input may be.
        """
        try:
            return self._defaults.fill_in(given, LARGEST_INPUT)
        except TooMuch:
            raise BadInput([InputProblem(name, f"{_TOO_LARGE}, its defaults included")], name) from None

    def wrong_defaults(self) -> Iterator[tuple[Path, str]]:
        """Yield where a default stands that does not obey what the schema asks of its property, and why it does not."""
        import jsonschema_rs

        registry = jsonschema_rs.Registry([(_ITSELF, self._rules)])
        for place, default, within in self._defaults.of:
            pointer = "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in place)
            validator = jsonschema_rs.Draft202012Validator(
                {"$ref": f"{_ITSELF}#/{quote(pointer)}"}, registry=registry, pattern_options=jsonschema_rs.RegexOptions()
            )
            try:
                value = Filling(LARGEST_INPUT).fill(default.value, within)
            except TooMuch:
                yield default.path, _TOO_LARGE
                continue
            for error in validator.iter_errors(value):
                where = _place(error.instance_path).lstrip(".")
                yield default.path, excerpt(f"{where}: {error.message}" if where else error.message, _LONGEST_MESSAGE)

    def check(self, given: Mapping[str, Any], name: str = "input") -> None:
        """Check input, which users know by a ``name``.

        Raises:
            BadInput: it does not obey the schema.
        """
        problems = []
        for error in self._validator.iter_errors(dict(given)):
            path = excerpt(name + _place(error.instance_path), _LONGEST_MESSAGE)
            problems.append(InputProblem(path, excerpt(error.message, _LONGEST_MESSAGE)))
            if len(problems) == MOST_PROBLEMS:
                break
        if problems:
            raise BadInput(problems, name)


def _place(path: Iterable[str | int]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)


def _sound(schema: dict[str, Any]) -> dict[str, Any]:
    InputSchema(schema)
    return schema


Schema = Annotated[dict[str, Any], AfterValidator(_sound)]
"""A field that holds a JSON Schema to check input by; one that is none is refused."""


def check_input(given: Mapping[str, Any], schema: Mapping[str, Any] | None, name: str = "input") -> None:
    """Check what an execution is given: how large it is, its numbers and its text, and what its workflow asks of it.

    ``name`` is the field in which users give it.

    Raises:
        BadInput: records and answers cannot carry it, or it does not obey the schema.
    """
    _check(given, None if schema is None else _known(json.dumps(schema)), name)


def complete_input(given: Mapping[str, Any], schema: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return the input of an execution: what it is given and, where that leaves it out, what is so by default.

    Raises:
        BadInput: records and answers cannot carry it, or it does not obey the schema.
    """
    known = None if schema is None else _known(json.dumps(schema))
    complete = given if known is None else known.fill_in(given)
    _check(complete, known, "input")
    return complete


def _check(given: Mapping[str, Any], schema: InputSchema | None, name: str) -> None:
    if not given and schema is None:
        return
    if len(json.dumps(given).encode()) > LARGEST_INPUT:
        raise BadInput([InputProblem(name, f"{_TOO_LARGE}; send a reference instead")], name)
    odd = itertools.islice(odd_values(given), MOST_PROBLEMS)
    if problems := [InputProblem(excerpt(f"{name}.{path}", _LONGEST_MESSAGE), message) for path, message in odd]:
        raise BadInput(problems, name)
    if schema is not None:
        schema.check(given, name)


@lru_cache(maxsize=1000)
def _known(schema: str) -> InputSchema:
    return InputSchema(json.loads(schema))


def _refuse(uri: str) -> Any:
    raise ValueError(f"{uri} lies elsewhere; put it into $defs")


def _unfolded(value: Any, root: Mapping[str, Any], within: frozenset[str], known: dict[str, int]) -> int:
    """Return how many parts ``value`` has, those included that it refers to."""
    size = 1
    if isinstance(value, list):
        size += sum(_unfolded(item, root, within, known) for item in value)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key in _REFUSED and isinstance(item, str):
                raise BadSchema(f"{key} is not supported here; refer to #/$defs/… with $ref")
            if key == "$ref" and isinstance(item, str):
                size += _referred(item, root, within, known)
            else:
                size += _unfolded(item, root, within, known)
    if size > LARGEST_UNFOLDED:
        raise BadSchema(f"has more than {LARGEST_UNFOLDED} parts, its references replaced by what they stand for")
    return size


def _referred(reference: str, root: Mapping[str, Any], within: frozenset[str], known: dict[str, int]) -> int:
    if reference in within:
        raise BadSchema(f"$ref {excerpt(reference, 100)} leads round in a circle; write out as many levels as are needed")
    if reference in known:
        return known[reference]
    if reference != "#" and not reference.startswith("#/"):
        raise BadSchema(f"$ref {excerpt(reference, 100)} must begin with #/ and lead within the schema")
    try:
        _, target = find(reference, root)
    except LookupError:
        raise BadSchema(f"$ref {excerpt(reference, 100)} leads nowhere") from None
    known[reference] = _unfolded(target, root, within | {reference}, known)
    return known[reference]
