import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.inputs import LARGEST_INPUT, BadInput, BadSchema, InputSchema, check_input


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


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "properties", "items", "$ref", "$defs", "allOf", "required", "pattern", "enum", "a", "not"]
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
        InputSchema(schema).check({"a": value})
    except (BadSchema, BadInput) as error:
        assert str(error)
