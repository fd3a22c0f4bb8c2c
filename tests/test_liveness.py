"""Who is stalled and who is merely idle."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from apps.liveness import NAMES, Liveness, LoopWatch, Progress, Reach, tasks

A, B = TP("workflow.execution", 0), TP("workflow.execution", 1)


class FakeStore:
    async def ping(self) -> None:
        pass


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


async def test_a_recovery_that_does_not_know_yet_where_to_begin_is_judged_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    given_up = []
    app = an_app(
        stall_after=0,
        rebalancing=True,
        in_recovery=True,
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
