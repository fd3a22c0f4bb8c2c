"""What the scheduler asks of the database, and what is asked about schedules, is answered from indexes: ``explain`` says so.

SecantusDB finds documents by an index and then looks at the rest of the filter, like MongoDB, but its ``explain`` calls that
a scan (2 ms for an id and a revision among 20,000 documents, 743 ms for a revision alone). So it is asked about what decides
how a document is found, without the conditions that are looked at afterwards.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone

import pytest
import pytest_asyncio
from pymongo.monitoring import CommandListener

from domain.execution import Admission, Cause, Ended, Status
from domain.identifiers import tick_execution_id
from domain.occurrence import Disposition, Unfired
from store.client import MongoStore
from store.interfaces import Advance, ExecutionFilter, Workflow, WorkflowFilter
from tests.store.test_backfills import backfill

pytestmark = pytest.mark.asyncio(loop_scope="session")

T0 = datetime(2026, 1, 1, tzinfo=timezone.utc)
ALL, SOME = frozenset(range(8)), frozenset({1, 3})
COMMANDS = {"find": None, "update": "updates", "delete": "deletes"}


def at(seconds):
    return T0 + timedelta(seconds=seconds)


@dataclass
class Listener(CommandListener):
    """Notes what is asked."""

    seen: list = field(default_factory=list)

    def started(self, event):
        parts = COMMANDS.get(event.command_name, "")
        if parts is None:
            self.seen.append({key: event.command[key] for key in ("find", "filter", "sort") if key in event.command})
        elif parts:
            collection = event.command[event.command_name]
            self.seen += [{"find": collection, "filter": part["q"]} for part in event.command[parts]]

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture(scope="module")
def listener():
    return Listener()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def watched(mongodb, listener):
    store = MongoStore(mongodb.url, "indexes", credentials={"event_listeners": [listener]})
    await store.start()
    await store.ensure_indexes()
    for number in range(60):
        await store.workflows.create(workflow(number))
        for second in range(3):
            await store.executions.admit(asked(number, second, lock_key=f"w{number}"))
            await store.executions.end(Ended(tick(number, second), f"w{number}", Status.OK, "done", at(second + 1)))
        await store.executions.admit(asked(number, 9, lock_key=f"w{number}"))
        await store.occurrences.record(Unfired(f"w{number}", Disposition.HELD, at(1), at(2), 2))
        await store.backfills.add(backfill(number, f"w{number}"))
    yield store
    await store.stop()


def tick(number, second):
    return tick_execution_id(f"w{number}", at(second))


def asked(number, second, **fields):
    return Admission(
        execution_id=tick(number, second), workflow_id=f"w{number}", version=1, cause=Cause.SCHEDULE, created_at=at(second),
        retries_left=0, total_actions=1, shard=3, due_at=at(second), **fields,
    )  # fmt: skip


def workflow(number):
    return Workflow(
        workflow_id=f"w{number}", version=1, definition={"trigger": {"type": "manual"}, "retries": 1}, total_actions=1,
        shard=3, created_at=T0, updated_at=T0, anchor=T0, next_run=at(number),
    )  # fmt: skip


async def every(due):
    return [each async for each in due]


QUESTIONS = {
    "ticks that are due": lambda store: every(store.workflows.due(at(5), ALL)),
    "ticks of some shards that are due": lambda store: every(store.workflows.due(at(5), SOME)),
    "how late the scheduler is": lambda store: store.workflows.overdue_since(at(5)),
    "a schedule that advances": lambda store: store.workflows.advance("w1", 1, at(1), Advance(at(99))),
    "subscriptions to topics": lambda store: store.workflows.subscribed(),
    "a workflow": lambda store: store.workflows.get("w1"),
    "archived workflows": lambda store: store.workflows.list(WorkflowFilter(is_archived=True), after=None, limit=5),
    "retries and delays that are due": lambda store: store.executions.waking(at(5), SOME, 9),
    "executions whose time is over": lambda store: store.executions.expiring(at(5), SOME, 9),
    "what waits in line": lambda store: store.executions.queued(SOME, 9),
    "what nobody has taken": lambda store: store.executions.unclaimed(at(5), SOME, 9),
    "what runs, by owner": lambda store: store.executions.owned(SOME),
    "the line of a workflow": lambda store: store.executions.line("w1"),
    "who holds a place": lambda store: store.executions.holders(["w1", "w2#1"]),
    "an execution": lambda store: store.executions.get(tick(1, 1)),
    "whether ticks have run": lambda store: store.executions.states([tick(1, 1), tick(1, 9), tick(2, 7)]),
    "an admission": lambda store: store.executions.admit(asked(1, 0, lock_key="w1")),
    "the executions of a workflow": lambda store: store.executions.list(
        ExecutionFilter(workflow_id="w1"), before=None, limit=5
    ),
    "the executions of a reference": lambda store: store.executions.list(
        ExecutionFilter(reference="order-1"), before=None, limit=5
    ),
    "the executions of a reference, of a workflow and a status": lambda store: store.executions.list(
        ExecutionFilter(reference="order-1", workflow_id="w1", statuses=frozenset({Status.OK, Status.PENDING})),
        before=None,
        limit=5,
    ),
    "the ledger of a workflow": lambda store: store.occurrences.list("w1", before=at(9), limit=5),
    "backfills that go on": lambda store: store.backfills.waking(at(5), SOME, 9),
    "the backfill that is running": lambda store: store.backfills.running("w1"),
    "the backfills of a workflow": lambda store: store.backfills.list("w1", before=None, limit=5),
    "what was made up for": lambda store: store.backfills.covering("w1", at(0), at(500)),
    "a backfill that moves on": lambda store: store.backfills.save(replace(backfill(1, "w1"), revision=2)),
}


LOOKED_AT_AFTERWARDS = {
    "workflows": {"shard"},
    "open_executions": {"shard", "workflow_id"},
    "backfills": {"shard", "first", "until"},
}


def deciding(command):
    """The command without what is looked at after the documents were found."""
    filter_ = command["filter"]
    if "reference_key" in filter_:
        assert next(iter(filter_)) == "reference_key", "SecantusDB takes the first clause that there is an index for"
        filter_ = {"reference_key": filter_["reference_key"]}
    if not isinstance(filter_.get("_id", {}), dict) or "$in" in filter_.get("_id", {}):
        filter_ = {"_id": filter_["_id"]}
    rest = LOOKED_AT_AFTERWARDS.get(command["find"], set())
    return {**command, "filter": {name: value for name, value in filter_.items() if name not in rest}}


def stages(plan):
    found = [plan["stage"]] if isinstance(plan.get("stage"), str) else []  # the bounds of an index on that name are lists
    for value in plan.values():
        for each in value if isinstance(value, list) else [value]:
            found += stages(each) if isinstance(each, dict) else []
    return found


@pytest.mark.parametrize("question", QUESTIONS)
async def test_it_is_answered_from_an_index(watched, listener, question):
    listener.seen.clear()
    await QUESTIONS[question](watched)
    commands = list(listener.seen)
    assert commands
    for command in commands:
        plan = await watched._database.command("explain", deciding(command), verbosity="queryPlanner")
        found = stages(plan["queryPlanner"]["winningPlan"])
        assert "COLLSCAN" not in found, (command, found)
        assert {"IXSCAN", "IDHACK", "EOF"} & set(found), (command, found)


async def test_each_index_that_is_missing_is_named(mongodb):
    store = MongoStore(mongodb.url, "no-indexes-yet")
    assert set(await store.missing_indexes()) == {
        "open_executions", "executions", "workflows", "occurrences", "backfills", "audit", "idempotency_keys",
        "signals",
    }  # fmt: skip
    await store.ensure_indexes()
    assert await store.missing_indexes() == {}
    await store._database.open_executions.drop_index("lock_key")
    assert await store.missing_indexes() == {"open_executions": ["lock_key"]}
    await store.stop()
