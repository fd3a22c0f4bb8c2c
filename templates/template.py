"""One template: compiled once, rendered as often as it is needed.

A text with one expression and nothing else (``{{ input.count }}``) keeps the type of its value; anything else makes a text,
into which values are written as JSON (texts as they are, null as nothing). A condition is an expression without its braces.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import TemplateSyntaxError, UndefinedError, nodes
from jinja2.environment import Template as Compiled
from pydantic import ValidationInfo

from domain.excerpts import excerpt
from templates import filters
from templates.budget import LONGEST_TEXT, budget
from templates.errors import BadTemplate, RenderError, TemplateError
from templates.parts import Parts
from templates.sandbox import Sandbox

ROOTS: Final = ("input", "trigger", "execution", "actions", "secrets", "vars")
LONGEST_SOURCE: Final = 65_536
RENDERED: Final = {"rendered": True}
"""The validation context of an action whose templates were rendered."""
_MARKS: Final = ("{{", "{%")
_SANDBOX: Final = Sandbox()
_KEEPING: Final = frozenset({"b64encode", "default", "string", "tojson", "trim", "urlencode"})

_COMPARED: Final = re.compile(r"'([<>]=?)' not supported between instances of '(\w+)' and '(\w+)'")
_LOOKED_INTO: Final = re.compile(r"argument of type '(\w+)' is not ")
_LOOKED_FOR: Final = re.compile(r"'in <string>' requires string as left operand, not (\w+)")
_EXAMPLES: Final[tuple[Any, ...]] = (None, True, 0, 0.0, "", [], (), {})
_KINDS: Final = {type(example).__name__: filters.kind_of(example) for example in _EXAMPLES}

Reference = tuple[str | int, ...]


def is_template(text: str) -> bool:
    """Tell whether ``text`` is to be rendered."""
    return any(mark in text for mark in _MARKS)


def is_open(text: str, info: ValidationInfo) -> bool:
    """Tell whether what a field will hold is not known yet: it is a template, and the action was not rendered yet.

    What was rendered may look like a template once more, and is checked all the same.
    """
    return is_template(text) and info.context is not RENDERED


class Template:
    """A template that was understood.

    ``references`` are what it reads, ``written`` those of them that are in what it makes, rather than looked at, made
    something else of, or picked from: as they are, or in a way in which a secret is still known for one.

    Raises:
        BadTemplate: it was not, or takes more ``parts`` than are left.
    """

    def __init__(self, source: str, *, condition: bool = False, parts: Parts | None = None) -> None:
        if len(source) > LONGEST_SOURCE:
            raise BadTemplate(f"is a template of more than {LONGEST_SOURCE} characters; make it shorter")
        try:
            text = f"{{{{ {_unbraced(source)} }}}}" if condition else source
            if parts is not None:
                parts.take(_SANDBOX.lex(text))
            tree = _SANDBOX.parse(text)
            self.references = _references(tree)
            self.written = _references(tree, beside=_is_made_of)
            expression = _only_expression(tree)
            if condition and expression is None:
                raise BadTemplate("must be one expression, such as actions.check.output.json.ready")
            self.keeps_type = expression is not None
            if expression is not None:
                tree = nodes.Template([nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)], lineno=1)
                tree.set_environment(_SANDBOX)
            self._compiled: Compiled = _SANDBOX.from_string(_SANDBOX.guarded(tree))
        except TemplateError:
            raise
        except TemplateSyntaxError as error:
            line = f" in line {error.lineno}" if "\n" in source else ""
            raise BadTemplate(f"is not a template that can be understood{line}: {error.message}") from None
        except RecursionError:
            raise BadTemplate("is a template that is nested too deeply") from None
        except Exception as error:  # of Python's own compiler: literals and nestings beyond its limits
            raise BadTemplate(f"is not a template that can be understood: {type(error).__name__}") from None

    def render(self, data: Mapping[str, Any]) -> Any:
        """Return what the template makes of ``data``, which holds the ROOTS.

        Raises:
            RenderError: something is undefined, of the wrong kind, or too large.
        """
        with budget():
            try:
                context = self._compiled.new_context(dict(data))
                if not self.keeps_type:
                    return self._text(context)
                for _ in self._compiled.root_render_func(context):
                    pass
                return filters.plain(context.vars["result"])
            except TemplateError:
                raise
            except UndefinedError as error:
                raise RenderError(str(error.message)) from None
            except RecursionError:
                raise RenderError("the value is nested too deeply") from None
            except Exception as error:
                raise RenderError(_in_words(error)) from None

    def holds(self, data: Mapping[str, Any]) -> bool:
        """Tell whether the condition holds: its value is true, and neither 0, nor empty, nor null."""
        return bool(self.render(data))

    def _text(self, context: Any) -> str:
        parts = []
        length = 0
        for part in self._compiled.root_render_func(context):
            length += len(part)
            if length > LONGEST_TEXT:
                raise RenderError(f"the template makes a text of more than {LONGEST_TEXT} characters; make it shorter")
            parts.append(part)
        return "".join(parts)


def _in_words(error: Exception) -> str:
    """Return what Python says of a template; where values are compared, in the words of whoever wrote it."""
    said = str(error)
    if found := _COMPARED.fullmatch(said):
        operator, *kinds = found.groups()
        one, other = (_KINDS.get(kind, kind) for kind in kinds)
        return f"{operator} does not compare {one} with {other}{filters.number_mend({one, other})}"
    if found := _LOOKED_INTO.match(said):
        return f"in looks into a text, a list or an object, not {_KINDS.get(found[1], found[1])}"
    if found := _LOOKED_FOR.fullmatch(said):
        return f"in looks for a text in a text, not for {_KINDS.get(found[1], found[1])}"
    return f"{type(error).__name__}: {excerpt(said, 200)}"


def _unbraced(source: str) -> str:
    stripped = source.strip()
    if stripped.startswith("{{") and stripped.endswith("}}"):
        return stripped[2:-2]
    if is_template(stripped):
        raise BadTemplate("is an expression: write it without braces, as in input.count > 3")
    if not stripped:
        raise BadTemplate("must not be empty")
    return stripped


def _only_expression(tree: nodes.Template) -> nodes.Expr | None:
    if len(tree.body) == 1 and isinstance(output := tree.body[0], nodes.Output) and len(output.nodes) == 1:
        (node,) = output.nodes
        return None if isinstance(node, nodes.TemplateData) else node
    return None


def _is_made_of(node: nodes.Node) -> bool:
    """Tell whether what ``node`` makes of a value is another one."""
    return isinstance(node, (nodes.Compare, nodes.Test)) or (isinstance(node, nodes.Filter) and node.name not in _KEEPING)


def _references(tree: nodes.Template, *, beside: Callable[[nodes.Node], bool] = lambda _: False) -> frozenset[Reference]:
    """Return what the template reads, ``beside`` what is within such nodes: each a root and the constant steps from it."""
    own = {node.name for node in tree.find_all(nodes.Name) if node.ctx != "load"} | {"range"}
    if next(iter(tree.find_all(nodes.For)), None) is not None:
        own.add("loop")
    found: set[Reference] = set()
    pending: list[nodes.Node] = [tree]
    while pending:
        node: nodes.Node = pending.pop()
        path: list[str | int] = []
        while isinstance(node, (nodes.Getattr, nodes.Getitem)):
            if isinstance(node, nodes.Getattr):
                path.insert(0, node.attr)
            elif isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, (str, int)):
                path.insert(0, node.arg.value)
            else:
                path.clear()  # what lies beyond a computed step is not known
                pending.append(node.arg)
            node = node.node
        if isinstance(node, nodes.Name):
            if node.name not in own:
                found.add((node.name, *path))
        elif not beside(node):
            pending.extend(node.iter_child_nodes())
    return frozenset(found)
