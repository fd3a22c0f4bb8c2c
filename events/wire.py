"""Encoding and decoding of records.

Decoding is strict where Faust's own validation would coerce (``3`` to ``"3"``, ``null`` to ``"None"``): a pydantic adapter
generated from the record's annotations checks the bytes. It never raises: what does not decode becomes a
:class:`Malformed` value, which the agent dead-letters, so that no record can stop a stream.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Annotated, Any, Final, Optional, Union, cast, get_args, get_origin, get_type_hints

import orjson
from faust import Schema
from faust.types import AppT, Message
from pydantic import AwareDatetime, ConfigDict, Discriminator, FailFast, TypeAdapter, ValidationError, with_config
from typing_extensions import NotRequired, TypedDict

from domain.excerpts import excerpt
from domain.json_values import key_given_twice
from events.records import Event

_SAID: Final = {"missing": "is required; fields are written as in workflow_id"}
_LONGEST_REASON: Final = 2_000  # characters; names of fields are told, and those are the producer's
_LONGEST_NAME: Final = 100


@dataclass(frozen=True)
class Malformed:
    """A record that does not decode."""

    raw: bytes | None
    reason: str


def _shape(record: type[Event]) -> Any:
    """Return a TypedDict with the fields of ``record``; a default makes a field optional on the wire, save the tag."""
    hints = {name: _checked(hint) for name, hint in get_type_hints(record).items()}
    defaults = record._options.defaults
    fields = {
        name: hints[name] if name not in defaults or name == "event" else NotRequired[hints[name]]
        for name in record._options.fields
    }
    shape = TypedDict(record.__name__, fields)  # type: ignore[misc]
    # Unknown fields are ignored, so that neighbouring versions understand each other.
    return with_config(ConfigDict(strict=True, extra="ignore"))(shape)


def _checked(hint: Any) -> Any:
    """Return the type that a field is checked as: instants have an offset, and a million mistakes in a list are one."""
    if any(get_origin(part) is list for part in (hint, *get_args(hint))):
        return Annotated[hint, FailFast()]
    return {datetime: AwareDatetime, Optional[datetime]: Optional[AwareDatetime]}.get(hint, hint)


def json_schema(record: type[Event]) -> dict[str, Any]:
    """Return the JSON Schema of what is read as ``record``."""
    return TypeAdapter(_shape(record)).json_schema()


@cache
def _adapter(records: tuple[type[Event], ...]) -> TypeAdapter[Any]:
    """Return what checks the values of a topic; one for all that read it, for it takes 10 to 20 ms to make."""
    shapes = [_shape(record) for record in records]
    shape: Any = shapes[0] if len(shapes) == 1 else Annotated[Union[tuple(shapes)], Discriminator("event")]
    return TypeAdapter(shape)


class Decoder:
    """Decodes the values of one topic, which holds records of the given types; several are told apart by ``event``."""

    def __init__(self, *records: type[Event]) -> None:
        self._by_tag = {record._options.defaults.get("event", ""): record for record in records}
        self._validate = _adapter(records).validate_json

    def __call__(self, raw: bytes | None) -> Event | Malformed:
        """Return the record in ``raw``, or what is wrong with it."""
        if not raw:
            return Malformed(raw, "the record has no value; send a JSON object")
        try:
            fields = cast("dict[str, Any]", self._validate(raw))
        except ValidationError as error:
            problems = (
                f"{'.'.join(str(part) for part in problem['loc']) or 'value'}: {_SAID.get(problem['type'], problem['msg'])}"
                for problem in error.errors(include_url=False, include_input=False, include_context=False)
            )
            return Malformed(raw, "; ".join(problems)[:_LONGEST_REASON])
        if len(self._by_tag) == 1:
            (record,) = self._by_tag.values()
        else:
            record = self._by_tag[fields["event"]]
        return record(**fields)


def passed_over(raw: bytes, record: type[Event]) -> str:
    """Return which fields are not those of ``record`` in JSON that decodes as one, and which keys are given twice.

    For what is written by others: a misspelt field would have no effect, and of two values one would not count.
    """
    found: dict[str, str] = {}  # the field, and what is wrong with it

    def checked(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        twice = key_given_twice(pairs)
        if twice is not None:
            found[twice] = "is given twice in one object; keep one of them"
        return dict(pairs)

    fields = json.loads(raw, object_pairs_hook=checked)
    for name in fields.keys() - record._options.fields.keys():
        found[name] = "is not known here; remove it or check its spelling"
    return "; ".join(f"{excerpt(name, _LONGEST_NAME)}: {found[name]}" for name in sorted(found))[:_LONGEST_REASON]


def encode(record: Event) -> bytes:
    """Return the JSON of ``record`` without its empty optional fields."""
    values = vars(record)  # a look at each through Faust's descriptors would cost as much as all the rest
    return json_bytes({name: value for name in record._options.fields if (value := values[name]) is not None})


def json_bytes(value: Any) -> bytes:
    """Return JSON as records and answers are written.

    Half of a surrogate pair, which no reader would take, becomes a question mark.

    Raises:
        TypeError, ValueError, RecursionError: it cannot be written.
    """
    try:
        return orjson.dumps(value, option=orjson.OPT_UTC_Z)
    except TypeError:
        # Inputs and outputs may hold what orjson refuses: integers beyond 64 bits, half of a surrogate pair.
        text = json.dumps(value, default=datetime.isoformat, ensure_ascii=False, separators=(",", ":"))
        return text.encode("utf-8", "replace")


class EventSchema(Schema[Any, Any]):
    """A Faust schema that reads keys as text and values through a :class:`Decoder`."""

    def __init__(self, *records: type[Event]) -> None:
        super().__init__(key_type=str, value_type=records[0], key_serializer="raw", value_serializer="raw")
        self._decode = Decoder(*records)

    def loads_key(self, app: AppT, message: Message, **_: Any) -> str | None:
        """Return the key as text; bytes that are not UTF-8 are shown with escapes rather than refused."""
        return None if message.key is None else message.key.decode("utf-8", "backslashreplace")

    def loads_value(self, app: AppT, message: Message, **_: Any) -> Event | Malformed:
        """Return the record, or :class:`Malformed`."""
        return self._decode(message.value)

    def dumps_key(self, app: AppT, key: Any, *, headers: Any, **_: Any) -> tuple[bytes | None, Any]:
        """Return the key's bytes."""
        return key.encode() if isinstance(key, str) else key, headers

    def dumps_value(self, app: AppT, value: Any, *, headers: Any, **_: Any) -> tuple[bytes, Any]:
        """Return the record's JSON; text and bytes pass as they are, for ``faust send`` and for re-sending."""
        if isinstance(value, Event):
            return encode(value), headers
        return value.encode() if isinstance(value, str) else value, headers
