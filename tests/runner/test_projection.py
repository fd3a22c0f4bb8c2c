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
from domain.execution import ActionFinished, ActionOutcome, Admission, Cause, Ended, Parent, Status, admit, apply
from events.records import ExecutionEnded
from store.interfaces import StoreUnavailable, Unstorable
from tests.fakes.stores import FakeExecutions

AT = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)


class Recording(FakeExecutions):
    """Remembers what was asked of it."""

    def __init__(self):
        super().__init__()
        self.asked = []
        self.unstorable = set()
        self.away = 0  # calls that find no database
        self.missed = asyncio.Event()  # one has found none

    def _reach(self):
        if self.away:
            self.away -= 1
            self.missed.set()
            raise StoreUnavailable("away")

    async def end(self, ended):
        self._reach()
        return await super().end(ended)

    async def project(self, results, *, folded=None):
        self._reach()
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
def other(asked):
    return replace(asked, execution_id="01900000-0000-7000-8000-000000000002", workflow_id="other", lock_key="other")


@pytest.fixture
def executions():
    return Recording()


@pytest_asyncio.fixture
async def projection(executions):
    announced, known, recorded, letters = [], [], [], []

    async def announce(result, execution):
        announced.append(result)
        known.append(execution)

    async def refuse(ticket, reason):
        letters.append(reason)
        ticket.finish()

    projection = Projection(
        executions, followed=Followed(), announce=announce, recorded=recorded.append, refuse=refuse,
        metrics=Metrics(CollectorRegistry()), patience=3600,
    )  # fmt: skip
    projection.announced, projection.told_recorded, projection.letters = announced, recorded, letters
    projection.known = known
    async with projection:
        yield projection


def result(asked, index, status=Status.RUNNING, epoch=1):
    started = AT + timedelta(seconds=index)
    outcome = ActionOutcome(f"a-{index}", index, 1, "ok", started, started)
    return ActionFinished(asked.execution_id, asked.workflow_id, epoch, index + 1, outcome, status, 3)


async def test_results_of_a_run_that_goes_on_are_written_with_its_end(executions, projection, asked, other):
    await executions.admit(asked)
    projection.followed.begin(admit(asked))
    tickets = [Ticket() for _ in range(4)]
    for index, ticket in enumerate(tickets[:2]):
        projection.add(ticket, result(asked, index))
    projection.add(tickets[3], result(other, 0, Status.OK))
    await tickets[3].done.wait()
    projection.add(tickets[2], result(asked, 2, Status.OK))
    await asyncio.gather(*(ticket.done.wait() for ticket in tickets))
    (_, (seqs, folded)) = executions.asked
    assert seqs == [1, 2, 3]
    stored = await executions.get(asked.execution_id)
    assert folded == {asked.execution_id: stored}
    assert (stored.status, len(stored.results)) == (Status.OK, 3)
    assert projection.known == [stored]
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


async def test_each_result_that_waits_is_written_in_its_turn(executions, projection, asked, other):
    """The clock is set anew for what came later; else it would wait for ever, and its partition with it."""
    projection.patience = 0.05
    tickets = [Ticket(), Ticket()]
    for each in (asked, other):
        await executions.admit(each)
    projection.add(tickets[0], result(asked, 0))
    projection.patience = 0.1
    projection.add(tickets[1], result(other, 0))
    await asyncio.gather(*(ticket.done.wait() for ticket in tickets))


async def test_what_is_to_be_handed_back_waits_for_all_of_its_results(executions, projection, asked, other, monkeypatch):
    """A new epoch would turn those away that are still to be written, and repeat their actions."""
    monkeypatch.setattr("apps.runner.projection.WRITTEN_WITHIN", 3600)
    for each in (asked, other):
        await executions.admit(each)
        projection.followed.begin(admit(each))
    seqs = {asked.execution_id: 1, other.execution_id: 2, "01900000-0000-7000-8000-000000000009": 7}
    seen = asyncio.ensure_future(projection.see_written(seqs))
    for execution, index in ((asked, 0), (other, 0)):
        ticket = Ticket()
        projection.add(ticket, result(execution, index))
        await ticket.done.wait()
    await asyncio.sleep(0.05)
    assert not seen.done()
    projection.add(Ticket(), result(other, 1))
    await seen
    assert projection.followed.seq(other.execution_id) == 2


async def test_what_is_to_be_handed_back_does_not_wait_for_ever(executions, projection, asked, monkeypatch):
    monkeypatch.setattr("apps.runner.projection.WRITTEN_WITHIN", 0.02)
    projection.followed.begin(admit(asked))
    await projection.see_written({asked.execution_id: 1})


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


async def test_a_result_that_can_never_be_kept_ends_its_execution_and_holds_up_no_other(
    executions, projection, asked, other
):
    """It shares its batch with others, and whoever gets the partition next would meet it again."""
    tickets = [Ticket() for _ in range(3)]
    for each in (asked, other):
        await executions.admit(each)
        projection.followed.begin(admit(each))
    executions.unstorable = {"other"}
    projection.add(tickets[0], None)
    projection.add(tickets[1], result(other, 0, Status.OK))
    projection.add(tickets[2], result(asked, 0, Status.OK))
    await asyncio.gather(*(ticket.done.wait() for ticket in tickets))
    assert (await executions.get(asked.execution_id)).status is Status.OK
    ended = await executions.get(other.execution_id)
    assert (ended.status, ended.reason) == (Status.FAILED, "the result of a-0 cannot be kept: the document is too large")
    assert projection.letters == ["the document is too large"]


@pytest.fixture
def soon(monkeypatch):
    """What failed is tried again at once."""
    monkeypatch.setattr("apps.runner.projection.RETRY_DELAY", 0)


async def test_results_wait_for_a_database_that_is_away(executions, projection, asked, soon):
    await executions.admit(asked)
    executions.away = 3
    ticket = Ticket()
    projection.add(ticket, result(asked, 0, Status.OK))
    await executions.missed.wait()
    assert not ticket.done.is_set()
    assert projection.announced == projection.told_recorded == []
    await ticket.done.wait()
    assert (await executions.get(asked.execution_id)).status is Status.OK
    assert (len(projection.announced), projection.told_recorded) == (1, [asked.execution_id])


async def test_the_end_of_what_cannot_be_kept_waits_for_a_database_that_is_away(executions, projection, asked, soon):
    await executions.admit(asked)
    executions.unstorable = {"w"}
    ticket = Ticket()
    projection.add(ticket, result(asked, 0, Status.OK))
    project = executions.project

    async def then_away(*args, **kwargs):
        try:
            return await project(*args, **kwargs)
        finally:
            executions.away = 2

    executions.project = then_away
    await executions.missed.wait()
    assert projection.letters == []
    await ticket.done.wait()
    assert (await executions.get(asked.execution_id)).status is Status.FAILED
    assert projection.letters == ["the document is too large"]


@pytest.mark.parametrize("unstorable", [set(), {"w"}], ids=["a result", "the end of what cannot be kept"])
async def test_what_is_not_written_when_the_runner_stops_is_delivered_again(executions, projection, asked, unstorable):
    """Its ticket stays unfinished, so that Kafka keeps the record for whoever comes next."""
    await executions.admit(asked)
    executions.unstorable = unstorable
    ticket = Ticket()

    async def away(ended):
        executions.missed.set()
        raise StoreUnavailable("away")

    executions.end = away
    executions.away = 0 if unstorable else 10**6
    projection.add(ticket, result(asked, 0, Status.OK))
    await executions.missed.wait()
    await projection.stop()
    assert not ticket.done.is_set()
    assert projection.announced == projection.told_recorded == projection.letters == []


async def test_what_was_written_before_is_known_when_the_next_results_come(executions, projection, asked):
    """Else the end of every run that took its time would be read first, and a runner that stops would wait in vain."""
    await executions.admit(asked)
    projection.followed.begin(admit(asked))
    first, last = Ticket(), Ticket()
    projection.add(first, result(asked, 0))
    projection.hurry()
    await first.done.wait()
    assert projection.followed.seq(asked.execution_id) == 1
    projection.add(last, result(asked, 1, Status.OK))
    await last.done.wait()
    assert executions.asked[1] == ([2], {asked.execution_id: await executions.get(asked.execution_id)})


def test_what_is_followed_no_longer_does_not_come_back_with_what_is_written(asked):
    followed = Followed()
    followed.begin(admit(asked))
    folded = followed.fold([result(asked, 0)])
    followed.forget(asked.execution_id)
    followed.written(folded)
    assert followed.seq(asked.execution_id) is None


def test_results_with_a_gap_are_not_folded(asked):
    """What lies between went to another process: the end would be written without it."""
    followed = Followed()
    followed.begin(admit(asked))
    first = result(asked, 0)
    assert followed.fold([first]) == {asked.execution_id: apply(admit(asked), first)}
    assert followed.fold([first, result(asked, 2), result(asked, 3, Status.OK)]) == {}
    assert followed.seq(asked.execution_id) is None


def test_only_so_many_are_followed_and_the_oldest_is_forgotten(asked, other, monkeypatch):
    monkeypatch.setattr("apps.runner.projection.FOLLOWED", 1)
    followed = Followed()
    followed.begin(admit(asked))
    assert followed.seq(asked.execution_id) == 0
    followed.begin(admit(other))
    assert (followed.seq(asked.execution_id), followed.seq(other.execution_id)) == (None, 0)


async def test_what_no_result_ends_is_followed_no_longer(projection, asked):
    """Cancelled while it runs, say: it would stay in memory with all that its steps have answered."""
    told = []

    async def announce_end(workflow_id, version, parent):
        told.append((workflow_id, parent))

    async def cancel_awaited(execution_id):
        told.append(execution_id)

    results = Results(
        tables=SimpleNamespace(busy={}, retries={}),
        projection=projection,
        runs=SimpleNamespace(cancel=lambda *_, **__: None),
        positions=Positions(session_timeout=10),
        refuse=None,
        announce_end=announce_end,
        cancel_awaited=cancel_awaited,
    )
    projection.followed.begin(admit(asked))
    ended = ExecutionEnded(
        workflow_id="w", execution_id=asked.execution_id, ended="cancelled", at=AT, reason="no need", version=1, epoch=1,
        triggered_by={"execution_id": "p", "workflow_id": "v", "action_id": "call"},
    )  # fmt: skip
    acked = asyncio.Event()
    event = SimpleNamespace(value=ended, message=SimpleNamespace(tp=("results", 0), offset=0), ack=acked.set)
    await results.take(event)
    await asyncio.wait_for(acked.wait(), timeout=30)
    assert told == [("w", Parent("p", "v", "call")), asked.execution_id]
    assert projection.followed.seq(asked.execution_id) is None
