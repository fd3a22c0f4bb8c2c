"""Each command of each write fails, in each way there is: nothing is half-done that doing it again would not complete.

The repository's own code on collections in memory, so that every single command can be made to fail.
"""

from contextlib import suppress
from dataclasses import replace

import pytest
from pymongo.errors import AutoReconnect, BulkWriteError, OperationFailure

from domain.execution import Cause, Ended, Restart, Status
from store.executions import MongoExecutions
from store.interfaces import Admitted, AlreadyAdmitted, Started, StoreUnavailable
from tests.model.database import Collection, View
from tests.store.test_executions import ALL, admission, at, finished

ASKED = admission()
TICK = replace(admission("tick"), cause=Cause.SCHEDULE)
QUEUED = replace(admission("w", seconds=1), lock_key="w#wait-0", queued=True)
SKIPPED = replace(admission("skipped", seconds=3), lock_key=None, reason="busy")
CANCELLED = Ended(ASKED.execution_id, "w", Status.CANCELLED, "asked", at(9))


def _answered(result):
    raise AutoReconnect("the answer was lost")


def _not_durable(result):
    raise BulkWriteError({"writeErrors": [], "writeConcernErrors": [{"code": 64, "errmsg": "waiting for replication"}]})


class Client:
    """A connection whose ``fail_at``-th command fails in a ``way`` of its own."""

    def __init__(self):
        self.collections = {
            "open_executions": Collection(lambda *_: None, unique=("lock_key",)),
            "executions": Collection(lambda *_: None),
            "untold_ends": Collection(lambda *_: None),
        }
        live, ended = View(self, "open_executions"), View(self, "executions")
        self.executions = MongoExecutions(live, ended)
        self.commands = 0
        self.fail_at = None
        self.way = ""
        self._documents = 0

    async def command(self, do):
        self.commands += 1
        if self.commands != self.fail_at or self.way == "partly refused":
            return do()
        if self.way == "not reached":
            raise AutoReconnect("connection refused")
        if self.way == "refused":
            raise OperationFailure("the disk is full", code=14031)
        result = do()
        return _answered(result) if self.way == "done, and not answered" else _not_durable(result)

    def refuses(self):
        self._documents += 1
        return self.way == "partly refused" and self.commands == self.fail_at and self._documents % 2 == 1

    @property
    def documents(self):
        """What is stored, but for what tells apart who wrote it."""
        return [
            {key: {name: value for name, value in each.items() if name != "swap"} for key, each in there.documents.items()}
            for there in (self.collections["open_executions"], self.collections["executions"])
        ]


async def _admitted(executions):
    await executions.admit(ASKED)


async def _running(executions):
    await executions.admit(ASKED)
    await executions.claim(ASKED.execution_id, 1, "r1", at(1))


async def _waiting(executions):
    await executions.admit(ASKED)
    await executions.project([finished(ASKED, status=Status.WAITING, ok=False, wake_at=at(5))])


async def _behind(executions):
    await _admitted(executions)
    await executions.admit(QUEUED)
    await executions.project([finished(ASKED, status=Status.OK)])


async def _nothing(executions):
    """Begin with an empty database."""


async def _admit_many(executions):
    for each in (ASKED, TICK, SKIPPED):
        await executions.admit(each)


async def _project_many(executions):
    await executions.project([finished(ASKED), finished(ASKED, 1, Status.OK, seq=2)])


ID = ASKED.execution_id
WRITES = {
    "admit": (_nothing, _admit_many),
    "queue": (_admitted, lambda e: e.admit(QUEUED)),
    "claim": (_admitted, lambda e: e.claim(ID, 1, "r1", at(1))),
    "mark as started": (_admitted, lambda e: e.mark_started([Started(ID, 1, "r1", at(1))])),
    "intend": (_admitted, lambda e: e.intend(ID, 1, "1_0", "r1", at(1))),
    "project, going on": (_admitted, lambda e: e.project([finished(ASKED)])),
    "project, to the end": (_admitted, _project_many),
    "project, waiting": (_running, lambda e: e.project([finished(ASKED, epoch=2, status=Status.WAITING, wake_at=at(5))])),
    "publish anew": (_admitted, lambda e: e.reissue(ID, 1, at(9), Restart.UNCLAIMED)),
    "hand back": (_running, lambda e: e.reissue(ID, 2, at(9), Restart.HANDED_BACK)),
    "retry": (_waiting, lambda e: e.reissue(ID, 1, at(9), Restart.RETRY)),
    "release": (_behind, lambda e: e.reissue(QUEUED.execution_id, 1, at(9), Restart.RELEASED)),
    "end": (_running, lambda e: e.end(CANCELLED)),
    "end, of one that waits": (_waiting, lambda e: e.end(CANCELLED)),
}
WAYS = ("not reached", "refused", "partly refused", "done, and not answered", "done, and not durable")


async def _tidied(client):
    """Return what is stored once the scheduler has passed by."""
    await client.executions.unclaimed(at(0), ALL, 100)
    return client.documents


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", WRITES)
async def test_whatever_fails_is_complete_when_it_is_done_again(name, way):
    prepare, write = WRITES[name]
    smooth = Client()
    await prepare(smooth.executions)
    before = smooth.commands
    await write(smooth.executions)
    count = smooth.commands - before
    expected = await _tidied(smooth)
    failures = 0
    for number in range(1, count + 1):
        client = Client()
        await prepare(client.executions)
        client.fail_at, client.way = client.commands + number, way
        try:
            await write(client.executions)
        except StoreUnavailable:
            failures += 1
            await write(client.executions)
        assert await _tidied(client) == expected, f"command {number} of {count}"
    assert failures == count or way == "partly refused", "nobody may take for done what is not"


@pytest.mark.parametrize("way", WAYS)
async def test_an_end_that_was_brought_about_is_told_whatever_failed(way):
    smooth = Client()
    await _running(smooth.executions)
    before = smooth.commands
    await smooth.executions.end(CANCELLED)
    for number in range(1, smooth.commands - before + 1):
        client = Client()
        await _running(client.executions)
        client.fail_at, client.way = client.commands + number, way
        with suppress(StoreUnavailable):
            await client.executions.end(CANCELLED)
        found = await client.executions.get(ID)
        told = [each.execution_id for each in await client.executions.untold(ALL, 10)]
        assert told == ([] if found.status.is_open else [ID]), f"command {number}"


async def test_a_repetition_that_meets_its_id_before_its_lock_is_none():
    """Which of two unique indexes a server names is its own affair."""
    executions = Client().executions
    assert await executions.admit(ASKED) == Admitted(ID)
    assert await executions.admit(ASKED) == AlreadyAdmitted(ID)
