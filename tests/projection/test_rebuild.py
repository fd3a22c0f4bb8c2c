"""What a rebuild writes, and what its dry run says of it."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from apps.projection import session
from apps.projection.comparison import Difference
from apps.projection.rebuild import Rebuilt, as_stored, rebuild
from apps.projection.scratch import Scratch
from apps.projection.verify import Finding, Report, Verdict, Verification
from domain.execution import Admission, Cause, Execution, Status, admit
from domain.identifiers import execution_id
from domain.overlap import Overlap
from events.folding import request_record
from events.history import Told
from events.wire import encode
from store.interfaces import Heartbeat

NOON = datetime(2026, 1, 31, 12, 0, tzinfo=timezone.utc)
LEFT = "wf rebuild leaves it as it is"


def _execution(lock_key: str | None, reason: str = "") -> Execution:
    return admit(
        Admission(
            execution_id=execution_id(NOON, bytes(10)), workflow_id="w", version=1, cause=Cause.MANUAL, created_at=NOON,
            retries_left=0, total_actions=1, shard=0, lock_key=lock_key, reason=reason,
        )
    )  # fmt: skip


OPEN, ENDED = _execution("w"), _execution(None, "skipped: busy")
WAITS = replace(OPEN, status=Status.WAITING, epoch=2, seq=2)

FINDINGS = {
    "ended, and stored otherwise": (Told(ENDED, True), OPEN, True),
    "ended, and missing": (Told(ENDED, True), None, True),
    "open, and missing": (Told(OPEN, True), None, True),
    "open, and stored otherwise": (Told(OPEN, True), ENDED, False),
    "open, and stored as it was earlier": (Told(WAITS, True), OPEN, True),
    "open, and stored as it is since": (Told(OPEN, True), WAITS, False),
    "without some of its records": (Told(ENDED, False), ENDED, False),
    "without any record": (Told(None, True), ENDED, False),
}


@pytest.fixture(params=FINDINGS.values(), ids=FINDINGS)
def judged(request: pytest.FixtureRequest) -> tuple[Finding, bool]:
    """What was found, and whether it is written."""
    told, stored, is_written = request.param
    differences = (Difference("status", "ok", "failed"),)
    return Finding(Verdict.DIFFERENT, OPEN.execution_id, "w", told, stored, differences), is_written


def test_what_is_written(judged: tuple[Finding, bool]) -> None:
    finding, is_written = judged
    assert (OPEN.status, ENDED.status) == (Status.PENDING, Status.SKIPPED)
    assert (as_stored(finding, NOON) is not None) == finding.can_be_rebuilt == is_written


def test_the_dry_run_says_what_is_left(judged: tuple[Finding, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    finding, is_written = judged

    async def verify(*_: object, **__: object) -> Report:
        return Report(differing=1, findings=[finding])

    monkeypatch.setattr(session, "verify", verify)
    shown = CliRunner().invoke(app, ["rebuild", "--dry-run"], prog_name="wf")
    assert (shown.exit_code, LEFT in shown.output) == (2, not is_written)
    told = CliRunner().invoke(app, ["rebuild", "--dry-run", "--json"], prog_name="wf")
    assert json.loads(told.stdout)["differences"][0]["canBeRebuilt"] == is_written


def test_what_is_behind_is_left_to_runners_that_are_at_work() -> None:
    """They may have told what they have not written yet."""
    behind = Finding(Verdict.DIFFERENT, OPEN.execution_id, "w", Told(WAITS, True), OPEN, runners_at_work=True)
    assert (behind.is_behind, behind.can_be_rebuilt) == (True, False)


@pytest.mark.parametrize("beats", [(7, 7), (7, 8)], ids=["nobody", "a runner"])
async def test_a_heartbeat_that_goes_on_tells_that_a_runner_is_at_work(
    beats: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A backup has the heartbeats of its time, and they go on no more."""
    monkeypatch.setattr("apps.projection.verify.LOOK_AGAIN_AFTER", 0)
    told = [request_record(replace(OPEN, epoch=epoch)) for epoch in (1, 2)]
    left = list(beats)

    class Log:
        async def read(self, scratch: Scratch, **_: object) -> int:
            rows = [(OPEN.execution_id, 0, each.epoch, encode(each)) for each in told]
            scratch.add(rows)
            told.clear()
            return len(rows)

    class Stored:
        async def scan(self, *, workflow_id: str | None = None) -> AsyncIterator[Execution]:
            yield OPEN

        async def get(self, execution_id: str) -> Execution:
            return OPEN

    class Runners:
        async def all(self) -> Sequence[Heartbeat]:
            return [Heartbeat("runner", left.pop(0))]

    with Scratch() as scratch:
        verification = Verification(
            log=Log(),  # type: ignore[arg-type]
            documents=Stored(), runners=Runners(), scratch=scratch, progress=Silent(),
        )  # fmt: skip
        (finding,) = (await verification.run()).findings
    assert finding.is_behind
    assert finding.can_be_rebuilt == (beats[0] == beats[1])


class Silent:
    """A progress that nobody looks at."""

    def step(self, name: str, total: int | None) -> None: ...

    def advance(self, count: int) -> None: ...


class Documents:
    """The open executions by lock key."""

    def __init__(self, taken: dict[str, Execution]) -> None:
        self.taken = taken

    async def holders(self, lock_keys: Sequence[str]) -> Mapping[str, Execution]:
        return {key: self.taken[key] for key in lock_keys if key in self.taken}

    async def replace_all(self, executions: Sequence[Execution]) -> None:
        ids = {each.execution_id for each in executions}
        for key in [key for key, each in self.taken.items() if each.execution_id in ids]:
            del self.taken[key]
        self.taken.update({each.lock_key: each for each in executions if each.lock_key is not None})


@pytest.mark.parametrize(
    ("overlap", "cause", "places"),
    [
        ({"policy": "allow", "max": 3}, Cause.MANUAL, ["w#1", "w#2"]),
        ({"policy": "allow", "max": 3}, Cause.BACKFILL, ["w#2", "w#1"]),
        ({"policy": "queue", "max": 3}, Cause.MANUAL, []),
        (None, Cause.MANUAL, []),
    ],
    ids=["allow", "backfill", "queue", "skip"],
)
async def test_what_was_open_beside_others_is_restored_in_a_place_of_its_own(
    overlap: dict[str, Any] | None, cause: Cause, places: list[str]
) -> None:
    """Of a hundred that wait for a signal under the policy allow, all but one were left out."""
    lost = [replace(OPEN, execution_id=f"{OPEN.execution_id[:-1]}{number}", cause=cause) for number in range(1, 5)]
    taken = {"w": OPEN}

    documents = Documents(taken)

    async def different() -> AsyncIterator[Finding]:
        for each in lost:
            yield Finding(Verdict.DIFFERENT, each.execution_id, "w", Told(each, True), None)

    async def overlap_of(workflow_id: str, version: int) -> Overlap:
        return Overlap.of(overlap)

    done = await rebuild(
        SimpleNamespace(different=different),  # type: ignore[arg-type]
        documents, overlap_of=overlap_of, progress=Silent(), differing=4, now=NOON,
    )  # fmt: skip
    assert (done.restored, done.left) == (len(places), 4 - len(places))
    assert [(key, each.execution_id) for key, each in taken.items()][1:] == [
        (place, each.execution_id) for place, each in zip(places, lost, strict=False)
    ]


def _named(number: int, execution: Execution) -> Execution:
    return replace(execution, execution_id=f"{OPEN.execution_id[:-1]}{number}")


async def _rebuilt(stored: list[Execution], told: list[Execution], overlap: Overlap | None) -> tuple[Rebuilt, Documents]:
    documents = Documents({each.lock_key or "": each for each in stored})
    known = {each.execution_id: each for each in stored}

    async def different() -> AsyncIterator[Finding]:
        for each in told:
            found = known.get(each.execution_id)
            yield Finding(Verdict.DIFFERENT, each.execution_id, "w", Told(each, True), found)

    async def overlap_of(workflow_id: str, version: int) -> Overlap | None:
        return overlap

    done = await rebuild(
        SimpleNamespace(different=different),  # type: ignore[arg-type]
        documents, overlap_of=overlap_of, progress=Silent(), differing=len(told), now=NOON,
    )  # fmt: skip
    return done, documents


async def test_what_has_ended_gives_its_place_to_what_was_open_after_it() -> None:
    """The database was put back to when the first one ran and the second was in line."""
    queued = replace(OPEN, status=Status.QUEUED, lock_key="w#wait-0", requested_at=None)
    stored = [_named(1, OPEN), _named(2, queued)]
    done, documents = await _rebuilt(stored, [_named(1, ENDED), _named(2, WAITS)], Overlap(policy="queue"))
    assert (done.written, done.restored, done.left) == (2, 1, 0)
    assert [(key, each.execution_id, each.status) for key, each in documents.taken.items()] == [
        ("w", stored[1].execution_id, Status.WAITING)
    ]


async def test_what_is_behind_keeps_its_place_under_an_epoch_beyond_the_log() -> None:
    stored = _named(1, replace(OPEN, lock_key="w#3"))
    _, documents = await _rebuilt([stored], [_named(1, WAITS)], Overlap(policy="allow"))
    assert {key: (each.epoch, each.status) for key, each in documents.taken.items()} == {"w#3": (4, Status.WAITING)}


async def test_what_is_of_a_version_that_is_not_stored_is_restored_and_told() -> None:
    """It had a place beside others by a policy that is not known any more."""
    told = [_named(1, WAITS), _named(2, WAITS)]
    done, documents = await _rebuilt([], told, None)
    assert (list(documents.taken), done.unknown_versions) == (["w", "w#1"], {("w", 1)})


async def test_what_finds_no_place_is_not_written() -> None:
    done, documents = await _rebuilt([_named(1, OPEN)], [_named(2, WAITS)], Overlap())
    assert (done.written, done.left, [each.execution_id for each in done.unplaced]) == (0, 1, [_named(2, OPEN).execution_id])
    assert list(documents.taken.values()) == [_named(1, OPEN)]


def test_what_is_not_well_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def verify_and_rebuild(*_: object, **__: object) -> tuple[Report, Rebuilt]:
        return Report(differing=1), Rebuilt(left=1, unplaced=[OPEN], unknown_versions={("w", 7)})

    monkeypatch.setattr(session, "verify_and_rebuild", verify_and_rebuild)
    shown = CliRunner().invoke(app, ["rebuild", "--force"], prog_name="wf")
    assert shown.exit_code == 2
    assert f"without a place: {OPEN.execution_id} of w" in shown.output
    assert "needed by what is open: w version 7." in shown.output
