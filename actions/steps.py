"""A step: an action with its templates compiled, to be rendered before each run."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from actions.wording import told
from domain.action import Action
from templates.errors import BadTemplate, RenderError
from templates.fields import Fields, Path, shown
from templates.filters import to_text
from templates.parts import Parts
from templates.template import RENDERED, Reference, Template

# Never templates: they name the step, or are expressions of their own.
_FREE = frozenset({"json", "form", "values", "value", "headers", "query", "input", "forEach"})
_LITERAL = frozenset({"type", "actionId", "if", "retry", "signal", "payloadSchema"})


class Step:
    """An action, its condition and its templates.

    ``problems`` tells which of them cannot be understood, or are beyond ``parts``; a definition with problems is refused
    when it is stored. ``fails_in_doubt`` tells whether it is to fail where nobody knows what became of it.
    """

    def __init__(self, action: Action, parts: Parts | None = None) -> None:
        self.action = action
        # Asked once, for pydantic takes long to say that a kind has no such field.
        self.fails_in_doubt: bool = getattr(action, "on_unknown", "retry") == "fail"
        self.problems: list[tuple[Path, str]] = []
        self.condition: Template | None = None
        wire = self._wire = action.to_wire()
        self._literal = {name: value for name, value in wire.items() if name in _LITERAL}
        self.fields = Fields({name: value for name, value in wire.items() if name not in _LITERAL}, parts=parts)
        self.problems += [(problem.path, problem.message) for problem in self.fields.problems]
        if action.condition is not None:
            try:
                self.condition = Template(action.condition, condition=True, parts=parts)
            except BadTemplate as error:
                self.problems.append((("if",), str(error)))
        self.secrets = frozenset(name for _, name in self.secret_names())
        self.variables = frozenset(name for _, name in self.variable_names())
        self.is_plain = not self.problems and not self.fields.places and self.condition is None

    def secret_names(self) -> Iterator[tuple[Path, str]]:
        """Yield every secret that a template of the step refers to, with the place of the template."""
        for path, template in self.templates():
            yield from ((path, name) for name in _named(template.references, "secrets"))

    def variable_names(self) -> Iterator[tuple[Path, str]]:
        """Yield every variable that a template of the step refers to, with the place of the template."""
        for path, template in self.templates():
            yield from ((path, name) for name in _named(template.references, "vars"))

    def secrets_written(self) -> Iterator[tuple[Path, str]]:
        """Yield every secret that a field would hold, with its place."""
        for path, template in self.fields.places:
            yield from ((path, name) for name in sorted(set(_named(template.written, "secrets"))))

    def secret_fields(self) -> Iterator[tuple[Path, str]]:
        """Yield every secret that a field names, such as ``tokenSecret``."""
        yield from named_secrets(self._wire, ())

    def templates(self) -> Iterator[tuple[Path, Template]]:
        """Yield every template of the step with its place, the condition included."""
        yield from self.fields.places
        if self.condition is not None:
            yield ("if",), self.condition

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Tell whether the step is to run.

        Raises:
            RenderError: its condition cannot be told.
        """
        try:
            return self.condition is None or self.condition.holds(data)
        except RenderError as error:
            raise RenderError(f"if: {error}") from None

    def render(self, data: Mapping[str, Any], *, only: Callable[[Template], bool] | None = None) -> Action:
        """Return the action with its templates (or those that ``only`` picks) rendered, valid as if it had been written so.

        Raises:
            RenderError: a template cannot be rendered, or makes what its field does not take; the message names the field.
        """
        if self.problems:
            path, message = self.problems[0]
            raise RenderError(f"{shown(path)}: {message}")
        if not self.fields.places:
            return self.action
        wire = {**self._literal, **self.fields.render(data, only=only)}
        kind = type(self.action)
        context = RENDERED if only is None else None
        try:
            return kind.model_validate(wire, context=context)
        except ValidationError as error:
            if not _write_texts(wire, error):
                raise RenderError(_first(error, wire)) from None
        try:
            return kind.model_validate(wire, context=context)
        except ValidationError as error:
            raise RenderError(_first(error, wire)) from None


def _named(references: Iterable[Reference], kind: str) -> Iterator[str]:
    for root, *steps in references:
        if root == kind and steps and isinstance(steps[0], str):
            yield steps[0]


def named_secrets(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(value, dict):
        for name, item in value.items():
            # Free JSON of users (a body, the values of set) is data, whatever its names.
            if name in _FREE:
                continue
            if name.endswith("Secret") and isinstance(item, str):
                yield (*path, name), item
            else:
                yield from named_secrets(item, (*path, name))


def _write_texts(wire: dict[str, Any], error: ValidationError) -> bool:
    """Write values as texts where a field takes a text alone; tell whether there was one."""
    changed = False
    for detail in error.errors(include_url=False, include_context=False):
        if detail["type"] != "string_type" or detail["input"] is None:
            continue
        holder: Any = None
        part: Any = None
        value: Any = wire
        step: Any
        for step in detail["loc"]:
            # What is neither a key nor a position here is the tag of a union.
            if (isinstance(value, dict) and step in value) or (isinstance(value, list) and isinstance(step, int)):
                holder, part, value = value, step, value[step]
        if holder is not None and not isinstance(value, str):
            holder[part] = to_text(value)
            changed = True
    return changed


def _first(error: ValidationError, wire: Mapping[str, Any]) -> str:
    place, message = told(error.errors(include_url=False)[0], wire)
    return f"{place}: {message}" if place else message
