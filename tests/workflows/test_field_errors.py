"""Each wrong field is named as its author wrote it, with the mend."""

from typing import Any

import pytest
from pydantic import ValidationError

from actions.registry import WorkflowDefinition
from actions.wording import LONGEST_MESSAGE, RULES
from apps.workflows.field_errors import field_errors
from apps.workflows.queries import Page, Query
from domain.durations import DURATION_PATTERN
from domain.rates import RATE_PATTERN
from tests.workflows.test_bodies import read_from_bodies

LOG = {"type": "log", "message": "hello"}
HTTP = {"type": "http-request", "url": "https://example.org", "method": "GET"}
GOOD: dict[str, Any] = {"workflowId": "a", "trigger": {"type": "manual"}, "actions": [LOG]}


def errors_of(data: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        WorkflowDefinition.model_validate(data)
    return {error.field: error.message for error in field_errors(caught.value, data, WorkflowDefinition)}


@pytest.mark.parametrize(
    ("change", "field", "said"),
    [
        pytest.param({"workflowId": "a b"}, "workflowId", "letters, digits", id="id with a space"),
        pytest.param({"workflowId": 7}, "workflowId", "must be a string, not a number", id="id that is a number"),
        pytest.param({"nope": 1}, "nope", "not known here", id="unknown field"),
        pytest.param({"workflow_id": "a"}, "workflow_id", "not known here", id="snake case"),
        pytest.param({"version": 3}, "version", "set by the service", id="sent back as read"),
        pytest.param({"kafka": "orders"}, "kafka", "must be an object, not a string", id="topic alone"),
        pytest.param({"kafka": {}}, "kafka.topic", "is required", id="no topic"),
        pytest.param(
            {"kafka": {"topic": "a b"}}, "kafka.topic", "must be a topic: 1 to 249 letters", id="no name of a topic"
        ),
        pytest.param(
            {"kafka": {"topic": "workflow.execution"}}, "kafka.topic", "belongs to this system; name one", id="own topic"
        ),
        pytest.param({"kafka": {"topic": "a", "from": "latest"}}, "kafka.from", "'now' or 'earliest'", id="from latest"),
        pytest.param(
            {"trigger": {"type": "periodic", "interval": "5s"}, "kafka": {"topic": "a"}},
            "kafka",
            '"allowManual": true',
            id="topic of what runs on its schedule alone",
        ),
        pytest.param({"trigger": None}, "trigger", "must be an object, not null", id="trigger null"),
        pytest.param({"trigger": "manual"}, "trigger", "must be an object, not a string", id="trigger text"),
        pytest.param({"trigger": {}}, "trigger.type", "is required", id="trigger without type"),
        pytest.param({"trigger": {"type": "x"}}, "trigger.type", "must be 'manual' or 'periodic'", id="trigger type"),
        pytest.param({"trigger": {"type": None}}, "trigger.type", "or 'once', not null", id="trigger type null"),
        pytest.param({"trigger": {"type": "periodic"}}, "trigger.interval", "is required", id="no interval"),
        pytest.param(
            {"trigger": {"type": "manual", "interval": "5s"}}, "trigger.interval", "not known", id="interval of manual"
        ),
        pytest.param({"trigger": {"type": "manual", "status": "idle"}}, "trigger.status", "set by the service", id="status"),
        *[
            pytest.param(
                {"trigger": {"type": "periodic", "interval": text}}, "trigger.interval", said, id=f"interval {word}"
            )
            for word, text, said in [
                ("interval zero", "0s", "such as 10s"),
                ("interval negative", "-5s", "such as 10s"),
                ("interval fraction", "1.5s", "such as 10s"),
                ("interval without unit", "10", "such as 10s"),
                ("interval unknown unit", "10w", "such as 10s"),
                ("interval empty", "", "such as 10s"),
                ("interval in other digits", "\N{ARABIC-INDIC DIGIT FIVE}s", "such as 10s"),
                ("interval absurd", "9999999h", "longer than 366 days"),
                ("interval endless", "9" * 1000 + "s", "at most 16 characters"),
                ("interval number", 10, "must be a string, not a number"),
            ]
        ],
        pytest.param({"actions": []}, "actions", "at least 1", id="no actions"),
        pytest.param({"actions": {}}, "actions", "must be an array, not an object", id="actions object"),
        pytest.param({"actions": [LOG] * 101}, "actions", "at most 100", id="101 actions"),
        pytest.param({"actions": [5]}, "actions[0]", "must be an object, not a number", id="action number"),
        pytest.param({"actions": [LOG, {}]}, "actions[1].type", "is required", id="action without type"),
        pytest.param({"actions": [{"type": "x"}]}, "actions[0].type", "must be 'log' or 'http-request'", id="action type"),
        pytest.param({"actions": [{"type": "log"}]}, "actions[0].message", "is required", id="log without message"),
        pytest.param({"actions": [LOG | {"log": 1}]}, "actions[0].log", "not known here", id="field named as the type"),
        pytest.param(
            {"actions": [{"type": "set", "values": {"a b": 1}}]}, "actions[0].values.a b", "is no name", id="value name"
        ),
        pytest.param({"actions": [LOG | {"actionId": "a b"}]}, "actions[0].actionId", "letters, digits", id="action id"),
        pytest.param({"actions": [LOG | {"actionId": "x"}] * 2}, "actions", "'x' is used twice", id="action id twice"),
        pytest.param({"actions": [HTTP | {"url": "nope"}]}, "actions[0].url", "https://example.org/path", id="url"),
        pytest.param({"actions": [HTTP | {"method": "get"}]}, "actions[0].method", "'GET', 'PUT'", id="method"),
        pytest.param({"actions": [HTTP | {"method": None}]}, "actions[0].method", "not null", id="method null"),
        pytest.param({"actions": [HTTP | {"maxBody": 2**30}]}, "actions[0].maxBody", "be 16777216 or less", id="large body"),
        pytest.param({"actions": [HTTP | {"headers": {"A": 1}}]}, "actions[0].headers.A", "a string", id="header"),
        pytest.param({"actions": [HTTP | {"body": "x", "json": 1}]}, "actions[0]", "keep one", id="two bodies"),
        pytest.param(
            {"actions": [{"type": "delay", "duration": "1s"}]},
            "actions[0]",
            "is a delay with nothing after",
            id="last delay",
        ),
        pytest.param({"retries": -1}, "retries", "must be 0 or more", id="negative retries"),
        pytest.param({"retries": 101}, "retries", "must be 100 or less", id="101 retries"),
        pytest.param({"retries": 1.5}, "retries", "must be a whole number", id="retries and a half"),
        pytest.param({"retries": "3"}, "retries", "must be a whole number, not a string", id="retries text"),
        pytest.param({"retries": True}, "retries", "must be a whole number, not a boolean", id="retries boolean"),
        pytest.param({"retries": 3.0}, "retries", "must be a whole number, not 3.0", id="retries with a point"),
        pytest.param({"backoff": {"factor": "2"}}, "backoff.factor", "must be a number, not a string", id="factor text"),
        pytest.param(
            {"overlap": {"policy": "queue", "max": "3"}},
            "overlap.max",
            "must be a whole number, not a string",
            id="max text",
        ),
        pytest.param(
            {"trigger": {"type": "periodic", "interval": "5s", "allowManual": "yes"}},
            "trigger.allowManual",
            "must be true or false, not a string",
            id="boolean text",
        ),
        pytest.param({"backoff": {"base": "x"}}, "backoff.base", "such as 10s", id="backoff base"),
        pytest.param({"backoff": {"base": "1h", "cap": "1s"}}, "backoff", "raise cap", id="cap below base"),
        pytest.param({"backoff": 5}, "backoff", "must be an object, not a number", id="backoff number"),
    ],
)
def test_one_wrong_field(change: dict[str, Any], field: str, said: str) -> None:
    found = errors_of(GOOD | change)
    assert list(found) == [field]
    assert said in found[field]


@pytest.mark.parametrize(
    ("change", "field", "mend"),
    [
        pytest.param({"on_failure": [LOG]}, "on_failure", "did you mean onFailure?", id="snake case"),
        pytest.param({"tasks": [LOG]}, "tasks", "did you mean actions?", id="word of others"),
        pytest.param({"actions": [HTTP | {"tiemout": "3s"}]}, "actions[0].tiemout", "did you mean timeout?", id="slip"),
        pytest.param({"actions": [HTTP | {"name": "a"}]}, "actions[0].name", "did you mean actionId?", id="name of a step"),
        pytest.param(
            {"actions": [HTTP | {"retry": {"delay": "3s"}}]},
            "actions[0].retry.delay",
            "did you mean initial?",
            id="in a retry",
        ),
        pytest.param(
            {"trigger": {"type": "cron", "expression": "@daily", "tz": "UTC"}},
            "trigger.tz",
            "mean timezone?",
            id="in a union",
        ),
        pytest.param({"zebra": 1}, "zebra", "not known here; remove it", id="word of nobody"),
        pytest.param({"actions": [LOG | {"uri": "x"}]}, "actions[0].uri", "remove it", id="field of another kind"),
        pytest.param({"trigger": "manual"}, "trigger", "write for example {type: manual}", id="trigger that is a word"),
        pytest.param(
            {"trigger": {"type": "kafka", "topic": "a"}}, "trigger.type", "beside the trigger kafka: {", id="topic"
        ),
        pytest.param({"actions": [{"type": "kafka"}]}, "actions[0].type", "did you mean 'publish'?", id="kafka as a step"),
        pytest.param({"actions": [{"type": "htp-request"}]}, "actions[0].type", "mean 'http-request'?", id="slip in a kind"),
        pytest.param({"actions": [HTTP | {"timeout": 30}]}, "actions[0].timeout", "write for example 10s", id="no unit"),
        pytest.param({"timeout": 30}, "timeout", "write for example 10s", id="no unit in what may be absent"),
        pytest.param({"actions": [HTTP | {"body": {"a": 1}}]}, "actions[0].body", "did you mean json?", id="body of JSON"),
    ],
)
def test_what_was_meant_is_told(change: dict[str, Any], field: str, mend: str) -> None:
    found = errors_of(GOOD | change)
    assert list(found) == [field]
    assert mend in found[field]


def test_every_wrong_field_is_named() -> None:
    found = errors_of({"trigger": {"type": "periodic", "interval": "0s"}, "actions": [{"type": "log"}, 5], "retries": -1})
    assert list(found) == ["workflowId", "trigger.interval", "actions[0].message", "actions[1]", "retries"]


def test_too_few_actions_are_told_only_of_an_empty_list() -> None:
    assert errors_of(GOOD | {"actions": [{"type": "log"}]}) == {"actions[0].message": "is required"}


def test_what_is_no_object_is_the_body() -> None:
    assert errors_of([]) == {"body": "must be an object, not an array"}


def test_a_message_is_bounded() -> None:
    found = errors_of(GOOD | {"actions": [HTTP | {"url": "x" * 8000}], "y" * 5000: 1})
    assert all(len(message) <= LONGEST_MESSAGE for message in found.values())
    assert all(len(field) <= 200 for field in found)


def test_no_field_is_told_to_match_a_regular_expression() -> None:
    def patterns(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return {pattern for item in schema for pattern in patterns(item)}
        if not isinstance(schema, dict):
            return set()
        own = {schema["pattern"]} if isinstance(schema.get("pattern"), str) else set()
        return own | patterns(list(schema.values()))

    # Durations and rates are checked, and told of, by their own code.
    read = [WorkflowDefinition, *read_from_bodies(), *Query.__subclasses__(), *Page.__subclasses__()]
    assert patterns([model.model_json_schema() for model in read]) - {DURATION_PATTERN, RATE_PATTERN} <= RULES.keys()
