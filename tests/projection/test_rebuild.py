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
from apps.projection.rebuild import as_stored, rebuild
from apps.projection.verify import Finding, Report, Verdict
from domain.execution import Admission, Cause, Execution, Status, admit
from domain.identifiers import execution_id
from domain.overlap import Overlap
from events.history import Told

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

FINDINGS = {
    "ended, and stored otherwise": (Told(ENDED, True), OPEN, True),
    "ended, and missing": (Told(ENDED, True), None, True),
    "open, and missing": (Told(OPEN, True), None, True),
    "open, and stored otherwise": (Told(OPEN, True), ENDED, False),
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


class Silent:
    """A progress that nobody looks at."""

    def step(self, name: str, total: int | None) -> None: ...

    def advance(self, count: int) -> None: ...


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
    lost = [replace(OPEN, execution_id=f"{OPEN.execution_id[:-1]}{number}", cause=cause) for number in range(4)]
    taken = {"w": OPEN}

    class Documents:
        async def holders(self, lock_keys: Sequence[str]) -> Mapping[str, Execution]:
            return {key: taken[key] for key in lock_keys if key in taken}

        async def replace_all(self, executions: Sequence[Execution]) -> None:
            taken.update({each.lock_key or "": each for each in executions})

    async def different() -> AsyncIterator[Finding]:
        for each in lost:
            yield Finding(Verdict.DIFFERENT, each.execution_id, "w", Told(each, True), None)

    async def overlap_of(workflow_id: str, version: int) -> Overlap:
        return Overlap.of(overlap)

    done = await rebuild(
        SimpleNamespace(different=different),  # type: ignore[arg-type]
        Documents(), overlap_of=overlap_of, progress=Silent(), differing=4, now=NOON,
    )  # fmt: skip
    assert (done.restored, done.left) == (len(places), 4 - len(places))
    assert [(key, each.execution_id) for key, each in taken.items()][1:] == [
        (place, each.execution_id) for place, each in zip(places, lost, strict=False)
    ]
