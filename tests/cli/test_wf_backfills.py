"""``wf backfill`` and what belongs to it: the count first, then the question, then the run."""

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.cli.wf_fake_api import FakeApi, execution_id, problem, seconds_ago
from tests.cli.wf_process import Run

SINCE = "2026-01-01T00:00:00Z"


@pytest.fixture
def nightly(api: FakeApi) -> dict[str, Any]:
    return api.add("nightly", {"type": "cron", "expression": "@hourly"})


@pytest.mark.usefixtures("nightly")
class TestBackfill:
    async def test_a_dry_run_shows_the_count_and_starts_nothing(self, api: FakeApi, wf: Run) -> None:
        result = await wf("backfill", "nightly", "--from", SINCE, "--dry-run", "--rate", "6/m")
        assert result.code == 0
        assert result.widest <= 80
        assert "24, of which 21 have run already" in result.out
        assert "3, at most 6/m, 1 at once; takes 1m 15s at least" in result.out
        assert "2026-01-01T00:00:00+01:00" in result.out
        assert [body["dryRun"] for body in api.bodies] == [True]

    async def test_what_is_run_is_what_was_counted(self, api: FakeApi, wf: Run) -> None:
        result = await wf("backfill", "nightly", "--from", SINCE, "--yes", "--at-once", "2", "--beyond-retention")
        assert result.code == 0
        assert f"nightly: backfill {execution_id(900)} accepted" in result.out
        assert "wf cancel-backfill nightly" in result.err
        counted, started = api.bodies
        assert "to" not in counted
        assert started["to"] == api.backfills[0]["to"]
        assert started == {**counted, "dryRun": False, "to": started["to"]}
        assert (started["atOnce"], started["beyondRetention"]) == (2, True)

    async def test_an_instant_may_be_so_long_ago(self, api: FakeApi, wf: Run) -> None:
        await wf("backfill", "nightly", "--from", "4d", "--to", "90m", "--yes")
        counted, started = api.bodies
        since, until = (datetime.fromisoformat(counted[name]) for name in ("from", "to"))
        assert abs(until - since - (timedelta(days=4) - timedelta(minutes=90))) < timedelta(minutes=1)
        assert (started["from"], started["to"]) == (counted["from"], counted["to"])

    async def test_without_a_terminal_to_ask_on_nothing_is_started(self, api: FakeApi, wf: Run) -> None:
        result = await wf("backfill", "nightly", "--from", SINCE)
        assert result.code == 2
        assert "--yes" in result.err
        assert [body["dryRun"] for body in api.bodies] == [True]

    async def test_where_everything_has_run_there_is_nothing_to_ask(self, api: FakeApi, wf: Run) -> None:
        api.to_run = 0
        result = await wf("backfill", "nightly", "--from", SINCE)
        assert result.code == 0
        assert "There is nothing to run." in result.out
        assert len(api.bodies) == 1

    @pytest.mark.parametrize(
        ("end", "code", "said"),
        [
            ({"status": "done", "started": 3, "ok": 3}, 0, "3: 3 ok, 0 failed"),
            ({"status": "done", "started": 3, "ok": 2, "failed": 1}, 1, "3: 2 ok, 1 failed"),
            ({"status": "cancelled", "started": 1, "ok": 1, "reason": "wrong week"}, 1, "wrong week"),
        ],
        ids=["all ran", "one failed", "cancelled"],
    )
    async def test_waiting_for_the_end(self, api: FakeApi, wf: Run, end: Any, code: int, said: str) -> None:
        api.states = [{}, {"started": 1, "ok": 1}, {**end, "finishedAt": seconds_ago(0)}]
        result = await wf("backfill", "nightly", "--from", SINCE, "--yes", "--wait")
        assert result.code == code
        assert said in result.out

    async def test_waiting_stops_at_the_timeout(self, api: FakeApi, wf: Run) -> None:
        result = await wf("backfill", "nightly", "--from", SINCE, "--yes", "--wait", "--timeout", "0.3")
        assert result.code == 124
        assert "0 of 24 ticks" in result.err
        assert "wf backfills nightly" in result.err

    async def test_for_programs(self, api: FakeApi, wf: Run) -> None:
        plan = json.loads((await wf("backfill", "nightly", "--from", SINCE, "--dry-run", "--json")).out)
        assert plan["toRun"] == 3
        api.states = [{"status": "done", "started": 3, "ok": 3}]
        done = json.loads((await wf("backfill", "nightly", "--from", SINCE, "--yes", "--wait", "--json")).out)
        assert (done["status"], done["ok"]) == ("done", 3)

    async def test_another_one_in_the_way_is_named(self, api: FakeApi, wf: Run) -> None:
        detail = f"A backfill of workflow nightly is running: {execution_id(7)}."
        api.refusals["POST /workflows/nightly/backfill"] = problem(
            409, "backfill-in-progress", "Backfill in progress", detail, backfillId=execution_id(7)
        )
        result = await wf("backfill", "nightly", "--from", SINCE, "--yes")
        assert result.code == 3
        assert execution_id(7) in result.err
        assert "wf cancel-backfill nightly" in result.err

    async def test_a_wrong_field_is_named(self, api: FakeApi, wf: Run) -> None:
        errors = [{"field": "to", "message": "must not be in the future"}]
        api.refusals["POST /workflows/nightly/backfill"] = problem(
            400, "bad-request", "The request is not valid", "The backfill is not valid.", errors=errors
        )
        result = await wf("backfill", "nightly", "--from", SINCE, "--to", "2099-01-01T00:00:00Z", "--dry-run")
        assert result.code == 1
        assert "to: must not be in the future" in result.err
        assert "--beyond-retention" not in result.err

    async def test_the_field_that_lets_older_ticks_run_is_named_as_an_option(self, api: FakeApi, wf: Run) -> None:
        errors = [{"field": "from", "message": "name a later instant, or set beyondRetention to run them in any case"}]
        api.refusals["POST /workflows/nightly/backfill"] = problem(
            400, "bad-request", "The request is not valid", "The backfill is not valid.", errors=errors
        )
        result = await wf("backfill", "nightly", "--from", "90d", "--dry-run")
        assert "With wf that is --beyond-retention." in result.err

    @pytest.mark.parametrize("more", [["--dry-run", "--wait"], ["--dry-run", "--yes"], ["--timeout", "5s"]], ids=str)
    async def test_options_that_do_not_go_together(self, wf: Run, more: list[str]) -> None:
        assert (await wf("backfill", "nightly", "--from", SINCE, *more)).code == 2


async def test_an_unknown_workflow(api: FakeApi, wf: Run) -> None:
    for command in (["backfill", "nobody", "--from", SINCE], ["backfills", "nobody"], ["cancel-backfill", "nobody"]):
        result = await wf(*command)
        assert result.code == 4
        assert "there is no workflow nobody" in result.err


async def test_the_list_and_the_end(api: FakeApi, wf: Run, nightly: dict[str, Any]) -> None:
    empty = await wf("backfills", "nightly")
    assert "has no backfills" in empty.out
    refused = await wf("cancel-backfill", "nightly")
    assert (refused.code, "no backfill of nightly is running" in refused.err) == (3, True)
    await wf("backfill", "nightly", "--from", SINCE, "--yes")
    api.backfills[0].update(started=5, failed=1)
    listed = await wf("backfills", "nightly")
    assert listed.widest <= 80
    assert "5/24" in listed.out
    assert "running" in listed.out
    cancelled = await wf("cancel-backfill", "nightly", "--reason", "wrong week")
    assert "nightly: backfill cancelled; 5 of 24 ticks" in cancelled.out
    assert api.backfills[0]["reason"] == "wrong week"


async def test_a_backfilled_tick_is_told_apart_in_the_ledger(api: FakeApi, wf: Run) -> None:
    fired = {"disposition": "fired", "executionId": execution_id(1), "status": "ok", "latenessMs": 86_400_000}
    api.occurrences = {"1": {**fired, "dueAt": seconds_ago(86_400), "cause": "backfill"}}
    result = await wf("occurrences", "nightly")
    assert "backfill" in result.out
    assert "86400000" not in result.out
