"""Dead letters: what no service could take, with the reason, kept on a topic of its own."""

import base64
from datetime import datetime, timezone

from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from faust.types import TopicT

from domain.topic import Record
from events.records import DeadLetter

_TOO_LARGE = (MessageSizeTooLargeError, RecordListTooLargeError)


def dead_letter(message: Record, raw: bytes | None, reason: str) -> DeadLetter:
    """Return the dead letter of a record; ``raw`` are the value's bytes as they came."""
    return DeadLetter(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        reason=reason,
        at=datetime.now(timezone.utc),
        key=base64.b64encode(message.key).decode() if message.key is not None else None,
        value=base64.b64encode(raw).decode() if raw is not None else None,
    )


async def send_dead_letter(topic: TopicT, message: Record, reason: str) -> None:
    """Publish a record as a dead letter, acknowledged by the broker.

    A letter that the broker takes for too large goes without its value: that is to be found where it came from, and no
    letter at all would leave its partition stuck behind it.
    """
    raw = message.value
    try:
        await _send(topic, message, dead_letter(message, raw, reason))
    except Exception as error:
        if not isinstance(error, _TOO_LARGE) and not isinstance(error.__cause__, _TOO_LARGE):
            raise
        told = f"{reason} (its {len(raw or b'')} bytes are more than the broker takes in a dead letter)"
        await _send(topic, message, dead_letter(message, None, told))


async def _send(topic: TopicT, message: Record, letter: DeadLetter) -> None:
    await (await topic.send(key=message.key, value=letter))
