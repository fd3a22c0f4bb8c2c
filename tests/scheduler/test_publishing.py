"""Publishing waits for the broker, but never for long, and never raises."""

import asyncio

import pytest

from apps.scheduler.publishing import KafkaPublisher
from domain.execution import Status
from tests.scheduler.memory import START


class Topic:
    """A Faust topic whose broker answers as the test wants."""

    def __init__(self):
        self.sent = []
        self.answer = None
        self.error = None

    def get_topic_name(self):
        return "topic"

    async def send(self, *, key, value):
        if self.error is not None:
            raise self.error
        self.sent.append((key, value))
        self.answer = asyncio.get_running_loop().create_future()
        if self.acknowledges:
            self.answer.set_result(None)
        return self.answer

    acknowledges = True


@pytest.fixture
def topics():
    return Topic(), Topic()


@pytest.fixture
def publisher(topics):
    return KafkaPublisher(execution=topics[0], action_result=topics[1], timeout=0.02)


async def test_a_request_carries_what_the_runner_needs(world, topics, publisher):
    execution = world.executions.put("w", "e", epoch=3, attempt=2, due_at=START)
    assert await publisher.request(execution)
    ((key, record),) = topics[0].sent
    assert (key, record.execution_id, record.epoch, record.attempt, record.due_at) == ("w", "e", 3, 2, START)
    assert record.requested_at == START


async def test_an_end_goes_to_the_results(world, topics, publisher):
    execution = world.executions.put("w", "e", status=Status.FAILED, finished_at=START, reason="given up")
    assert await publisher.ended(execution)
    ((key, record),) = topics[1].sent
    assert (key, record.ended, record.reason, record.at) == ("w", "failed", "given up", START)


async def test_a_broker_that_does_not_answer_is_waited_for_no_longer_than_the_limit(world, topics, publisher):
    topics[0].acknowledges = False
    assert not await publisher.request(world.executions.put("w", "e"))
    topics[0].answer.set_result("late")  # as the driver does when the broker answers at last
    await asyncio.sleep(0)


async def test_a_refused_request_is_left_to_a_later_pass(world, topics, publisher):
    topics[0].error = RuntimeError("no broker")
    assert not await publisher.request(world.executions.put("w", "e"))
