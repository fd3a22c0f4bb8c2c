"""What becomes of a record that is sent on a topic of the contract."""

import asyncio
from types import SimpleNamespace

import faust
import pytest
from aiokafka.errors import KafkaTimeoutError

from events.records import WorkflowChanged
from events.topics import SCHEDULE, partition_of

RECORD = WorkflowChanged(workflow_id="w", version=1)


@pytest.fixture
async def app():
    """An app whose producer notes what it is given, and whose sensors note what they are told."""
    app = faust.App("anybody", broker="kafka://nowhere:1")
    app.given, app.told, app.acknowledgement = [], [], asyncio.get_running_loop().create_future()

    async def send(topic, key, value, partition, timestamp, headers):
        app.given.append((topic, key, value, partition, timestamp, headers))
        return app.acknowledgement

    async def maybe_start():
        pass

    def on_send_initiated(producer, topic, message, keysize, valsize):
        app.told.append((topic, keysize, valsize))
        return "state"

    app.producer = SimpleNamespace(started=True, send=send, maybe_start=maybe_start)
    app.sensors = SimpleNamespace(
        on_send_initiated=on_send_initiated,
        on_send_completed=lambda producer, state, metadata: app.told.append((state, metadata)),
        on_send_error=lambda producer, error, state: app.told.append((state, error)),
    )
    return app


@pytest.mark.parametrize(
    ("key", "value"),
    [("w", RECORD), (b"w", b"{}"), (None, "{}")],
    ids=["a record", "what is sent again", "text without a key"],
)
async def test_the_producer_is_given_what_faust_would_give_it(app, key, value):
    topic = SCHEDULE.bind(app)
    sent = await topic.send(key=key, value=value)
    await faust.Topic.send(topic, key=key, value=value)
    (*ours, partition, _, headers), (*fausts, _, _, no_headers) = app.given
    assert ours == fausts
    assert not headers and not no_headers
    assert sent is app.acknowledgement
    assert partition == (partition_of(key) if isinstance(key, str) else None)
    assert app.told[0] == app.told[1]


async def test_it_is_given_it_within_the_same_turn_of_the_loop(app):
    with pytest.raises(StopIteration):
        SCHEDULE.bind(app).send(key="w", value=RECORD).send(None)
    assert app.given


async def test_what_the_broker_says_is_told_to_the_sensors(app, logs):
    await SCHEDULE.bind(app).send(key="w", value=RECORD)
    app.acknowledgement.set_result("metadata")
    await asyncio.sleep(0)
    assert app.told[1:] == [("state", "metadata")]
    assert logs == []


async def test_what_the_broker_does_not_acknowledge_is_logged(app, logs):
    await SCHEDULE.bind(app).send(key="w", value=RECORD)
    error = KafkaTimeoutError()
    app.acknowledgement.set_exception(error)
    await asyncio.sleep(0)
    assert app.told[1:] == [("state", error)]
    assert [(entry["event"], entry["topic"]) for entry in logs] == [("not acknowledged", SCHEDULE.name)]


async def test_a_producer_that_is_not_there_yet_is_started(app):
    app.producer.started, begun = False, []

    async def maybe_start():
        begun.append(True)

    app.producer.maybe_start = maybe_start
    await SCHEDULE.bind(app).send(key="w", value=RECORD)
    assert begun and app.given
