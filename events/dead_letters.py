"""Dead letters: what no service could take, with the reason, kept on a topic of its own."""

import base64
from datetime import datetime, timezone
from typing import Any

from faust.types import EventT, TopicT

from events.records import DeadLetter


def dead_letter(event: EventT[Any], raw: bytes | None, reason: str) -> DeadLetter:
    """Return the dead letter of ``event``; ``raw`` are the value's bytes as they came."""
    message = event.message
    return DeadLetter(
        topic=message.topic,
        partition=message.partition,
        offset=message.offset,
        reason=reason,
        at=datetime.now(timezone.utc),
        key=base64.b64encode(message.key).decode() if message.key is not None else None,
        value=base64.b64encode(raw).decode() if raw is not None else None,
    )


async def send_dead_letter(topic: TopicT, event: EventT[Any], reason: str) -> None:
    """Publish ``event`` as a dead letter, acknowledged by the broker."""
    letter = dead_letter(event, event.message.value, reason)
    await (await topic.send(key=event.message.key, value=letter))
