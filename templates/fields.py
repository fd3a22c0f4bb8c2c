"""Templates anywhere in a JSON value: found and compiled once, rendered together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from domain.excerpts import excerpt
from templates.budget import budget
from templates.errors import BadTemplate, RenderError
from templates.parts import Parts, TooManyParts
from templates.template import Template, is_template

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class BadField:
    """A template in ``path`` that cannot be understood."""

    path: Path
    message: str


def texts(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield every text in ``value`` that is a template, with its place; the keys of objects are texts of that place."""
    if isinstance(value, str):
        if is_template(value):
            yield path, value
    elif isinstance(value, dict):
        for key, item in value.items():
            if is_template(key):
                yield path, key
            yield from texts(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for position, item in enumerate(value):
            yield from texts(item, (*path, position))


class Fields:
    """A JSON value with its templates compiled; :attr:`problems` tells which of them cannot be understood.

    Of those beyond ``parts`` only the first is told.
    """

    def __init__(self, value: Any, *, parts: Parts | None = None) -> None:
        self._value = value
        self.templates: dict[str, Template] = {}
        self.places: list[tuple[Path, Template]] = []
        self.problems: list[BadField] = []
        for path, source in texts(value):
            try:
                template = self.templates.get(source) or Template(source, parts=parts)
            except BadTemplate as error:
                self.problems.append(BadField(path, str(error)))
                if isinstance(error, TooManyParts):
                    break
            else:
                self.templates[source] = template
                self.places.append((path, template))

    def render(self, data: Mapping[str, Any], *, only: Callable[[Template], bool] | None = None) -> Any:
        """Return the value with every template rendered, or with those that ``only`` picks.

        Raises:
            RenderError: one cannot be rendered; the message begins with its place.
        """
        picked = {source: template for source, template in self.templates.items() if only is None or only(template)}
        with budget():
            return _rendered(self._value, (), data, picked)


def _rendered(value: Any, path: Path, data: Mapping[str, Any], templates: Mapping[str, Template]) -> Any:
    if isinstance(value, str):
        template = templates.get(value)
        if template is None:
            return value
        try:
            return template.render(data)
        except RenderError as error:
            raise RenderError(f"{shown(path)}: {error}") from None
    if isinstance(value, dict):
        return {
            _name(key, path, data, templates): _rendered(item, (*path, key), data, templates) for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_rendered(item, (*path, position), data, templates) for position, item in enumerate(value)]
    return value


def _name(key: str, path: Path, data: Mapping[str, Any], templates: Mapping[str, Template]) -> str:
    rendered = _rendered(key, path, data, templates)
    if not isinstance(rendered, str):
        raise RenderError(excerpt(f"{shown(path)}: a name must be a text, not {rendered!r}", 300))
    return rendered


def shown(path: Path) -> str:
    """Return a place as users write it, as in ``json.items[0].name``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
