"""The projection: what waits for company, what is written without a read, and what a stale belief may not do."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from types import SimpleNamespace

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry

from apps.runner.agents import Results
from apps.runner.metrics import Metrics
from apps.runner.positions import Positions
from apps.runner.projection import Followed, Projection
from domain.execution import ActionFinished, ActionOutcome, Admission, Cause, Ended, Status, admit
from events.records import ExecutionEnded
from store.interfaces import Unstorable
from tests.fakes.stores import FakeExecutions

AT = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


class Recording(FakeExecutions):
    """Remembers what was asked of it."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.unstorable = set()

    async def project(self, results, *, folded=None):
        self.asked.append(([result.seq for result in results], dict(folded or {})))
        if any(result.workflow_id in self.unstorable for result in results):
            raise Unstorable("the document is too large")
        return await super().project(results, folded=folded)


class Ticket:
    def __init__(self):
        self.done = asyncio.Event()

    def finish(self):
        self.done.set()


@pytest.fixture
def asked():
    return Admission("01900000-0000-7000-8000-000000000001", "w", 1, Cause.MANUAL, AT, 3, 3, 0, lock_key="w")


@pytest.fixture
def executions():
    return Recording()


@pytest_asyncio.fixture
async def projection(executions):
    announced, recorded, letters = [], [], []

    async def announce(result):
        announced.append(result)

    async def refuse(ticket, reason):
        letters.append(reason)
        ticket.finish()

    projection = Projection(
        executions, followed=Followed(), announce=announce, recorded=recorded.append, refuse=refuse,
        metrics=Metrics(CollectorRegistry()), patience=3600,
    )  # fmt: skip
    projection.announced, projection.told_recorded, projection.letters = announced, recorded, letters
    async with projection:
        yield projection


def result(asked, index, status=Status.RUNNING, epoch=1):
    started = AT + timedelta(seconds=index)
    outcome = ActionOutcome(f"a-{index}", index, 1, "ok", started, started)
    return ActionFinished(asked.execution_id, "w", epoch, index + 1, outcome, status, 3)


async def test_results_of_a_run_that_goes_on_are_written_with_its_end(executions, projection, asked):
    await executions.admit(asked)
    projection.followed.begin(admit(asked))
    tickets = [Ticket() for _ in range(3)]
    for index, ticket in enumerate(tickets):
        projection.add(ticket, result(asked, index, Status.OK if index == 2 else Status.RUNNING))
    await asyncio.gather(*(ticket.done.wait() for ticket in tickets))
    ((seqs, folded),) = executions.asked
    assert seqs == [1, 2, 3]
    stored = await executions.get(asked.execution_id)
    assert folded == {asked.execution_id: stored}
    assert (stored.status, len(stored.results)) == (Status.OK, 3)
    assert projection.followed.seq(asked.execution_id) is None


async def test_what_waits_is_written_when_it_is_hurried(executions, projection, asked):
    await executions.admit(asked)
    projection.followed.begin(admit(asked))
    ticket = Ticket()
    projection.add(ticket, result(asked, 0))
    assert not ticket.done.is_set()
    await projection.see_written({asked.execution_id: 1})
    assert ticket.done.is_set()
    assert (await executions.get(asked.execution_id)).seq == 1


async def test_what_waits_is_written_after_a_moment(executions, projection, asked):
    projection.patience = 0.001
    await executions.admit(asked)
    tickets = [Ticket(), Ticket()]
    projection.add(tickets[0], result(asked, 0))
    await tickets[0].done.wait()
    projection.add(tickets[1], result(asked, 1))
    await tickets[1].done.wait()
    assert (await executions.get(asked.execution_id)).seq == 2


async def test_a_run_that_was_ended_meanwhile_is_turned_away(executions, projection, asked):
    await executions.admit(asked)
    projection.followed.begin(admit(asked))
    await executions.end(Ended(asked.execution_id, "w", Status.CANCELLED, "no need", AT))
    ticket = Ticket()
    projection.add(ticket, result(asked, 0, Status.OK))
    await ticket.done.wait()
    assert (await executions.get(asked.execution_id)).status is Status.CANCELLED
    assert projection.announced == []
    assert projection.followed.seq(asked.execution_id) is None


async def test_results_of_another_epoch_are_not_folded(executions, projection, asked):
    await executions.admit(asked)
    projection.followed.begin(admit(asked))
    ticket = Ticket()
    projection.add(ticket, result(asked, 0, Status.OK, epoch=2))
    await ticket.done.wait()
    assert executions.asked == [([1], {})]
    assert projection.told_recorded == [asked.execution_id]


async def test_a_result_that_another_process_has_written_is_not_forgotten(executions, projection, asked):
    """The partition was elsewhere for a while, and came back with the last result of the run."""
    await executions.admit(asked)
    projection.followed.begin(admit(asked))
    await executions.project([result(asked, 0)])
    executions.asked.clear()
    ticket = Ticket()
    projection.add(ticket, result(asked, 1, Status.OK))
    await ticket.done.wait()
    assert executions.asked == [([2], {})]
    stored = await executions.get(asked.execution_id)
    assert (stored.status, sorted(stored.results)) == (Status.OK, ["1_0", "1_1"])


async def test_a_result_that_can_never_be_kept_ends_its_execution_and_holds_up_no_other(executions, projection, asked):
    """It shares its batch with others, and whoever gets the partition next would meet it again."""
    other = replace(asked, execution_id="01900000-0000-7000-8000-000000000002", workflow_id="large", lock_key="large")
    tickets = [Ticket() for _ in range(3)]
    for each in (asked, other):
        await executions.admit(each)
        projection.followed.begin(admit(each))
    executions.unstorable = {"large"}
    projection.add(tickets[0], None)
    projection.add(tickets[1], replace(result(other, 0, Status.OK), workflow_id="large"))
    projection.add(tickets[2], result(asked, 0, Status.OK))
    await asyncio.gather(*(ticket.done.wait() for ticket in tickets))
    assert (await executions.get(asked.execution_id)).status is Status.OK
    ended = await executions.get(other.execution_id)
    assert (ended.status, ended.reason) == (Status.FAILED, "the result of a-0 cannot be kept: the document is too large")
    assert projection.letters == ["the document is too large"]


async def test_what_no_result_ends_is_followed_no_longer(projection, asked):
    """Cancelled while it runs, say: it would stay in memory with all that its steps have answered."""
    told = []

    async def announce_end(workflow_id, version):
        told.append(workflow_id)

    results = Results(
        tables=SimpleNamespace(busy={}, retries={}),
        projection=projection,
        runs=SimpleNamespace(cancel=lambda *_, **__: None),
        positions=Positions(session_timeout=10),
        refuse=None,
        announce_end=announce_end,
    )
    projection.followed.begin(admit(asked))
    ended = ExecutionEnded(
        workflow_id="w", execution_id=asked.execution_id, ended="cancelled", at=AT, reason="no need", version=1, epoch=1
    )
    event = SimpleNamespace(value=ended, message=SimpleNamespace(tp=("results", 0), offset=0), ack=lambda: None)
    await results.take(event)
    assert told == ["w"]
    assert projection.followed.seq(asked.execution_id) is None
