"""A dead letter that is too large goes all the same."""

import base64
from types import SimpleNamespace

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError
from faust.exceptions import ProducerSendError

from events.dead_letters import send_dead_letter

RAW = b"x" * 100
MESSAGE = SimpleNamespace(topic="t", partition=3, offset=17, key=b"w", value=RAW)


class Topic:
    """Takes letters without a value alone; ``refuses`` is raised when the other ones are sent, or acknowledged."""

    def __init__(self, refuses, *, at_once):
        self.refuses = refuses
        self.at_once = at_once
        self.sent = []

    async def send(self, *, key, value):
        if value.value is not None and self.at_once:
            raise self.refuses

        async def acknowledged():
            if value.value is not None:
                raise self.refuses
            self.sent.append((key, value))

        return acknowledged()


def wrapped(error):
    outer = ProducerSendError("Error while sending")
    outer.__cause__ = error
    return outer


@pytest.mark.parametrize("at_once", [True, False], ids=["by the driver", "by the broker"])
@pytest.mark.parametrize("refuses", [MessageSizeTooLargeError(), wrapped(MessageSizeTooLargeError())])
async def test_without_its_value_where_it_is_too_large(refuses, at_once):
    topic = Topic(refuses, at_once=at_once)
    await send_dead_letter(topic, MESSAGE, "no JSON")
    ((key, letter),) = topic.sent
    assert key == b"w"
    assert (letter.partition, letter.offset, letter.value) == (3, 17, None)
    assert base64.b64decode(letter.key) == b"w"
    assert letter.reason == "no JSON (its 100 bytes are more than the broker takes in a dead letter)"


async def test_whatever_else_goes_wrong_is_raised():
    topic = Topic(wrapped(KafkaConnectionError()), at_once=True)
    with pytest.raises(ProducerSendError):
        await send_dead_letter(topic, MESSAGE, "no JSON")
    assert topic.sent == []
