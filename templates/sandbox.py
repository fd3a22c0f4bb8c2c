"""The sandbox: which parts of Jinja2 a template may use, and how each of them is kept in bounds.

Three fences, each of which suffices for most attacks: the kinds of syntax are a short list (no macros, imports, blocks or
calls of anything but a known method); looking something up finds data only, never an attribute of a Python object; and
whatever loops, grows or compares is wrapped so that it is charged to the budget.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Final

from jinja2 import nodes
from jinja2.runtime import Context, LoopContext, StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import missing, pass_context
from jinja2.visitor import NodeTransformer

from domain.excerpts import excerpt
from templates import filters
from templates.budget import charge_text, charge_value
from templates.errors import BadTemplate, RenderError
from templates.filters import kind_of, number, number_mend

_ALLOWED: Final = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign, nodes.With, nodes.Name, nodes.Const,
    nodes.List, nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Keyword, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter,
    nodes.Test, nodes.Call, nodes.CondExpr, nodes.Compare, nodes.Operand, nodes.Concat, nodes.And, nodes.Or, nodes.Not,
    nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow, nodes.Neg, nodes.Pos,
)  # fmt: skip
_CALLED: Final = {
    nodes.Macro: "macros", nodes.CallBlock: "call blocks", nodes.FilterBlock: "filter blocks", nodes.Include: "include",
    nodes.Import: "import", nodes.FromImport: "import", nodes.Extends: "extends", nodes.Block: "blocks",
    nodes.AssignBlock: "set blocks", nodes.NSRef: "namespaces",
}  # fmt: skip
_LOOP: Final = frozenset({"index", "index0", "first", "last", "length", "revindex", "revindex0"})
_NOT_NAMES: Final = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_SHOWN_KEYS = 10
_SIGNATURES: Final = {name: inspect.signature(function) for name, function in filters.FILTERS.items()}


class Missing(StrictUndefined):
    """Something that is not there: an error as soon as it is used, a question for ``is defined`` and ``default``."""

    @property
    def _undefined_message(self) -> str:
        # Only where somebody is told of it: to look for what there is instead takes long in a large object.
        if self._undefined_obj is missing:
            return f"{self._undefined_name!r} is undefined"
        return _why_missing(self._undefined_obj, self._undefined_name)


class Method:
    """A method of a text or an object, bound to it: may be called, and nothing else."""

    __slots__ = ("_function", "_value")

    def __init__(self, function: Callable[..., Any], value: Any) -> None:
        self._function = function
        self._value = value

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(self._value, *args, **kwargs)

    @property
    def bound(self) -> tuple[Any, ...]:
        """The text that it looks through, if it is one of a text: those of objects count what they look at."""
        return (self._value,) if isinstance(self._value, str) else ()


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as a filter that counts what it is given."""

    # Taking the context keeps Jinja2 from calling it at compile time, outside any budget.
    @pass_context
    def call(context: Context, *args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            charge_value(value)
        return function(*args, **kwargs)

    return call


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja2 environment in which templates see data alone."""

    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)
    intercepted_unops = frozenset(ImmutableSandboxedEnvironment.default_unop_table)

    def __init__(self) -> None:
        super().__init__(
            undefined=Missing,
            finalize=pass_context(lambda _, value: filters.string(value)),
            autoescape=False,
            keep_trailing_newline=True,
            optimized=False,
            cache_size=0,
        )
        self.globals = {"range": Method(lambda _, *bounds: filters.numbers(*bounds), None)}
        self.filters = {name: _charged(function) for name, function in filters.FILTERS.items()}
        self.filters |= {
            name: pass_context(lambda _, value, function=function: function(value))
            for name, function in (
                ("_each", filters.each),
                ("_concat", filters.concat),
                ("_looked_at", filters.looked_at),
            )
        }
        self.filters["_cut"] = pass_context(lambda _, value, *bounds: filters.cut(value, *bounds))
        self.filters["_method"] = pass_context(lambda _, value, name: self._method(value, name))
        self.tests = {name: self.tests[name] for name in filters.TESTS} | filters.TESTS_OF_NUMBERS

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return ``obj.attribute``: what an object holds under that name; a method is found only where it is called."""
        if isinstance(obj, Undefined):
            return obj
        if isinstance(obj, Mapping) and attribute in obj:
            return obj[attribute]
        if isinstance(obj, LoopContext) and attribute in _LOOP:
            return getattr(obj, attribute)
        return self._missing(obj, attribute)

    def _method(self, obj: Any, name: str) -> Any:
        """Return what is called in ``obj.name()``: one of the known methods, else what is no method and says so."""
        for kind, methods in filters.METHODS.items():
            if isinstance(obj, kind) and name in methods:
                return Method(methods[name], obj)
        return self.getattr(obj, name)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return ``obj[argument]`` of a list, a text or an object."""
        if isinstance(obj, Undefined):
            return obj
        if isinstance(argument, Undefined):
            str(argument)
        if isinstance(obj, Mapping):
            return obj[argument] if isinstance(argument, str) and argument in obj else self._missing(obj, argument)
        if isinstance(obj, (list, tuple, str)) and isinstance(argument, int) and not isinstance(argument, bool):
            return obj[argument] if -len(obj) <= argument < len(obj) else self._missing(obj, argument)
        return self._missing(obj, argument)

    def _missing(self, obj: Any, name: Any) -> Undefined:
        return self.undefined(obj=obj, name=name)

    def is_safe_callable(self, obj: Any) -> bool:
        """Tell whether a template may call ``obj``."""
        return isinstance(obj, Method)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """No attribute of a Python object is for templates."""
        return False

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call a method."""
        kwargs.pop("_loop_vars", None)  # Jinja2's own, for functions that ask for the context
        kwargs.pop("_block_vars", None)
        if isinstance(obj, Undefined):
            str(obj)
        if not isinstance(obj, Method):
            raise RenderError(f"{kind_of(obj)} cannot be called")
        for value in (*obj.bound, *args, *kwargs.values()):
            charge_value(value)
        return obj(*args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, in bounds."""
        for side in (left, right):
            if isinstance(side, Undefined):
                str(side)
        if _is_number(left) and _is_number(right):
            return _calculate(operator, left, right)
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            charge_text(len(left) + len(right))
            return left + right
        if operator == "+" and isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
            charge_value(left)
            charge_value(right)
            return [*left, *right]
        one, other = kind_of(left), kind_of(right)
        joins = "; write texts together with ~" if operator == "+" else ""
        raise RenderError(f"{operator} does not work on {one} and {other}{joins}{number_mend({one, other})}")

    def call_unop(self, context: Context, operator: str, arg: Any) -> Any:
        """Negate a number."""
        if isinstance(arg, Undefined):
            str(arg)
        if not _is_number(arg):
            raise RenderError(f"{operator} does not work on {kind_of(arg)}")
        return number(-arg if operator == "-" else arg)

    def guarded(self, tree: nodes.Template) -> nodes.Template:
        """Return ``tree`` with what the budget needs put in.

        Raises:
            BadTemplate: it uses what templates here may not.
        """
        _check(tree)
        guarded: nodes.Template = _Guard(self).visit(tree)
        return guarded


def _why_missing(obj: Any, name: Any) -> str:
    shown = f"{excerpt(name, 60)!r}" if isinstance(name, str) else str(name) if isinstance(name, int) else kind_of(name)
    if isinstance(obj, Mapping):
        if isinstance(name, str) and isinstance(why := obj.get(f"{name}Error"), str):
            return f"{shown} is undefined: {excerpt(why, 300)}"
        known = ", ".join(excerpt(str(key), 40) for key in sorted(map(str, obj))[:_SHOWN_KEYS])
        return f"{shown} is undefined; there {'are ' + known if obj else 'is nothing'}"
    if isinstance(obj, (list, tuple)):
        return f"{shown} is undefined in a list of {len(obj)}"
    return f"{shown} is undefined: {kind_of(obj)} has no such field"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _calculate(operator: str, left: Any, right: Any) -> Any:
    if operator == "**" and (abs(right) > 64 or abs(left) > 2**32):
        raise RenderError("the power is too large")
    try:
        result = ImmutableSandboxedEnvironment.default_binop_table[operator](left, right)
    except ZeroDivisionError:
        raise RenderError("division by zero") from None
    except OverflowError:
        raise RenderError("a number is not finite") from None
    if isinstance(result, complex):
        raise RenderError("the root of a negative number is not a number")
    return number(result)


def _check(tree: nodes.Template) -> None:
    pending: list[nodes.Node] = [tree]
    while pending:
        node = pending.pop()
        if not isinstance(node, _ALLOWED):
            raise BadTemplate(f"{_CALLED.get(type(node), type(node).__name__)} cannot be used here")
        if isinstance(node, nodes.For) and node.recursive:
            raise BadTemplate("recursive loops cannot be used here")
        if isinstance(node, nodes.Name) and (node.name in _NOT_NAMES or node.name.startswith("_")):
            raise BadTemplate(f"{node.name} is not known here")
        if isinstance(node, nodes.Getattr) and node.attr.startswith("_"):
            raise BadTemplate(f"{node.attr} cannot be reached; write ['{node.attr}'] for a field of that name")
        if isinstance(node, (nodes.Filter, nodes.Test)):
            if node.name.startswith("_"):
                raise BadTemplate(f"there is no filter {node.name}")
            _check_arguments(node)
            if isinstance(node, nodes.Filter):
                _check_filter(node)
        if isinstance(node, nodes.Call):
            _check_arguments(node)
            if not isinstance(node.node, nodes.Getattr) and not (
                isinstance(node.node, nodes.Name) and node.node.name == "range"
            ):
                name = node.node.name if isinstance(node.node, nodes.Name) else "this"
                raise BadTemplate(f"{name} is not a function; there are range, and filters such as | length")
        pending.extend(node.iter_child_nodes())


def _check_filter(node: nodes.Filter) -> None:
    """Find out now what else would be found out when the template is rendered."""
    signature = _SIGNATURES.get(node.name)
    if signature is None:
        raise BadTemplate(f"there is no filter {node.name}; there are {', '.join(sorted(_SIGNATURES))}")
    try:
        signature.bind(None, *node.args, **{str(keyword.key): keyword.value for keyword in node.kwargs})
    except TypeError as error:
        takes = ", ".join([*signature.parameters][1:]) or "no arguments"
        raise BadTemplate(f"the filter {node.name} takes {takes} here: {error}") from None


def _check_arguments(node: Any) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise BadTemplate("arguments cannot be given with * or ** here")


class _Guard(NodeTransformer):
    """Puts the budget into loops, literals, comparisons and concatenations, and methods where they are called."""

    def __init__(self, environment: Sandbox) -> None:
        self.environment = environment

    def _filtered(self, node: Any, name: str, *args: nodes.Expr) -> nodes.Filter:
        # Its set_environment would walk through all that is below, once for every level that lists are nested in.
        return nodes.Filter(node, name, [*args], [], None, None, lineno=node.lineno, environment=self.environment)

    def visit_Call(self, node: nodes.Call) -> nodes.Call:
        self.generic_visit(node)
        if isinstance(node.node, nodes.Getattr):
            node.node = self._filtered(node.node.node, "_method", nodes.Const(node.node.attr, lineno=node.lineno))
        return node

    def visit_For(self, node: nodes.For) -> nodes.For:
        self.generic_visit(node)
        node.iter = self._filtered(node.iter, "_each")
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        # Python's own, to which it would be compiled, goes beside getitem above, and counts nothing.
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        return self._filtered(node.node, "_cut", *(bound or nodes.Const(None, lineno=node.lineno) for bound in bounds))

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:
        self.generic_visit(node)
        parts = nodes.List(node.nodes, lineno=node.lineno, environment=self.environment)
        return self._filtered(parts, "_concat")

    def visit_List(self, node: nodes.List) -> nodes.Expr:
        self.generic_visit(node)
        return self._filtered(node, "_looked_at")

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:
        self.generic_visit(node)
        return self._filtered(node, "_looked_at") if node.ctx == "load" else node

    def visit_Dict(self, node: nodes.Dict) -> nodes.Expr:
        self.generic_visit(node)
        return self._filtered(node, "_looked_at")

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.CondExpr:
        self.generic_visit(node)
        if node.expr2 is None:
            node.expr2 = nodes.Const(None, lineno=node.lineno)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Compare:
        self.generic_visit(node)
        node.expr = self._filtered(node.expr, "_looked_at")
        return node

    def visit_Operand(self, node: nodes.Operand) -> nodes.Operand:
        self.generic_visit(node)
        node.expr = self._filtered(node.expr, "_looked_at")
        return node
