"""What of JSON gets past the door, and what is said of the rest."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from pydantic import ValidationError

from apps.workflows.bodies import parse, read_bytes
from apps.workflows.errors import BadRequest
from apps.workflows.queries import Query
from domain.json_values import DEEPEST
from domain.model import Model


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        pytest.param(b"{}", {}, id="empty object"),
        pytest.param(b' {"a": [1, -2.5, true, null, "x"]}\n', {"a": [1, -2.5, True, None, "x"]}, id="every type"),
        pytest.param(b'"\\ud83d\\ude00"', "\N{GRINNING FACE}", id="surrogate pair"),
        pytest.param('"\N{GRINNING FACE}"'.encode(), "\N{GRINNING FACE}", id="beyond the basic plane"),
        pytest.param(b"9223372036854775807", 2**63 - 1, id="largest number"),
        pytest.param(b"-9223372036854775808", -(2**63), id="smallest number"),
        pytest.param(b'{"a": {"b": 1}, "b": 1}', {"a": {"b": 1}, "b": 1}, id="same key in two objects"),
        pytest.param(b"[" * DEEPEST + b"]" * DEEPEST, None, id="deepest"),
    ],
)
def test_taken(raw: bytes, value: object) -> None:
    parsed = parse(raw)
    assert value is None or parsed == value


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        pytest.param(b'{"a": }', "line 1, column 7", id="bad JSON"),
        pytest.param(b"{'a': 1}", "line 1, column 2", id="Python quotes"),
        pytest.param(b"{} {}", "line 1, column 4", id="two values"),
        pytest.param(b'{"a": "\xff"}', "not UTF-8 at byte 7", id="latin-1"),
        pytest.param(b"\xef\xbb\xbf{}", "line 1, column 1", id="byte order mark"),
        pytest.param(b"[" * 500_000, "deeper than 64", id="500,000 levels"),
    ],
)
def test_refused(raw: bytes, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(raw)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


async def test_who_goes_away_within_a_body_is_no_failure_of_the_service() -> None:
    payload = StreamReader(BaseProtocol(asyncio.get_running_loop()), 2**16)
    payload.feed_data(b"{")
    payload.set_exception(ConnectionResetError("Connection lost"))
    request = make_mocked_request("POST", "/workflows", payload=payload)
    with pytest.raises(BadRequest, match="send all of it"):
        await read_bytes(request)


@pytest.mark.parametrize(
    ("raw", "field", "said"),
    [
        pytest.param(b'{"a": 1, "a": 2}', "a", "is given twice", id="key twice"),
        pytest.param(b'{"a": [{"b": 1, "\\u0062": 2}]}', "b", "is given twice", id="key twice, one escaped, deep inside"),
        pytest.param(b'{"a": NaN}', "a", "not a number", id="NaN"),
        pytest.param(b'{"a": [1, -Infinity]}', "a[1]", "not a number", id="infinity"),
        pytest.param(b'{"a": 1e999}', "a", "not a number", id="number that becomes infinite"),
        pytest.param(b'{"a": [{"b": 9223372036854775808}]}', "a[0].b", "64 bits", id="number of 65 bits"),
        pytest.param(b'{"a": -9223372036854775809}', "a", "64 bits", id="negative number of 65 bits"),
        pytest.param(b'{"a": ' + b"9" * 100_000 + b"}", "a", "64 bits", id="number of 100,000 digits"),
        pytest.param(b'{"a": "\\ud800"}', "a", "half of a surrogate", id="lone surrogate in a value"),
        pytest.param(b'{"a": {"\\udfff": 1}}', "a", "half of a surrogate", id="lone surrogate in a key"),
        pytest.param(b'{"\\udfff": 1}', "body", "half of a surrogate", id="lone surrogate as a field"),
        pytest.param(b'{"\\udfff": NaN}', "body", "half of a surrogate", id="and what is in there"),
        pytest.param(b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "[0]" * 63, "deeper than 64", id="one level too deep"),
        pytest.param(b'{"a":' * 500 + b"1" + b"}" * 500, "a" + ".a" * 62, "deeper than 64", id="500 objects"),
        pytest.param(b'{"%s": NaN}' % (b"a" * 500), "a" * 199 + "…", "not a number", id="a long name"),
    ],
)
def test_refused_by_its_field(raw: bytes, field: str, said: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(raw)
    (error,) = caught.value.errors
    assert error.field == field
    assert said in error.message


def read_from_bodies(base: type[Model] = Model) -> Iterator[type[Model]]:
    """Yield the models of bodies and of their parts: all but those of answers, and of addresses, where all is text."""
    for model in base.__subclasses__():
        if model is not Query and not model.__module__.startswith(("apps.workflows.answers.", "tests.")):
            yield model
            yield from read_from_bodies(model)


def numbers_and_booleans() -> Iterator[tuple[type[Model], str]]:
    for model in read_from_bodies():
        for name, schema in model.model_json_schema().get("properties", {}).items():
            types = {each.get("type") for each in schema.get("anyOf", [schema])}
            if types & {"integer", "number", "boolean"} and "string" not in types:
                yield model, name


def test_text_is_no_number_and_no_boolean_wherever_a_body_holds_one() -> None:
    found = list(numbers_and_booleans())
    for model, name in found:
        with pytest.raises(ValidationError) as caught:
            model.model_validate({name: "1"})
        wrong = {error["loc"]: error["type"] for error in caught.value.errors()}
        assert wrong.get((name,)) in ("int_type", "float_type", "bool_type"), (model, name)
    assert {("Asked", "dryRun"), ("RollBack", "version"), ("HttpRequestAction", "maxBody"), ("Backoff", "factor")} <= {
        (model.__name__, name) for model, name in found
    }
