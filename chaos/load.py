"""The load: workflows of every sort, and clients that start them."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any

import aiohttp
from aiokafka import AIOKafkaProducer
from aiokafka.admin import NewTopic
from aiokafka.errors import KafkaError

from domain.flow import Plan
from domain.identifiers import execution_id
from domain.instants import from_millis
from events.broker import Broker, close
from events.topics import EXECUTION, SIGNAL

MANUAL, DIRECT, TOLD, PARENTS, STUCK, BROKEN = 10, 4, 2, 2, 3, 2
INTERVALS = ("1s", "2s", "3s", "5s")
BACKOFF = {"base": "1s", "cap": "1s"}
KINDS = (("quick", "slow"), ("flaky", "quick"), ("quick", "flaky", "slow"), ("quick",))
WAIT = {"type": "wait-for-signal", "actionId": "wait", "signal": "go", "within": "30m"}
IN_VAIN = {**WAIT, "actionId": "wait-2"}  # nobody tells it
BREAK_OFF = {"type": "break-off", "actionId": "break-off-2"}
TOPICS = ("chaos.records-0", "chaos.records-1")
TOPIC_PARTITIONS = 3
SIDE_BY_SIDE = 4  # executions of a workflow that waits until its time is over
READERS = (  # the topic and the overlap policy of each
    (TOPICS[0], "skip"),
    (TOPICS[0], "allow"),
    (TOPICS[1], "queue"),
)
BAD_OF_TEN = 1  # records that no execution can be given
# One more in a row, and an execution is given up: kills are seldom enough for that to happen within minutes.
LOST_ATTEMPTS = 1
ENVIRONMENT = {"ACTION_PLUGINS": "chaos.breaking", "MAX_LOST_ATTEMPTS": str(LOST_ATTEMPTS)}  # of the services
_ANSWER_WITHIN = aiohttp.ClientTimeout(total=15)


@dataclass
class Accepted:
    """An execution that somebody was promised."""

    execution_id: str
    workflow_id: str
    at: float
    how: str  # manual or direct


@dataclass
class Published:
    """A record of a user's own topic that Kafka has acknowledged."""

    number: int  # in its value
    topic: str
    partition: int
    offset: int
    at: datetime  # its timestamp
    value: bytes
    is_bad: bool = False  # it is to be a dead letter


@dataclass(frozen=True)
class Handled:
    """What the checker has to know of a workflow that has handlers."""

    plan: Plan
    timeout: float | None = None  # seconds


@dataclass
class Load:
    """Creates the workflows, then keeps starting them until told to stop."""

    api_url: str
    bootstrap: str
    receiver_url: str
    random: Random
    prefix: str = "chaos"
    accepted: list[Accepted] = field(default_factory=list)
    workflows: list[str] = field(default_factory=list)
    periodic: dict[str, float] = field(default_factory=dict)  # workflow -> interval in seconds
    told: dict[str, float] = field(default_factory=dict)  # execution -> when its signal was accepted
    handled: dict[str, Handled] = field(default_factory=dict)
    readers: dict[str, str] = field(default_factory=dict)  # workflow -> the topic that it is subscribed to
    side_by_side: set[str] = field(default_factory=set)  # workflows whose executions may run at the same time
    published: list[Published] = field(default_factory=list)
    _to_tell: dict[str, str] = field(default_factory=dict)  # execution -> workflow
    _tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def start(self) -> None:
        """Create the workflows and begin."""
        async with aiohttp.ClientSession() as session:
            manual = [await self._create(session, "manual", number, {"type": "manual"}) for number in range(MANUAL)]
            direct = [await self._create(session, "direct", number, {"type": "manual"}) for number in range(DIRECT)]
            for number, interval in enumerate(INTERVALS):
                workflow_id = await self._create(session, "periodic", number, {"type": "periodic", "interval": interval})
                self.periodic[workflow_id] = float(interval[:-1])
            told = [await self._create(session, "told", number, {"type": "manual"}, WAIT) for number in range(TOLD)]
            parents = []
            for number in range(PARENTS):
                child = await self._create(session, "child", number, {"type": "manual"})
                call = {"type": "trigger-workflow", "actionId": "call", "workflowId": child, "waitForEnd": "30m"}
                parents.append(await self._create(session, "parent", number, {"type": "manual"}, call))
            handled = await self._create_handled(session)
            await self._create_readers(session)
        for workflow_id in (*manual, *handled):
            self._begin(self._trigger_again_and_again(workflow_id, Random(self.random.random())))
        self._begin(self._publish_requests(direct, Random(self.random.random())))
        self._begin(self._publish_records(Random(self.random.random())))
        for workflow_id in (*told, *parents):
            self._begin(self._trigger_again_and_again(workflow_id, Random(self.random.random())))
        self._begin(self._tell_again_and_again(Random(self.random.random())))

    async def stop(self) -> None:
        """Start nothing more; periodic workflows are archived, or they would never be idle, and what waits is told."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.create_topics()  # who reads them, and how far, can be told of those alone that are there
        async with aiohttp.ClientSession() as session:
            for workflow_id in self.periodic:
                await _until_answered(session, "DELETE", f"{self.api_url}/workflows/{workflow_id}", {204, 404})
            for workflow_id in filter(_waits_for_a_signal, self.workflows):
                # Also what was triggered without an answer: nobody knows of it who would tell it.
                asked = f"{self.api_url}/executions?workflowId={workflow_id}&status=pending,running"
                for item in json.loads(await _until_answered(session, "GET", asked, {200}))["items"]:
                    self._to_tell[item["executionId"]] = workflow_id
            for execution_id in list(self._to_tell):
                await self._tell(session, execution_id)

    def _begin(self, work: Awaitable[None]) -> None:
        self._tasks.append(asyncio.ensure_future(work))

    async def _create(
        self,
        session: aiohttp.ClientSession,
        sort: str,
        number: int,
        trigger: dict[str, Any],
        first: Any = None,
        *,
        kinds: Sequence[Any] = (),
        **more: Any,
    ) -> str:
        """Create a workflow whose actions are requests of these kinds; what is no kind is an action itself."""
        workflow_id = f"{self.prefix}-{sort}-{number}"
        kinds = kinds or KINDS[number % len(KINDS)]
        actions = [self._action(workflow_id, kind, place) for place, kind in enumerate(kinds, start=1)]
        if first is not None:
            actions.insert(0, first)
        body = {"workflowId": workflow_id, "trigger": trigger, "actions": actions, "retries": 5, "backoff": BACKOFF, **more}
        await _until_answered(session, "POST", f"{self.api_url}/workflows", {201, 409}, body)
        self.workflows.append(workflow_id)
        return workflow_id

    def _action(self, workflow_id: str, kind: Any, place: int) -> dict[str, Any]:
        if not isinstance(kind, str):
            return dict(kind)
        patience = {"timeout": "3m", "timeouts": {"firstByte": "3m"}} if kind == "held" else {"timeout": "10s"}
        return {
            "type": "http-request", "method": "POST", "url": f"{self.receiver_url}/{workflow_id}/{kind}",
            "actionId": f"{kind}-{place}", **patience,
        }  # fmt: skip

    async def _create_handled(self, session: aiohttp.ClientSession) -> list[str]:
        """Create what times out, in a request or while it waits, what loses its runners, and what breaks off."""
        late, waits, stuck, broken = ("quick", "long"), ("quick", IN_VAIN), ("quick", "held"), ("quick", BREAK_OFF, "quick")
        several = {"overlap": {"policy": "allow", "max": SIDE_BY_SIDE}}
        return [
            await self._create_with_handlers(session, "late", 0, late, timeout=3),
            await self._create_with_handlers(session, "late", 1, waits, timeout=15, **several),
            *[await self._create_with_handlers(session, "stuck", number, stuck) for number in range(STUCK)],
            *[await self._create_with_handlers(session, "broken", number, broken) for number in range(BROKEN)],
        ]

    async def _create_with_handlers(
        self, session: aiohttp.ClientSession, sort: str, number: int, kinds: Sequence[Any], *, timeout: int = 0, **more: Any
    ) -> str:
        workflow_id = f"{self.prefix}-{sort}-{number}"
        place = len(kinds) + 1
        more["onFailure"] = [self._action(workflow_id, "flaky", place), self._action(workflow_id, "quick", place + 1)]
        more["finally"] = [self._action(workflow_id, "quick", place + 2)]
        if timeout:
            more["timeout"] = f"{timeout}s"
        self.handled[workflow_id] = Handled(Plan(len(kinds), 2, 1), timeout or None)
        if "overlap" in more:
            self.side_by_side.add(workflow_id)
        return await self._create(session, sort, number, {"type": "manual"}, kinds=kinds, **more)

    async def _create_readers(self, session: aiohttp.ClientSession) -> None:
        for number, (topic, overlap) in enumerate(READERS):
            more = {"kafka": {"topic": topic}, "overlap": overlap}
            workflow_id = await self._create(session, "reader", number, {"type": "manual"}, kinds=("flaky", "quick"), **more)
            self.readers[workflow_id] = topic
            if overlap == "allow":
                self.side_by_side.add(workflow_id)

    async def _trigger_again_and_again(self, workflow_id: str, random: Random) -> None:
        async with aiohttp.ClientSession(timeout=_ANSWER_WITHIN) as session:
            while True:
                try:
                    async with session.post(f"{self.api_url}/workflows/{workflow_id}/trigger") as response:
                        answer = await response.json(content_type=None)
                        if response.status == 202:
                            self.accepted.append(Accepted(answer["executionId"], workflow_id, time.time(), "manual"))
                            if _waits_for_a_signal(workflow_id):
                                self._to_tell[answer["executionId"]] = workflow_id
                except (aiohttp.ClientError, asyncio.TimeoutError, OSError, ValueError):
                    pass  # nobody was told anything, so nothing was promised
                await asyncio.sleep(random.uniform(0.2, 1.5))

    async def _tell_again_and_again(self, random: Random) -> None:
        """Signal what may wait for it: at once or after a while, over Kafka as well at times, and for certain over HTTP."""
        async with aiohttp.ClientSession() as session:
            while True:
                await asyncio.sleep(random.uniform(0.1, 1.5))
                for execution_id, workflow_id in list(self._to_tell.items()):
                    if random.random() < 0.3:
                        await self._publish_signal(workflow_id, execution_id)
                    await self._tell(session, execution_id)

    async def _tell(self, session: aiohttp.ClientSession, execution_id: str) -> None:
        address = f"{self.api_url}/executions/{execution_id}/signals/go"
        answer = await _until_answered(session, "POST", address, {202, 409})  # 409: it was given up meanwhile
        if json.loads(answer)["status"] == "signal accepted":
            self.told[execution_id] = time.time()
        del self._to_tell[execution_id]

    async def _publish_signal(self, workflow_id: str, execution_id: str) -> None:
        value = json.dumps({"workflow_id": workflow_id, "execution_id": execution_id, "signal": "go"}).encode()
        producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, request_timeout_ms=5000)
        with contextlib.suppress(KafkaError, OSError, asyncio.TimeoutError):
            try:
                await asyncio.wait_for(producer.start(), timeout=5)
                await asyncio.wait_for(producer.send_and_wait(SIGNAL.name, value, key=workflow_id.encode()), timeout=5)
            finally:
                await _stop(producer)

    async def _publish_requests(self, workflow_ids: list[str], random: Random) -> None:
        async def publish(producer: AIOKafkaProducer) -> None:
            workflow_id = random.choice(workflow_ids)
            asked_for = execution_id(from_millis(int(time.time() * 1000)), random.randbytes(10))
            value = json.dumps({"workflow_id": workflow_id, "execution_id": asked_for}).encode()
            await asyncio.wait_for(producer.send_and_wait(EXECUTION.name, value, key=workflow_id.encode()), timeout=15)
            self.accepted.append(Accepted(asked_for, workflow_id, time.time(), "direct"))
            await asyncio.sleep(random.uniform(0.2, 1.0))

        await self._again_and_again(publish)

    async def _publish_records(self, random: Random) -> None:
        numbers = itertools.count()

        async def publish(producer: AIOKafkaProducer) -> None:
            number, topic, is_bad = next(numbers), random.choice(TOPICS), random.random() < BAD_OF_TEN / 10
            value = (f'{{"number": {number}, "twice": 1, "twice": 2}}' if is_bad else f'{{"number": {number}}}').encode()
            partition, millis = random.randrange(TOPIC_PARTITIONS), int(time.time() * 1000)
            sending = producer.send_and_wait(topic, value, partition=partition, timestamp_ms=millis)
            told = await asyncio.wait_for(sending, timeout=15)
            self.published.append(Published(number, topic, partition, told.offset, from_millis(millis), value, is_bad))
            await asyncio.sleep(random.uniform(0.5, 3.0))

        # Idempotent, so that what the producer itself repeats is there once: each record is an execution.
        await self._again_and_again(publish, prepare=self.create_topics, enable_idempotence=True)

    async def create_topics(self) -> None:
        """Create the topics of our own: at first, and when Kafka has lost them.

        Raises:
            aiokafka.errors.KafkaError, OSError: Kafka cannot be reached.
        """
        admin = Broker(self.bootstrap).admin()
        try:
            await admin.start()
            missing = sorted({*TOPICS} - {*await admin.list_topics()})
            await admin.create_topics([NewTopic(topic, TOPIC_PARTITIONS, 1) for topic in missing])
        finally:
            await close(admin)

    async def _again_and_again(
        self,
        publish: Callable[[AIOKafkaProducer], Awaitable[None]],
        *,
        prepare: Callable[[], Awaitable[None]] | None = None,
        **options: Any,
    ) -> None:
        """Publish with one producer, and with another where that fails: what was not acknowledged is not sent again."""
        while True:
            producer = AIOKafkaProducer(bootstrap_servers=self.bootstrap, acks="all", request_timeout_ms=5000, **options)
            try:
                if prepare is not None:
                    await asyncio.wait_for(prepare(), timeout=15)
                await producer.start()
                while True:
                    await publish(producer)
            except (KafkaError, OSError, asyncio.TimeoutError):
                await asyncio.sleep(1)
            finally:
                await _stop(producer)


async def _stop(producer: AIOKafkaProducer) -> None:
    """Stop a producer; to a Kafka that does not answer it leaves no connection open either."""
    with contextlib.suppress(KafkaError, OSError, asyncio.TimeoutError):
        await asyncio.wait_for(producer.stop(), timeout=5)
        return
    await producer._sender.close()
    await producer.client.close()


def _waits_for_a_signal(workflow_id: str) -> bool:
    return "-told-" in workflow_id


async def _until_answered(session: aiohttp.ClientSession, method: str, url: str, wanted: set[int], body: Any = None) -> str:
    for _ in range(120):
        try:
            async with session.request(method, url, json=body, timeout=_ANSWER_WITHIN) as response:
                answer = await response.text()
                if response.status in wanted:
                    return answer
                if response.status == 400:
                    break
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            answer = repr(error)
        await asyncio.sleep(0.5)
    raise RuntimeError(f"{method} {url} was not answered as it should: {answer}")
