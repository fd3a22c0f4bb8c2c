"""Subscriptions to topics, and what a record of one makes."""

from dataclasses import dataclass
from datetime import datetime, timezone

import pytest
from pydantic import ValidationError

from domain.subscription import BadRecord, Subscribed, Subscription, input_of, timestamp_of

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass
class Given:
    value: bytes | None = None
    key: bytes | None = None
    timestamp: int = 1_767_225_600_000
    headers: tuple = ()
    topic: str = "orders"
    partition: int = 3
    offset: int = 17


@pytest.mark.parametrize(
    ("word", "value", "expected"),
    [
        ("an object", b'{"order": 17}', {"value": {"order": 17}}),
        ("a number", b"17", {"value": 17}),
        ("a text in JSON", b'"a"', {"value": "a"}),
        ("a text", b"order 17", {"value": "order 17"}),
        ("nothing between the quotation marks", b"", {"value": ""}),
        ("JSON by halves", b'{"order": ', {"value": '{"order": '}),
        ("what only Python takes for JSON", b"[NaN]", {"value": "[NaN]"}),
        ("no UTF-8", b"\xff\x00", {"value": None, "base64": "/wA="}),
        ("a tombstone", None, {"value": None}),
    ],
)
def test_the_value_is_json_or_text_or_base64(word, value, expected):
    assert {name: each for name, each in input_of(Given(value)).items() if name in ("value", "base64")} == expected


def test_the_place_the_key_and_the_headers_are_told():
    given = Given(None, b"k", headers=[("a", b"1"), ("b", b"\xff"), ("a", b"2"), ("c", None)])
    assert input_of(given) == {
        "topic": "orders",
        "partition": 3,
        "offset": 17,
        "key": "k",
        "timestamp": "2026-01-01T00:00:00.000Z",
        "headers": {"a": ["1", "2"], "b": "\\xff", "c": None},
        "value": None,
    }


@pytest.mark.parametrize(
    ("word", "value", "said"),
    [
        ("a key twice", b'{"a": {"b": 1, "b": 2}}', "value: b is given twice in one object; keep one of them"),
        ("too deep", b"[" * 100_000 + b"]" * 100_000, "value is nested deeper than 64 levels; flatten it"),
    ],
)
def test_what_readers_would_take_for_different_things_is_refused(word, value, said):
    with pytest.raises(BadRecord, match=said):
        input_of(Given(value))


@pytest.mark.parametrize(
    ("word", "millis", "year"),
    [("none", -1, 1970), ("seconds for milliseconds", 1_767_225_600, 1970), ("microseconds", 1_767_225_600_000_000, 2200)],
)
def test_any_timestamp_is_taken(word, millis, year):
    assert timestamp_of(Given(timestamp=millis)).year == year


@pytest.mark.parametrize("topic", ["orders", "a.b_c-1", "runner-up", "workflows"])
def test_topics_of_others_may_be_read(topic):
    assert Subscription.model_validate({"topic": topic}).from_ == "now"


@pytest.mark.parametrize(
    ("topic", "said"),
    [
        ("workflow.execution", "belongs to this system; name one of your own"),
        ("runner-busy-changelog", "belongs to this system"),
        ("__consumer_offsets", "belongs to this system"),
        ("a b", "must be a topic"),
        ("..", "must be a topic"),
        ("", "must be a topic"),
    ],
)
def test_other_topics_may_not(topic, said):
    with pytest.raises(ValidationError, match=said):
        Subscription.model_validate({"topic": topic})


def test_each_subscription_has_a_group_of_its_own():
    subscribed = Subscribed.of("w", Subscription.model_validate({"topic": "t", "from": "earliest"}).to_document(), T0)
    assert subscribed == Subscribed("w", "t", T0, is_from_earliest=True)
    assert subscribed.group == "workflow.w.2026-01-01T00:00:00.000Z"
