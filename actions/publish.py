"""``publish``: sends one message to a Kafka topic, and is done when the broker has acknowledged it.

The topics of this system are refused: a message there could start, end or forge executions. ``PUBLISH_OWN_TOPICS`` lets
them pass, for those who know what they do.
"""

import asyncio
import json
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, JsonValue, ValidationInfo

from actions.running import Context, Failed, Outcome, Succeeded
from domain.action import Action
from domain.excerpts import excerpt
from domain.topic import TOPIC_RULE, is_own, is_topic
from templates.template import is_open

TIMEOUT: Final = 10.0  # seconds until the broker must have acknowledged
OWN_TOPIC: Final = "topic {topic} belongs to this system; publish to one of your own"
LARGEST_MESSAGE: Final = 900_000  # bytes; brokers take 1 MiB with everything around it


def _topic(text: str, info: ValidationInfo) -> str:
    if not is_open(text, info) and not is_topic(text):
        raise ValueError(TOPIC_RULE)
    return text


class PublishAction(Action):
    """Sends one message to a Kafka topic."""

    type: Literal["publish"]
    topic: Annotated[str, Field(max_length=1000), AfterValidator(_topic)] = Field(description="Must exist already.")
    key: str | None = Field(
        default=None, max_length=10_000, description="Messages of one key stay in order; none spreads them."
    )
    headers: dict[str, str] = Field(default_factory=dict, max_length=100, description="Sent as UTF-8.")
    value: JsonValue = Field(default=None, description="Sent as JSON.")

    @property
    def is_idempotent(self) -> bool:
        """Whether a second message does nothing: only its readers can tell, by the Idempotency-Key."""
        return False


async def run(action: PublishAction, context: Context) -> Outcome:
    """Send the message."""
    if not is_topic(action.topic):
        return Failed("bad-input", f"topic: {excerpt(action.topic, 100)!r} is not a topic")
    if is_own(action.topic) and not context.resources.publish_own_topics:
        return Failed("refused", OWN_TOPIC.format(topic=action.topic))
    if context.resources.send is None:
        return Failed("internal", "this runner cannot publish")
    try:
        value = json.dumps(action.value, ensure_ascii=False, separators=(",", ":")).encode()
        key = None if action.key is None else action.key.encode()
        # A receiver can tell a repetition by the header.
        headers = {"Idempotency-Key": context.idempotency_key, **action.headers}
        encoded = [(name, text.encode()) for name, text in headers.items()]
    except UnicodeEncodeError:
        return Failed("bad-input", "the message holds half of a surrogate pair, which UTF-8 cannot hold")
    if len(value) > LARGEST_MESSAGE:
        return Failed("bad-input", f"value: {len(value)} bytes of JSON are more than {LARGEST_MESSAGE}")
    try:
        partition, offset = await asyncio.wait_for(context.resources.send(action.topic, key, value, encoded), TIMEOUT)
    except asyncio.TimeoutError:
        message = f"topic {action.topic} did not acknowledge within {TIMEOUT:g} s; does it exist?"
        return Failed("timeout", message, maybe_done=True)
    except Exception as error:  # of the driver: every kind means that the message was not acknowledged
        return Failed("connection", f"topic {action.topic}: {error or type(error).__name__}", maybe_done=True)
    return Succeeded(
        logs=(f"{action.topic} [{partition}@{offset}]",),
        output={"topic": action.topic, "partition": partition, "offset": offset},
    )
