"""``publish`` with the broker replaced by a function."""

import asyncio
import json

import pytest

from actions.registry import WorkflowDefinition, run_action
from actions.running import Context, Resources, Succeeded


def publish_action(**fields):
    action = {"type": "publish", "topic": "orders", **fields}
    return WorkflowDefinition.model_validate(
        {"workflowId": "w", "trigger": {"type": "manual"}, "actions": [action]}
    ).actions[0]


async def publish(answer=(2, 17), *, own=False, **fields):
    """Run the action; return its outcome and what was sent."""
    sent = []

    async def send(topic, key, value, headers):
        sent.append((topic, key, value, dict(headers)))
        if isinstance(answer, BaseException):
            raise answer
        return answer

    resources = Resources(http=None, send=send, publish_own_topics=own)
    context = Context("e", "w", "say", attempt=1, epoch=1, resources=resources)
    return await run_action(publish_action(**fields), context), sent


async def test_a_message_goes_out_with_key_headers_and_json_and_says_where_it_is():
    outcome, sent = await publish(key="é", headers={"X": "ü"}, value={"a": [1, None, "é"]})
    assert isinstance(outcome, Succeeded)
    assert outcome.output == {"topic": "orders", "partition": 2, "offset": 17}
    assert outcome.logs == ("orders [2@17]",)
    ((topic, key, value, headers),) = sent
    assert (topic, key, json.loads(value)) == ("orders", "é".encode(), {"a": [1, None, "é"]})
    assert headers == {"Idempotency-Key": b"e:say", "X": "ü".encode()}


@pytest.mark.parametrize(
    "topic",
    [
        "workflow.execution", "workflow.action-result", "workflow.dead-letter", "runner-busy-changelog",
        "runner-v2-retries-changelog", "scheduler-__assignor-__leader", "__consumer_offsets",
    ],
)  # fmt: skip
async def test_topics_of_the_system_are_refused_unless_the_operator_allows_them(topic):
    outcome, sent = await publish(topic=topic)
    assert (outcome.error_class, sent) == ("refused", [])
    outcome, sent = await publish(topic=topic, own=True)
    assert isinstance(outcome, Succeeded)


@pytest.mark.parametrize("topic", ["runner-events", "workflows-done", "my.workflow.execution", "workflow-orders"])
async def test_topics_of_others_are_theirs(topic):
    outcome, _ = await publish(topic=topic)
    assert isinstance(outcome, Succeeded)


@pytest.mark.parametrize(
    ("answer", "error_class"),
    [(asyncio.TimeoutError(), "timeout"), (ConnectionError("gone"), "connection"), (RuntimeError(), "connection")],
)
async def test_what_is_not_acknowledged_may_have_arrived(answer, error_class):
    outcome, _ = await publish(answer)
    assert (outcome.error_class, outcome.maybe_done) == (error_class, True)
    assert "orders" in outcome.message


@pytest.mark.parametrize(
    ("word", "fields", "said"),
    [
        ("too large", {"value": "x" * 900_000}, "900002 bytes of JSON"),
        ("half a pair", {"value": "\ud800"}, "surrogate"),
    ],
)
async def test_what_cannot_be_a_message_is_not_sent(word, fields, said):
    outcome, sent = await publish(**fields)
    assert (outcome.error_class, sent) == ("bad-input", [])
    assert said in outcome.message
