"""Who is stalled and who is merely idle."""

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from aiokafka.errors import IllegalStateError, KafkaConnectionError
from faust.types import TP

from apps import liveness as liveness_module
from apps.liveness import NAMES, Liveness, LoopWatch, Progress, Reach, tasks
from store.interfaces import StoreUnavailable

A, B = TP("workflow.execution", 0), TP("workflow.execution", 1)


class FakeStore:
    is_away = False

    async def ping(self) -> None:
        if self.is_away:
            raise StoreUnavailable("connection refused")


def looked(*looks: tuple[float, dict[TP, Reach]]) -> Progress:
    progress = Progress(window=60)
    for now, reaches in looks:
        progress.look(tasks(reaches), now)
    return progress


def test_an_idle_partition_is_never_stalled() -> None:
    assert not looked((0, {A: Reach(5, 5)}), (1000, {A: Reach(5, 5)})).stalled(1000)


def test_records_that_nobody_reads_for_a_window_are_a_stall() -> None:
    progress = looked((0, {A: Reach(5, 6), B: Reach(9, 9)}), (59, {A: Reach(5, 8), B: Reach(9, 9)}))
    assert not progress.stalled(59)
    assert progress.stalled(61) == {("read", A): 61}


def test_reading_slowly_is_progress() -> None:
    assert not looked(*((float(now), {A: Reach(now, 10_000)}) for now in range(0, 300, 50))).stalled(299)


def test_the_window_begins_when_records_come() -> None:
    assert not looked((0, {A: Reach(5, 5)}), (100, {A: Reach(5, 6)}), (130, {A: Reach(5, 6)})).stalled(130)


def test_a_partition_that_was_taken_away_and_comes_back_begins_anew() -> None:
    assert not looked((0, {A: Reach(5, 6)}), (30, {}), (70, {A: Reach(5, 6)})).stalled(70)


def test_what_could_not_be_read_is_forgiven() -> None:
    progress = looked((0, {A: Reach(5, 6)}))
    progress.forgive()
    progress.look(tasks({A: Reach(5, 6)}), 70)
    assert not progress.stalled(70)


def test_what_is_read_and_never_acknowledged_is_a_stall() -> None:
    stuck = looked(*((float(now), {A: Reach(now, now, committed=3, is_pending=True)}) for now in range(0, 70, 10)))
    assert stuck.stalled(60) == {("acknowledge", A): 60}
    busy = looked(*((float(now), {A: Reach(now, now, committed=now - 1, is_pending=True)}) for now in range(0, 70, 10)))
    assert not busy.stalled(60)


def test_a_recovery_may_take_its_time_as_long_as_it_goes_on() -> None:
    progress = Progress(window=60)
    for now in range(0, 600, 10):
        progress.look({("settle", None): (True, now)}, now)
    assert not progress.stalled(599)
    progress.look({("settle", None): (True, 590)}, 640)
    progress.look({("settle", None): (True, 590)}, 660)
    assert progress.stalled(660) == {("settle", None): 70}


def an_app(*, stall_after: float = 60, **more: Any) -> Any:
    """What a liveness look needs of a service."""
    settings = SimpleNamespace(stall_after=stall_after, liveness_interval=3600)
    usual = {"kafka": None, "should_stop": False, "producer_only": False, "changelogs": frozenset()}
    return SimpleNamespace(settings=settings, **{**usual, **more})


@pytest.mark.parametrize(("rebalancing", "in_recovery"), [(True, True), (True, False), (False, True)])
async def test_a_recovery_that_does_not_know_yet_where_to_begin_is_judged_as_well(
    monkeypatch: pytest.MonkeyPatch, rebalancing: bool, in_recovery: bool
) -> None:
    given_up = []
    app = an_app(
        stall_after=0,
        rebalancing=rebalancing,
        in_recovery=in_recovery,
        is_full=lambda: False,
        store=FakeStore(),
        tables=SimpleNamespace(recovery=SimpleNamespace(active_offsets={A: None, B: 3})),
    )
    liveness = Liveness(app)

    async def kafka() -> tuple[str, frozenset[str]]:
        return "cluster", NAMES

    monkeypatch.setattr(liveness, "_kafka", kafka)
    monkeypatch.setattr(liveness, "give_up", given_up.append)
    await liveness._look_once()
    assert given_up == ["nothing settled for 0 s, though there is something to settle"]


@pytest.mark.parametrize(
    ("cluster", "topics", "why"),
    [
        ("ours", NAMES - {"workflow.schedule"}, "topics are gone: workflow.schedule"),
        ("another", NAMES, "Kafka is another one"),
        ("another", frozenset[str](), "Kafka is another one"),
    ],
)
async def test_a_service_says_what_of_kafka_is_gone(
    monkeypatch: pytest.MonkeyPatch, cluster: str, topics: frozenset[str], why: str
) -> None:
    found = iter([("ours", NAMES), (cluster, topics)])
    made, given_up = [], []

    async def kafka() -> tuple[str, frozenset[str]]:
        return next(found)

    async def ensure_topics() -> None:
        made.append(1)

    app = an_app(producer_only=True, ensure_topics=ensure_topics)
    liveness = Liveness(app)
    monkeypatch.setattr(liveness, "_kafka", kafka)
    monkeypatch.setattr(liveness, "give_up", given_up.append)
    await liveness._look_once()
    app.producer_only = False
    await liveness._look_once()
    assert (made, given_up) == ([1], [why])


def test_a_loop_that_does_not_turn_is_the_end() -> None:
    ends: list[int] = []
    watch = LoopWatch(3, end=lambda: ends.append(1))
    for _ in range(10):
        watch.turn()
        watch.look()
    watch.look()
    watch.look()
    assert not ends
    watch.turn()
    for _ in range(3):
        watch.look()
    assert not ends, "it turned once in the meantime"
    watch.look()
    assert ends


async def test_nothing_is_asked_of_a_service_that_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    app = an_app()
    liveness = Liveness(app)
    looks = []
    waits = asyncio.Event()
    sleep = liveness.sleep

    async def look() -> None:
        looks.append(1)

    async def until_the_next(seconds: float) -> None:
        if seconds == 3600:
            waits.set()
        await sleep(seconds)

    monkeypatch.setattr(liveness, "_look_once", look)
    monkeypatch.setattr(liveness, "sleep", until_the_next)
    await liveness.start()
    await waits.wait()
    await liveness.stop()
    assert looks == []


def test_a_loop_that_is_blocked_is_noticed_from_outside_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness_module, "LOOP_LOOK", 0.01)
    ended = threading.Event()
    watch = LoopWatch(0.02, end=ended.set)
    turn = watch.turn

    async def turn_and_block() -> None:
        turned = asyncio.Event()

        def noted() -> None:
            turned.set()
            turn()

        monkeypatch.setattr(watch, "turn", noted)
        watch.start(asyncio.get_running_loop())
        await turned.wait()
        ended.clear()
        assert ended.wait(60), "nothing else turns in here"

    asyncio.run(turn_and_block())
    watch.stop()


# -- a service and its Kafka -------------------------------------------------------------------------------------------


class Kafka:
    """Answers what liveness asks of it."""

    def __init__(self) -> None:
        self.cluster = "ours"
        self.topics = NAMES
        self.ends: dict[TP, int] = {}

    async def ask(self, question: Callable[[Any, Any], Awaitable[Any]]) -> Any:
        return await question(self, self)

    async def close(self) -> None:
        pass

    async def describe_cluster(self) -> dict[str, str]:
        return {"cluster_id": self.cluster}

    async def list_topics(self) -> list[str]:
        return sorted(self.topics)

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self.ends[TP(each.topic, each.partition)] for each in partitions}


class Reached(NamedTuple):
    """A message of Faust's."""

    tp: TP


class Consumer:
    """Of Faust: what it has read, and what it has yet to commit."""

    def __init__(self) -> None:
        self.reads: dict[TP, int] = {}
        self.fails: BaseException | None = None
        self._unacked_messages: set[Any] = set()
        self._acked: dict[TP, list[int]] = {}
        self._committed_offset: dict[TP, int] = {}

    def assignment(self) -> set[TP]:
        return set(self.reads)

    async def positions(self, partitions: frozenset[TP]) -> dict[TP, int]:
        if self.fails:
            raise self.fails
        return {tp: self.reads[tp] for tp in partitions}


class Service:
    """A service that is looked after."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.is_full = False
        self.store = FakeStore()
        self.kafka = Kafka()
        self.consumer = Consumer()
        self.topics_made = 0
        self.app = an_app(
            rebalancing=False,
            in_recovery=False,
            is_full=lambda: self.is_full,
            store=self.store,
            consumer=self.consumer,
            ensure_topics=self.ensure_topics,
            stop_grace=3600,
        )
        self.signals: list[tuple[int, int]] = []
        monkeypatch.setattr(os, "kill", lambda *sent: self.signals.append(sent))
        monkeypatch.setattr(liveness_module.time, "monotonic", lambda: self.now)
        self.liveness = Liveness(self.app)
        monkeypatch.setattr(self.liveness, "_inquiries", self.kafka)

    async def ensure_topics(self) -> None:
        self.topics_made += 1

    def at(self, read: int, end: int, tp: TP = A) -> None:
        self.consumer.reads[tp], self.kafka.ends[tp] = read, end

    async def look(self, *, after: float = 0) -> str | None:
        """Look once, after so many seconds, and return what the problem is."""
        self.now += after
        await self.liveness._look_once()
        return self.liveness.problem

    @property
    def is_told_to_stop(self) -> bool:
        return self.signals == [(os.getpid(), signal.SIGTERM)]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Any:
    service = Service(monkeypatch)
    yield service
    if service.liveness._watchdog is not None:
        service.liveness._watchdog.cancel()


STANDS_STILL = "nothing read of workflow.execution[0] for {} s, though there is something to read"


async def test_a_service_that_reads_nothing_is_unwell_after_a_window_and_stopped_after_another(service: Service) -> None:
    service.at(5, 6)
    service.at(5, 5, B)
    assert await service.look() is None
    service.at(5, 6, B)
    assert await service.look(after=30) is None
    assert await service.look(after=30) == STANDS_STILL.format(60)
    assert await service.look(after=35) == STANDS_STILL.format(95)
    assert not service.signals
    assert await service.look(after=25) == "stopping: " + STANDS_STILL.format(120)
    assert service.is_told_to_stop
    assert await service.look(after=60)
    assert service.is_told_to_stop, "once"
    assert service.liveness._watchdog is not None, "should it not manage to"
    assert service.liveness._watchdog.is_alive()
    assert service.liveness._watchdog.daemon


async def test_a_service_that_goes_on_is_well_again(service: Service) -> None:
    service.at(5, 9)
    await service.look()
    assert await service.look(after=70)
    service.at(6, 9)
    assert await service.look(after=10) is None


async def test_what_is_idle_is_well(service: Service) -> None:
    service.at(5, 5)
    service.consumer.reads[TP("runner-busy-changelog", 0)] = 0  # not read once the tables are recovered
    await service.look()
    assert await service.look(after=1000) is None
    service.consumer.reads.clear()
    assert await service.look(after=1000) is None


@pytest.mark.parametrize("excuse", ["full", "database"])
async def test_a_service_that_is_full_or_has_no_database_is_excused(service: Service, excuse: str) -> None:
    service.at(5, 9)
    service.is_full, service.store.is_away = excuse == "full", excuse == "database"
    await service.look()
    assert await service.look(after=70) is None
    service.is_full = service.store.is_away = False
    assert await service.look(after=30) is None, "its window begins anew"
    assert await service.look(after=61) == STANDS_STILL.format(61)


@pytest.mark.parametrize("kind", ["unacknowledged", "uncommitted"])
async def test_what_is_read_and_not_committed_is_missed(service: Service, kind: str) -> None:
    service.at(9, 9)
    if kind == "unacknowledged":
        service.consumer._unacked_messages = {Reached(A)}
    else:
        service.consumer._acked = {A: [8], B: []}
    service.consumer._committed_offset = {A: 3}
    await service.look()
    assert "nothing acknowledged of workflow.execution[0] for 60 s" in str(await service.look(after=60))
    service.consumer._committed_offset = {A: 4}
    assert await service.look(after=60) is None


@pytest.mark.parametrize("failure", [asyncio.TimeoutError(), IllegalStateError("not assigned")])
async def test_a_consumer_that_does_not_say_how_far_it_is_stands_still(service: Service, failure: Exception) -> None:
    service.at(5, 9)
    service.consumer.fails = failure
    await service.look()
    assert await service.look(after=60) == STANDS_STILL.format(60)


async def test_a_log_that_is_shorter_than_it_was_is_an_older_state_of_kafka(service: Service) -> None:
    service.at(9, 9)
    await service.look()
    await service.look()
    assert not service.signals
    service.consumer.reads.clear()  # it is with another worker for a while
    await service.look()
    service.at(8, 8)
    assert await service.look() == "stopping: Kafka is an older state of itself"
    assert service.is_told_to_stop


async def test_tables_that_recover_slowly_are_no_reason_to_stop(service: Service) -> None:
    offsets = {A: 0, B: None}
    service.app.rebalancing = service.app.in_recovery = True
    service.app.tables = SimpleNamespace(recovery=SimpleNamespace(active_offsets=offsets))
    for restored in range(20):
        offsets[A] = restored
        assert await service.look(after=50) is None
    assert "nothing settled for 70 s" in str(await service.look(after=70))


async def test_a_service_that_reads_nothing_itself_goes_on_with_another_kafka(service: Service) -> None:
    service.app.producer_only = True
    await service.look()
    service.kafka.cluster, service.kafka.topics = "another", frozenset()
    await service.look()
    assert service.topics_made == 1
    service.kafka.topics = NAMES
    await service.look()
    assert service.topics_made == 1
    assert not service.signals


async def test_the_looks_go_on_whatever_befalls_one(monkeypatch: pytest.MonkeyPatch, service: Service) -> None:
    service.app.settings.liveness_interval = 0
    service.liveness.progress.look({("settle", None): 0}, service.now)
    watched: list[str] = []
    loop_watch = SimpleNamespace(start=lambda loop: watched.append("start"), stop=lambda: watched.append("stop"))
    monkeypatch.setattr(service.liveness, "loop_watch", loop_watch)
    befalls = iter([KafkaConnectionError(), OSError("refused"), asyncio.TimeoutError(), RuntimeError("nobody foresaw it")])
    all_over = asyncio.Event()
    window = []

    async def look() -> None:
        window.append(bool(service.liveness.progress._since))
        service.liveness.progress.look({("settle", None): 0}, service.now)
        error = next(befalls, None)
        if error is None:
            all_over.set()
            await asyncio.Event().wait()
        else:
            raise error

    monkeypatch.setattr(service.liveness, "_look_once", look)
    await service.liveness.start()
    await all_over.wait()
    await service.liveness.stop()
    assert window == [True, False, False, False, True], "while Kafka is away nothing could have been done"
    assert watched == ["start", "stop"]
