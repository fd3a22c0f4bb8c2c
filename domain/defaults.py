"""What a JSON Schema says as ``default``: filled in where nothing is given.

That of a property, at any depth: through ``properties``, ``items``, ``$ref`` and ``allOf``; where several say one, the
outermost counts, then the first. Not what stands in ``anyOf``, ``oneOf``, ``not`` or ``if``, of which nobody knows whether
it is meant. An object that is not given is not made for the sake of what stands within it, for it may have been left out on
purpose; where it says ``default: {}``, it is.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

Path = tuple[str | int, ...]

_BESIDE: Final = 4  # bytes of JSON that an entry has beside its name and its value, at least


class TooMuch(Exception):
    """More would be filled in than there is room for."""


@dataclass(frozen=True)
class Default:
    """A default, and where it stands in its schema."""

    value: Any
    size: int  # bytes of JSON
    path: Path


@dataclass
class Part:
    """What may be filled in at one place of a value."""

    defaults: dict[str, Default] = field(default_factory=dict)  # of its properties
    properties: "dict[str, Part]" = field(default_factory=dict)  # those in which something may be
    items: "Part | None" = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing is ever filled in."""
        return not self.defaults and not self.properties and self.items is None

    def absorb(self, other: "Part") -> None:
        """Add what is said of the same place elsewhere; what is said here counts."""
        self.defaults = {**other.defaults, **self.defaults}
        for name, theirs in other.properties.items():
            self.properties.setdefault(name, Part()).absorb(theirs)
        if other.items is not None:
            self.items = self.items or Part()
            self.items.absorb(other.items)


class Defaults:
    """The defaults of a schema that is sound: its references lead within it, and not round in circles."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = schema
        self.of: list[tuple[Path, Default, Part]] = []  # where a property stands in the schema, and what is filled in there
        _, self._part = self._read(schema, ())

    def fill_in(self, given: Mapping[str, Any], room: int) -> Mapping[str, Any]:
        """Return a value with its defaults; it is not changed itself.

        Raises:
            TooMuch: they are more than so many bytes of JSON.
        """
        filled: Mapping[str, Any] = given if self._part.is_empty else Filling(room).fill(given, self._part)
        return filled

    def _read(self, schema: Any, path: Path) -> tuple[Default | None, Part]:
        """Return the default of a place that obeys a schema, and what may be filled in there."""
        default, part = None, Part()
        for said, place in self._said(schema, path):
            if default is None and "default" in said:
                default = Default(said["default"], len(json.dumps(said["default"])), (*place, "default"))
            own = Part()
            for name, each in said.get("properties", {}).items():
                of_it, within = self._read(each, (*place, "properties", name))
                if of_it is not None:
                    own.defaults[name] = of_it
                    self.of.append(((*place, "properties", name), of_it, within))
                if not within.is_empty:
                    own.properties[name] = within
            _, of_items = self._read(said.get("items"), (*place, "items"))
            own.items = None if of_items.is_empty else of_items
            part.absorb(own)
        return default, part

    def _said(self, schema: Any, path: Path) -> Iterator[tuple[Mapping[str, Any], Path]]:
        """Yield a schema, and what else is asked for by it in any case."""
        if not isinstance(schema, dict):
            return
        yield schema, path
        if "$ref" in schema:
            place, target = find(schema["$ref"], self._root)
            yield from self._said(target, place)
        for index, each in enumerate(schema.get("allOf", ())):
            yield from self._said(each, (*path, "allOf", index))


class Filling:
    """Fills in so many bytes of JSON at most."""

    def __init__(self, room: int) -> None:
        self._room = room

    def fill(self, value: Any, part: Part) -> Any:
        """Return a value with what may be filled in; it is not changed itself.

        The time that it takes is that of reading what is returned: what is not given costs room.

        Raises:
            TooMuch: that is more than there is room for.
        """
        if isinstance(value, list) and part.items is not None:
            return [self.fill(item, part.items) for item in value]
        if not isinstance(value, Mapping):
            return value
        within = part.properties
        filled = {name: self.fill(item, within[name]) if name in within else item for name, item in value.items()}
        for name, default in part.defaults.items():
            if name not in filled:
                self._room -= len(name) + _BESIDE + default.size
                if self._room < 0:
                    raise TooMuch
                filled[name] = self.fill(default.value, within[name]) if name in within else default.value
        return filled


def find(reference: str, root: Mapping[str, Any]) -> tuple[Path, Any]:
    """Return where a reference leads within a schema, and what stands there.

    Raises:
        LookupError: it leads nowhere.
    """
    target: Any = root
    path: list[str | int] = []
    for part in reference.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(target, list) and name.isdigit():
            path.append(int(name))
        elif isinstance(target, dict):
            path.append(name)
        else:
            raise LookupError(reference)
        target = target[path[-1]]
    return tuple(path), target
