"""What an answer must be like to count as success."""

import json
from typing import Annotated, Any, Final

import re2
from pydantic import AfterValidator, Field, JsonValue, SerializerFunctionWrapHandler, model_serializer

from actions.http.reading import Body, NotJson
from domain import patterns
from domain.excerpts import excerpt
from domain.model import Model
from domain.statuses import Statuses, includes

LONGEST_PATTERN: Final = 1000


def _pattern(text: str) -> str:
    # RE2 matches in linear time: a workflow cannot hold the runner up with a pattern.
    patterns.expression(text)
    try:
        re2.compile(text, patterns.OPTIONS)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"is not a regular expression of RE2 (no look-around, no back-references): {reason}") from None
    except UnicodeError:
        raise ValueError("holds half a surrogate pair; write whole characters") from None
    return text


def _path(text: str) -> str:
    import jsonpath  # 4 MB of memory and 0.1 s, which only those who expect something in a JSON body need

    patterns.path(text)
    try:
        path = jsonpath.compile(text)
        singular = isinstance(path, jsonpath.JSONPath) and path.singular_query()
    except (jsonpath.JSONPathError, RecursionError, ValueError) as error:
        reason = (str(error).splitlines() or ["?"])[0]
        raise ValueError(f"is not a JSON path: {reason}; write for example $.order.items[0].id") from None
    if not singular or not text.startswith("$"):
        raise ValueError("must lead to one value, by names and positions alone, as in $.order.items[0].id")
    return text


class JsonEquals(Model):
    """A place in a JSON body and what must be there."""

    path: Annotated[str, Field(max_length=1000, examples=["$.order.state"]), AfterValidator(_path)]
    equals: JsonValue

    @model_serializer(mode="wrap")
    def _keep_null(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Definitions are stored without what is None; here None is a value.
        return {**serialize(self), "equals": self.equals}


class Expectations(Model):
    """All of them must hold."""

    statuses: tuple[Statuses, ...] = Field(default=("1xx", "2xx", "3xx"), min_length=1, max_length=50)
    contains: str | None = Field(default=None, min_length=1, max_length=10_000, description="A text in the body.")
    matches: Annotated[str, Field(min_length=1, max_length=LONGEST_PATTERN), AfterValidator(_pattern)] | None = Field(
        default=None, description="A regular expression (RE2) that matches somewhere in the body."
    )
    json_values: tuple[JsonEquals, ...] = Field(
        default=(), alias="json", max_length=50, description="Places in the JSON body and what must be there."
    )

    def accepts_status(self, status: int) -> bool:
        """Tell whether ``status`` is one of those expected."""
        return includes(self.statuses, status)

    def problem(self, body: Body) -> tuple[str, str] | None:
        """Return error class and message of the first expectation that ``body`` does not meet."""
        if self.contains is None and self.matches is None and not self.json_values:
            return None
        text = body.text
        if text is None:
            return "body-decode", f"the body is not text but {body.content_type}"
        where = "the body" if body.complete else f"the first {len(body.content)} bytes of the body"
        if self.contains is not None and self.contains not in text:
            return "assertion", f"{where} does not contain {excerpt(self.contains, 100)!r}"
        if self.matches is not None and re2.compile(self.matches, patterns.OPTIONS).search(text) is None:
            return "assertion", f"nothing in {where} matches {excerpt(self.matches, 100)!r}"
        if not self.json_values:
            return None
        try:
            value = body.json()
        except NotJson as error:
            return "body-decode", f"the body is not JSON: {error}"
        return next(filter(None, (_difference(expected, value) for expected in self.json_values)), None)


def _difference(expected: JsonEquals, value: Any) -> tuple[str, str] | None:
    import jsonpath

    # The library would read a text as a JSON document; nothing is below a text, a number or null anyway.
    found = jsonpath.match(expected.path, value) if isinstance(value, list | dict) else None
    if found is None and expected.path != "$":
        return "assertion", f"there is nothing at {expected.path} in the body"
    actual = value if found is None else found.obj
    if not _equal(actual, expected.equals):
        return "assertion", f"{expected.path} is {_shown(actual)}, not {_shown(expected.equals)}"
    return None


def _shown(value: Any) -> str:
    return excerpt(json.dumps(value, ensure_ascii=False), 100)


def _equal(a: Any, b: Any) -> bool:
    """Compare as JSON does: 1 is 1.0, but true is not 1."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(value, b[name]) for name, value in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)
