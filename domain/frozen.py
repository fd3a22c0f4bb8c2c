"""Frozen dataclasses that are made as fast as others.

The standard library sets each field of a frozen one by a call: 7.6 instead of 2.7 µs for an execution. A runner makes half a
dozen such records for each execution that it runs.
"""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, field, fields
from typing import Any, TypeVar

from typing_extensions import dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
def frozen(kind: type[T]) -> type[T]:
    """Make ``kind`` a frozen dataclass; all its fields are given when it is made, or have a default."""
    made = dataclass(frozen=True)(kind)
    made.__init__ = _init(made)  # type: ignore[method-assign]
    return made


def _init(kind: Any) -> Callable[..., None]:
    """Return the ``__init__`` of a dataclass, written out as the standard library writes its own."""
    known: dict[str, Any] = {"missing": MISSING}
    parameters, lines = ["self"], ["held = self.__dict__"]
    for number, each in enumerate(fields(kind)):
        value = each.name
        if each.default_factory is not MISSING:
            known[f"_{number}"] = each.default_factory
            parameters.append(f"{each.name}=missing")
            value = f"_{number}() if {each.name} is missing else {each.name}"
        elif each.default is not MISSING:
            known[f"_{number}"] = each.default
            parameters.append(f"{each.name}=_{number}")
        else:
            parameters.append(each.name)
        lines.append(f"held[{each.name!r}] = {value}")
    exec(f"def __init__({', '.join(parameters)}):\n    " + "\n    ".join(lines), known)
    init: Callable[..., None] = known["__init__"]
    init.__qualname__ = f"{kind.__qualname__}.__init__"
    return init
