import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.inputs import LARGEST_INPUT, BadInput, BadSchema, InputSchema, check_input, complete_input


@pytest.mark.parametrize(
    ("word", "schema", "message"),
    [
        ("no type", {"type": "nope"}, "type"),
        ("elsewhere", {"$ref": "http://127.0.0.1/x"}, "lead within the schema"),
        ("a file", {"$ref": "file:///etc/passwd"}, "lead within the schema"),
        ("nowhere", {"$ref": "#/$defs/x"}, "leads nowhere"),
        ("a circle", {"$ref": "#"}, "circle"),
        (
            "a wide circle",
            {"$defs": {"a": {"items": {"$ref": "#/$defs/b"}}, "b": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
            "circle",
        ),
        (
            "a bomb",
            {
                "$defs": {"d40": {}, **{f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(40)}},
                "$ref": "#/$defs/d0",
            },
            "parts",
        ),
        ("look-around", {"properties": {"a": {"pattern": "(?=x)"}}}, "regex"),
        ("another draft", {"$schema": "http://json-schema.org/draft-04/schema#"}, "2020-12"),
        ("too large", {"description": "x" * 70_000}, "larger"),
        (
            "a deep shaft",
            {"$defs": {f"d{n}": {"items": {"$ref": f"#/$defs/d{n + 1}"}} for n in range(900)} | {"d900": {}}},
            "nested too deep",
        ),
    ],
)
def test_what_is_no_schema(word, schema, message):
    with pytest.raises(BadSchema, match=message):
        InputSchema(schema)


def test_problems_name_the_place():
    schema = InputSchema({"properties": {"a": {"items": {"required": ["n"], "properties": {"n": {"type": "integer"}}}}}})
    schema.check({"a": [{"n": 1}]})
    with pytest.raises(BadInput) as caught:
        schema.check({"a": [{"n": 1}, {"n": "x"}, {}]})
    assert [problem.path for problem in caught.value.problems] == ["input.a[1].n", "input.a[2]"]


def test_a_pattern_takes_linear_time():
    with pytest.raises(BadInput):
        InputSchema({"properties": {"a": {"pattern": "^(a+)+$"}}}).check({"a": "a" * 100_000 + "!"})


def test_large_input_is_refused():
    with pytest.raises(BadInput, match="at most"):
        check_input({"a": "x" * LARGEST_INPUT}, None)


REGION = {"properties": {"region": {"type": "string", "default": "eu"}}}
HOST = {"type": "object", "required": ["host"], "properties": {"host": {"default": "db"}, "port": {"default": None}}}


@pytest.mark.parametrize(
    ("word", "schema", "given", "complete"),
    [
        ("left out", REGION, {"a": 1}, {"a": 1, "region": "eu"}),
        ("given", REGION, {"region": "us"}, {"region": "us"}),
        ("given as something else, which is refused", {"properties": {"r": {"default": "eu"}}}, {"r": None}, {"r": None}),
        ("asked for", {**REGION, "required": ["region"]}, {}, {"region": "eu"}),
        ("within what is given", {"properties": {"x": HOST}}, {"x": {"host": "h"}}, {"x": {"host": "h", "port": None}}),
        ("within what is left out on purpose", {"properties": {"x": HOST}}, {}, {}),
        (
            "within what is so by default",
            {"properties": {"x": {**HOST, "default": {}}}},
            {},
            {"x": {"host": "db", "port": None}},
        ),
        ("in a list", {"properties": {"l": {"items": REGION}}}, {"l": [{}, 1]}, {"l": [{"region": "eu"}, 1]}),
        (
            "by reference, the outermost first",
            {
                "properties": {"a": {"$ref": "#/$defs/~0n"}, "b": {"$ref": "#/$defs/~0n", "default": 2}},
                "$defs": {"~n": {"type": "integer", "default": 1}},
            },
            {},
            {"a": 1, "b": 2},
        ),
        (
            "in all of several",
            {"allOf": [REGION, {"properties": {"region": {"default": "us"}, "n": {"default": 1}}}]},
            {},
            {"region": "eu", "n": 1},
        ),
        ("in what may hold", {"anyOf": [REGION, True], "if": REGION, "then": REGION}, {}, {}),
    ],
)
def test_what_is_so_by_default_is_filled_in(word, schema, given, complete):
    before = json.dumps(given)
    assert complete_input(given, schema) == complete
    assert json.dumps(given) == before, "what is given is not changed"


def test_an_input_is_checked_and_measured_with_its_defaults():
    with pytest.raises(BadInput, match=r"input\.region: "):
        complete_input({}, {**REGION, "maxProperties": 0, "properties": {"region": {"type": "string", "default": 1}}})
    large = {"properties": {"l": {"items": {"properties": {"x": {"default": "x" * 60_000}}}}}}
    with pytest.raises(BadInput, match="its defaults included"):
        complete_input({"l": [{}] * 50_000}, large)


def test_a_default_that_does_not_fit_is_told_where_it_stands():
    schema = {
        "properties": {
            "fits": {"default": {}, **HOST},
            "a~/ %ä": {"type": "string", "default": 1},
            "c": {"$ref": "#/$defs/n", "type": "string"},
            "d": {"default": {"port": "x"}, "properties": {"port": {"type": "integer"}}},
        },
        "$defs": {"n": {"default": 3}},
    }
    assert list(InputSchema(schema).wrong_defaults()) == [
        (("properties", "a~/ %ä", "default"), '1 is not of type "string"'),
        (("$defs", "n", "default"), '3 is not of type "string"'),
        (("properties", "d", "default"), 'port: "x" is not of type "integer"'),
    ]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "type",
                    "properties",
                    "items",
                    "$ref",
                    "$defs",
                    "allOf",
                    "required",
                    "pattern",
                    "enum",
                    "a",
                    "not",
                    "default",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["type", "properties", "items", "$ref", "anyOf", "pattern"]), JSON, max_size=4), JSON)
@settings(max_examples=300, deadline=None)
def test_any_schema_is_refused_or_checks(schema, value):
    try:
        found = InputSchema(schema)
        assert all(message for _, message in found.wrong_defaults())
        found.check(found.fill_in({"a": value}))
    except (BadSchema, BadInput) as error:
        assert str(error)
