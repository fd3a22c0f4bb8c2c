"""Live updates: what watchers are told, and what becomes of those who are slow or come back."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import orjson
import pytest
from aiohttp import web
from structlog.typing import EventDict

from apps.workflows.app import WorkflowsApp
from apps.workflows.live import KEPT, LONGEST_TEXT, MOST_KEPT_BYTES, MOST_LINES, QUEUE, LiveFeed, Watcher
from events.records import ActionResult, ExecutionEnded, ExecutionRequest, WorkflowChanged
from tests.workflows.client import Client
from tests.workflows.clock import START
from tests.workflows.fake_consumer import FakeConsumer

ONE = "019ab5d0-0000-7000-8000-000000000001"
TWO = "019ab5d0-0000-7000-8000-000000000002"


def request(execution_id: str | None = ONE, workflow_id: str = "w", epoch: int = 1) -> ExecutionRequest:
    return ExecutionRequest(
        workflow_id=workflow_id, execution_id=execution_id, epoch=epoch, created_at=START, total_actions=1
    )


def result(execution_id: str = ONE, logs: tuple[str, ...] = ("line",)) -> ActionResult:
    return ActionResult(
        workflow_id="w", execution_id=execution_id, epoch=1, seq=1, version=1, runner="r", attempt=1, action_id="call",
        index=0, status="failed", execution_status="waiting", retries_left=2, total_actions=1, started_at=START,
        finished_at=START, logs=list(logs), error={"class": "status", "message": "503"}, wake_at=START, reason="503",
    )  # fmt: skip


@pytest.fixture
def consumer() -> FakeConsumer:
    return FakeConsumer()


@pytest.fixture
async def feed(consumer: FakeConsumer) -> AsyncIterator[LiveFeed]:
    feed = LiveFeed(consumer, linger=0.05)
    yield feed
    await feed.close()


async def told(watcher: Watcher, count: int) -> list[Any]:
    found: list[Any] = []
    while len(found) < count:
        found += await asyncio.wait_for(watcher.take(10), 10)
    return found


async def test_watchers_are_told_what_they_watch(feed: LiveFeed, consumer: FakeConsumer) -> None:
    async with feed.watch() as everything, feed.watch("w") as one_workflow, feed.watch(None, TWO) as one_execution:
        consumer.give("workflow.execution", request())
        consumer.give("workflow.execution", request(TWO, "other"))
        consumer.give("workflow.schedule", WorkflowChanged(workflow_id="w", version=2))
        assert [each.name for each in await told(everything, 3)] == [
            "execution-requested",
            "execution-requested",
            "workflow-changed",
        ]
        assert [each.execution_id for each in await told(one_workflow, 2)] == [ONE, None]
        assert [each.workflow_id for each in await told(one_execution, 1)] == ["other"]


async def test_what_waits_for_a_signal_says_so(feed: LiveFeed, consumer: FakeConsumer) -> None:
    async with feed.watch() as watcher:
        output = {"signal": "approved", "until": "2026-01-31T13:00:00.000Z"}
        until = START + timedelta(hours=1)
        consumer.give("workflow.action-result", result().derive(status="waiting", output=output, error=None, wake_at=until))
        consumer.give("workflow.action-result", result())
        waiting, failed = await told(watcher, 2)
    awaited = {"signal": "approved", "executions": None, "actionId": "call", "until": "2026-01-31T13:00:00.000Z"}
    assert (waiting.data["status"], waiting.data["waitingFor"]) == ("pending", awaited)
    assert failed.data["waitingFor"] is None


async def test_those_who_list_by_a_reference_are_told_of_it(feed: LiveFeed, consumer: FakeConsumer) -> None:
    """Also of what is skipped, of which only its end is told."""
    ended = ExecutionEnded(workflow_id="w", execution_id=TWO, ended="skipped", at=START, reason="", reference="order-18")
    async with feed.watch() as watcher:
        consumer.give("workflow.execution", request().derive(reference="order-17"))
        consumer.give("workflow.action-result", ended)
        assert [each.data["reference"] for each in await told(watcher, 2)] == ["order-17", "order-18"]


async def test_what_is_malformed_or_not_admitted_is_passed_over(feed: LiveFeed, consumer: FakeConsumer) -> None:
    async with feed.watch() as watcher:
        consumer.give("workflow.execution", b"{oops")
        consumer.give("workflow.execution", request(None, epoch=0))
        consumer.give(
            "workflow.action-result", ExecutionEnded(workflow_id="w", execution_id=ONE, ended="x", at=START, reason="")
        )
        consumer.give("workflow.action-result", result())
        names = [each.name for each in await told(watcher, 2)]
        assert names == ["execution-ended", "action-result"]


async def test_it_reads_only_while_somebody_watches(feed: LiveFeed, consumer: FakeConsumer) -> None:
    assert consumer.running == 0
    async with feed.watch():
        await asyncio.wait_for(feed.positioned.wait(), 5)
        assert consumer.running == 1
    await consumer.stopped.wait()
    assert consumer.running == 0


async def test_a_slow_watcher_is_told_that_it_missed_something(feed: LiveFeed, consumer: FakeConsumer) -> None:
    async with feed.watch() as slow, feed.watch() as quick:
        await asyncio.wait_for(feed.positioned.wait(), 5)
        await slow.take(0.01)
        slow.missed = quick.missed = False
        for _ in range(QUEUE + 1):
            consumer.give("workflow.execution", request())
        await told(quick, QUEUE + 1)
        assert slow.missed and not quick.missed
        assert len(await slow.take(1)) == QUEUE


async def test_who_comes_back_in_time_is_told_what_happened_meanwhile(feed: LiveFeed, consumer: FakeConsumer) -> None:
    async with feed.watch() as other:
        await asyncio.wait_for(feed.positioned.wait(), 5)
        async with feed.watch() as watcher:
            consumer.give("workflow.execution", request())
            (seen,) = await told(watcher, 1)
            last = feed.id_of(seen)
        consumer.give("workflow.action-result", result())
        await told(other, 2)
        async with feed.watch(last_id=last) as back:
            assert [each.name for each in await told(back, 1)] == ["action-result"]
            assert not back.missed
        for stranger in ("", "elsewhere-3", last.replace("-1", "-x")):
            async with feed.watch(last_id=stranger) as lost:
                assert lost.missed


@pytest.mark.parametrize(
    ("lines", "kept"),
    [([], KEPT), (["x" * LONGEST_TEXT] * MOST_LINES, MOST_KEPT_BYTES // (LONGEST_TEXT * MOST_LINES))],
    ids=["small", "large"],
)
async def test_what_is_kept_for_those_who_come_back_is_bounded(
    feed: LiveFeed, consumer: FakeConsumer, lines: list[str], kept: int
) -> None:
    """As many as that is too many where each is large."""
    async with feed.watch(execution_id=TWO) as other:
        await asyncio.wait_for(feed.positioned.wait(), 5)
        session = feed.id_of(None).rpartition("-")[0]
        for _ in range(kept + 10):
            consumer.give("workflow.action-result", result(logs=tuple(lines)))
        consumer.give("workflow.execution", request(TWO))
        (last,) = await told(other, 1)
        async with feed.watch(None, TWO, f"{session}-{last.number - kept - 1}") as late:
            assert late.missed
        async with feed.watch(None, TWO, f"{session}-{last.number - int(kept * 0.9)}") as early:
            assert not early.missed


async def test_the_stream_speaks_server_sent_events(app: WorkflowsApp, api: Client, consumer: FakeConsumer) -> None:
    app.live = LiveFeed(consumer)
    async with api.session.get(api.server.make_url(f"/v1/events/stream?executionId={ONE}")) as response:
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        consumer.give("workflow.execution", request(TWO))
        consumer.give("workflow.action-result", result(logs=("x" * 10_000,)))
        lines: list[str] = []
        while not any(line.startswith("event: action-result") for line in lines):
            lines.append((await asyncio.wait_for(response.content.readline(), 10)).decode().strip())
        number = (await response.content.readline()).decode()
        data = orjson.loads((await response.content.readline()).decode().removeprefix("data: "))
        assert lines[0] == "retry: 1000"
        assert "event: execution-requested" not in lines
        assert number.startswith("id: ")
        assert (data["workflowId"], data["status"], data["nextAttemptAt"]) == ("w", "pending", "2026-01-31T12:00:00.000Z")
        assert len(data["action"]["logs"][0]) == 2000
        # A service that stops ends its streams.
        await app.live.close()
        await asyncio.wait_for(response.content.read(), 10)


async def test_the_stream_tells_numbers_beyond_64_bits(app: WorkflowsApp, api: Client, consumer: FakeConsumer) -> None:
    app.live = LiveFeed(consumer)
    async with api.session.get(api.server.make_url(f"/v1/events/stream?executionId={ONE}")) as response:
        failed = result()
        failed.error = {"class": 2**70, "message": "x"}
        consumer.give("workflow.action-result", failed)
        told = b""
        while b"event: action-result" not in told:
            told = await asyncio.wait_for(response.content.readuntil(b"\n\n"), 10)
        assert f'"class":{2**70}' in told.decode()


async def test_a_wrong_filter_is_named(api: Client) -> None:
    assert (await api.get("/events/stream?workflowId=a%20b&executionId=7")).fields() == ["workflowId", "executionId"]


class Slow(LiveFeed):
    """Lets nobody watch before ``begin`` is set."""

    def __init__(self, consumer: FakeConsumer) -> None:
        super().__init__(consumer)
        self.asked, self.begin, self.left = asyncio.Event(), asyncio.Event(), asyncio.Event()

    @asynccontextmanager
    async def watch(self, *what: str | None) -> AsyncIterator[Watcher]:
        self.asked.set()
        await self.begin.wait()
        try:
            async with super().watch(*what) as watcher:
                yield watcher
        finally:
            self.left.set()


async def test_who_hangs_up_before_the_answer_has_begun_is_no_fault_of_the_service(
    app: WorkflowsApp, consumer: FakeConsumer, logs: list[EventDict]
) -> None:
    app.live = feed = Slow(consumer)
    server = web.AppRunner(app.web.web_app)  # a test server's handlers are cancelled when their clients go
    await server.setup()
    await web.TCPSite(server, "127.0.0.1", 0).start()
    _, writer = await asyncio.open_connection(*server.addresses[0][:2])
    writer.write(b"GET /v1/events/stream HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    await asyncio.wait_for(feed.asked.wait(), 10)
    writer.transport.abort()
    assert server.server is not None
    (connection,) = server.server.connections
    while connection.transport is not None:  # noqa: ASYNC110 - aiohttp tells nobody of it
        await asyncio.sleep(0.001)
    feed.begin.set()
    await asyncio.wait_for(feed.left.wait(), 10)
    await feed.close()
    await server.cleanup()
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
