"""YAML as version 1.2 has it (the core schema), which is what editors and people expect of a workflow file.

PyYAML reads YAML 1.1, where ``no`` is false, ``12:30`` is 750 and ``2026-01-31`` is a date, which is not what the author
meant. Here they are text. Writing quotes whatever either version would not read as text again.
"""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from domain.json_values import integer

_RESOLVERS = (
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("merge", r"<<", "<"),
)

# The C parser, where PyYAML was built with it, is ten times as fast.
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Loader(_Base):  # type: ignore[misc]
    """Reads documents together with their nodes, which know their lines."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML's own shape)

    def documents(self) -> Iterator[yaml.Node]:
        """Return the root node of each document."""
        while self.check_node():
            yield self.get_node()

    def value(self, node: yaml.Node) -> Any:
        """Return what a root node holds."""
        return self.construct_document(node)

    def construct_integer(self, node: Any) -> int:
        """Read an integer; a leading zero does not make it octal."""
        text = str(self.construct_scalar(node))
        base = {"0o": 8, "0x": 16}.get(text[:2])
        return integer(text) if base is None else int(text, base)

    def construct_number(self, node: Any) -> float:
        """Read a float; there are no infinities, JSON has none either."""
        return float(str(self.construct_scalar(node)))


class Dumper(yaml.SafeDumper):
    """Writes what :class:`Loader` reads back the same, and other readers as well."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write a value that occurs twice twice: anchors are for authors."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Indent the items of a list, as most authors do."""
        super().increase_indent(flow, False)


# They turn the text that follows round: what is read is not what is there. Escaped, which takes double quotes, they show.
_TURNING = {code: f"\\u{code:04X}" for code in (0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
# Nor do line breaks that only YAML 1.1 takes for some, and marks of byte order, stay what they are without.
_ESCAPED = re.compile("[\x85\u2028\u2029\ufeff" + "".join(map(chr, _TURNING)) + "]")


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
    if _ESCAPED.search(text):
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"')
    is_block = "\n" in text and not any(line.endswith((" ", "\t")) for line in text.split("\n"))
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if is_block else None)


for _name, _pattern, _first in _RESOLVERS:
    for _class in (Loader, Dumper):
        _class.add_implicit_resolver(
            f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern})\\Z"), ["" if c == "\0" else c for c in _first]
        )
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_integer)
Loader.add_constructor("tag:yaml.org,2002:float", Loader.construct_number)
Dumper.add_representer(str, _represent_text)


def dump(value: Any) -> str:
    """Return ``value`` as YAML, its keys in their own order."""
    text: str = yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100, explicit_start=False)
    return text.translate(_TURNING)
