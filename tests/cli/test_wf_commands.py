"""The commands that list, show, trigger and delete, and how they fail."""

import asyncio
import json
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from typer.main import get_command
from typer.testing import CliRunner

from apps.cli import doctor, output, waiting
from apps.cli.errors import MEANINGS, ExitCode
from apps.cli.main import app
from tests.cli.wf_fake_api import FakeApi, execution, execution_id, outcome, problem, seconds_ago
from tests.cli.wf_process import COMMAND, ROOT, Run, environment, run_wf
from vault.keys import UnknownKey
from vault.values import MOUNTED_WINS, TOO_SHORT


async def test_help_shows_examples_and_exit_codes(wf: Run) -> None:
    result = await wf("--help")
    assert result.code == 0
    assert result.widest <= 80
    assert "wf apply workflows/" in result.out
    assert all(f"{code.value:>3}  {meaning}" in result.out for code, meaning in MEANINGS.items())


def commands(group: Any, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *before, name)
        else:
            yield (*before, name)


@pytest.mark.parametrize("command", commands(get_command(app)), ids=" ".join)
def test_each_command_says_what_it_is_for_and_has_an_example(command: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*command, "--help"], prog_name="wf", env={"COLUMNS": "80"})
    assert result.exit_code == 0
    _, _, purpose, *_ = (line for line in result.output.splitlines() if line.strip())
    assert purpose.strip(" .")
    assert f"\n   wf {' '.join(command)}" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_help_of_up_names_the_ports_that_are_taken_where_none_are_given() -> None:
    result = CliRunner().invoke(app, ["up", "--help"], prog_name="wf", env={"COLUMNS": "140"})
    for port in (9092, 27017, 8081, 8082, 8083):
        assert f"[default: {port}]" in result.output


def test_help_of_a_dead_letter_says_that_what_is_sent_instead_stands_in_a_file() -> None:
    result = CliRunner().invoke(app, ["dead-letters", "resend", "--help"], prog_name="wf", env={"COLUMNS": "140"})
    assert re.search(r"--value +FILE +File with the JSON to send instead", result.output)


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("apps.cli.main", ("aiohttp", "pydantic", "rich.console", "yaml", "apps.standalone", "faust")),
        ("actions.checking", ("aiohttp", "structlog", "jsonpath", "faust")),
    ],
    ids=["starting", "checking definitions"],
)
async def test_nothing_slow_is_imported_for(module: str, slow: Sequence[str]) -> None:
    code = f"import sys, {module}; print([name for name in {slow!r} if name in sys.modules])"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=environment(""), stdout=asyncio.subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().strip() == "[]"


async def test_list(api: FakeApi, wf: Run) -> None:
    empty = await wf("list")
    assert (empty.code, empty.out) == (0, "There are no workflows yet.\n")
    assert "wf apply FILE.yaml" in empty.err

    api.add("recurrent-workflow", {"type": "periodic", "interval": "10s"}, nextRun=seconds_ago(-5400))
    api.add("x" * 120)
    narrow = await wf("list")
    lines = narrow.out.splitlines()
    assert "x" * 120 in lines, "an id that has no room stands whole on a line of its own"
    assert max(len(line) for line in lines if line != "x" * 120) <= 80
    assert [line.split()[0] for line in lines] == ["WORKFLOW", "recurrent-workflow", "x" * 120, "manual"]
    assert "every 10s" in narrow.out
    assert "in 1h" in narrow.out
    piped = await wf("list", columns=None)
    assert len(piped.out.splitlines()) == 3
    assert "x" * 120 in piped.out


async def test_a_list_tells_that_a_workflow_is_paused_while_it_is_busy(api: FakeApi, wf: Run) -> None:
    api.add("nightly", {"type": "periodic", "interval": "10s"}, pausedAt=seconds_ago(70))
    api.workflows["nightly"]["trigger"]["status"] = "busy"
    result = await wf("list")
    assert result.out.splitlines()[1].split()[:5] == ["nightly", "every", "10s", "busy", "paused"]
    assert result.widest <= 80


async def test_what_is_archived_is_listed_when_asked_for(api: FakeApi, wf: Run) -> None:
    assert (await wf("list", "--archived")).out == "No workflow is archived.\n"
    api.add("nightly", {"type": "periodic", "interval": "10s"}, archivedAt=seconds_ago(70), updatedAt=seconds_ago(70))
    api.add("hourly")
    assert "nightly" not in (await wf("list")).out
    result = await wf("list", "--archived")
    assert [line.split() for line in result.out.splitlines()[1:]] == [
        ["nightly", "every", "10s", "idle", "archived", "1", "1", "1m", "ago"]
    ]
    assert result.widest <= 80
    assert "No archived workflow begins with x." in (await wf("list", "--archived", "--prefix", "x")).out


async def test_a_list_follows_cursors_and_says_when_there_is_more(api: FakeApi, wf: Run) -> None:
    for number in range(505):
        api.add(f"w-{number:04}")
    cut = await wf("list", "--limit", "3", "--json")
    assert [item["workflowId"] for item in json.loads(cut.out)] == ["w-0000", "w-0001", "w-0002"]
    assert "There are more" in cut.err
    whole = await wf("list", "--limit", "0", "--prefix", "w-", "-o", "json")
    assert len(json.loads(whole.out)) == 505
    assert whole.err == ""


async def test_show(api: FakeApi, wf: Run) -> None:
    last = execution(7, "nightly", "failed")
    api.add("nightly", {"type": "periodic", "interval": "5m", "allowManual": True}, lastExecution=last)
    result = await wf("show", "nightly")
    assert result.code == 0
    assert result.widest <= 80
    for words in ("nightly, version 1", "every 5m, also by hand", "failed, 3m ago, took 1.2s", execution_id(7), "hello"):
        assert words in result.out
    as_yaml = await wf("show", "nightly", "--output", "yaml")
    assert yaml.safe_load(as_yaml.out) == {**api.workflows["nightly"], "warnings": []}


async def test_show_tells_all_that_a_definition_says(api: FakeApi, wf: Run) -> None:
    trigger = {"type": "cron", "expression": ["0 3 * * *", "@daily"], "timezone": "Europe/Berlin"}
    api.add(
        "full",
        {**trigger, "misfire": {"policy": "all", "max": 7}, "jitter": "10s"},
        pausedAt=seconds_ago(70),
        overlap={"policy": "queue"},
        timeout="1h",
        reference="order-{{ input.order }}",
        description="Sends what was ordered to those who pack it. " * 2 + "\nAsk: packing@example.org\n",
        onFailure=[{"actionId": "tell", "type": "log", "message": "it failed"}],
    )
    result = await wf("show", "full")
    assert result.widest <= 80
    for words in (
        "           Sends what was ordered", "           Ask: packing@example.org\n",
        "cron 0 3 * * *, @daily (Europe/Berlin)", "misfire (policy: all, max: 7), jitter: 10s", "(1m ago)", "policy: queue",
        "Timeout    1h", "Reference  order-{{ input.order }}", "on failure 1  tell", "1  log-1",
    ):  # fmt: skip
        assert words in result.out
    assert "Ask: packing@example.org\nStatus" in re.sub(r" +\n", "\n", result.out)


async def test_show_tells_the_address_that_a_sender_is_told(api: FakeApi, wf: Run) -> None:
    api.add("hooked", webhook={"type": "stripe", "keySecret": "stripe"})
    result = await wf("show", "hooked")
    assert f"Webhook   {api.url}/v1/workflows/hooked/webhook\n          type: stripe, keySecret: stripe" in result.out


async def test_show_tells_the_topic_whose_records_start_it(api: FakeApi, wf: Run) -> None:
    api.add("arrived", kafka={"topic": "orders", "from": "now"})
    assert "Kafka     each record of topic orders\n" in (await wf("show", "arrived")).out


async def test_pause_and_resume(api: FakeApi, wf: Run) -> None:
    api.add("nightly", {"type": "periodic", "interval": "10s"}, nextRun=seconds_ago(-10))
    assert "nightly paused" in (await wf("pause", "nightly")).out
    assert "nightly resumed; next run: " in (await wf("resume", "nightly")).out
    assert api.requests == ["POST /workflows/nightly/pause", "POST /workflows/nightly/resume"]
    missing = await wf("pause", "nobody")
    assert "there is no workflow nobody" in missing.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("show a b", "wf show does not know what to do with 'b'"),
        ("list --limit x", "--limit: must be a whole number"),
        ("list --limit -1", "--limit: must be greater than or equal to 0"),
        ("show", "Missing argument 'ID'"),
        ("list --url nowhere", "--url: 'nowhere' is not the address of a service; write for example http://127.0.0.1:8081"),
        ("execution 7", "ID: '7' is not an execution id (a UUID); `wf executions` lists them"),
        ("up --runners 0", "--runners: must be greater than or equal to 1"),
    ],
)
async def test_a_wrong_call_is_told_in_one_line_that_names_what_is_wrong(wf: Run, words: str, said: str) -> None:
    result = await wf(*words.split())
    assert (result.code, result.out) == (2, "")
    assert result.err == f"error: {said}\nSee wf {words.split()[0]} --help.\n"


async def test_whoever_names_a_workflow_where_an_option_does_is_told_of_it(wf: Run) -> None:
    result = await wf("executions", "hello")
    assert (result.code, result.err.splitlines()[1]) == (2, "Those of one workflow: wf executions --workflow hello")


async def test_upcoming(api: FakeApi, wf: Run) -> None:
    assert "No workflow has a next run" in (await wf("upcoming")).out
    api.add("later", {"type": "cron", "expression": "0 2 * * *", "timezone": "Europe/Berlin"}, nextRun=seconds_ago(-90_000))
    api.add("soon", {"type": "periodic", "interval": "1h"}, nextRun=seconds_ago(-655))
    api.add("by-hand")
    result = await wf("upcoming")
    rows = result.out.splitlines()[1:]
    assert ["soon" in rows[0], "later" in rows[1], len(rows)] == [True, True, 2]
    assert f"{api.workflows['soon']['nextRun'][:19].replace('T', ' ')}  in 10m" in rows[0]
    assert "cron 0 2 * * * (Europe/Berlin)" in rows[1]
    assert [each["workflowId"] for each in json.loads((await wf("upcoming", "--within", "1h", "--json")).out)] == ["soon"]
    assert len(json.loads((await wf("upcoming", "--within", "99999d", "--json")).out)) == 2
    assert "No workflow is due within 5m" in (await wf("upcoming", "--within", "5m")).out
    assert "'tonight' is not a length of time" in (await wf("upcoming", "--within", "tonight")).err


async def test_occurrences(api: FakeApi, wf: Run) -> None:
    fired = {"disposition": "fired", "executionId": execution_id(1), "status": "ok", "latenessMs": 7}
    missed = {"disposition": "missed", "until": "2026-01-31T01:00:00.000Z", "ticks": None, "openExecutionId": None}
    api.occurrences = {
        "2": {**fired, "dueAt": "2026-01-31T02:30:00.000Z"},
        "1": {**missed, "dueAt": "2026-01-30T23:00:00.000Z"},
    }
    result = await wf("occurrences", "nightly")
    assert result.code == 0
    assert result.widest <= 80
    lines = [line.split() for line in result.out.splitlines()]
    assert ["01-31", "02:30:00", "fired", "7ms", execution_id(1), "ok"] in lines
    assert ["01-30", "23:00:00", "missed", "many"] in lines
    assert lines[2:4] == [["to", "01-31"], ["01:00:00"]]
    assert len(json.loads((await wf("occurrences", "nightly", "--json")).out)) == 2


async def test_executions(api: FakeApi, wf: Run) -> None:
    for number, status in enumerate(("ok", "cancelled", "pending"), start=1):
        api.executions[execution_id(number)] = execution(number, "recurrent-workflow", status)
    result = await wf("executions")
    lines = result.out.splitlines()
    assert [line.split()[:3] for line in lines[1:]] == [
        [execution_id(1), "recurrent-workflow", "ok"],
        [execution_id(2), "recurrent-workflow", "cancelled"],
        [execution_id(3), "recurrent-workflow", "pending"],
    ]
    assert result.widest <= 80
    some = await wf("executions", "-w", "recurrent-workflow", "--status", "ok", "--status", "pending", "--json")
    assert [item["status"] for item in json.loads(some.out)] == ["ok", "pending"]


async def test_executions_of_a_time(api: FakeApi, wf: Run) -> None:
    """What was sent a week ago was below everything since."""
    for number, age in enumerate((9, 7, 5), start=1):
        api.executions[execution_id(number)] = execution(number, "nightly", "ok", createdAt=seconds_ago(age * 86_400))
    found = await wf("executions", "--from", "8d", "--to", "6d", "--json")
    assert [item["executionId"] for item in json.loads(found.out)] == [execution_id(2)]
    none = await wf("executions", "--from", "2001-01-31T00:00:00Z", "--to", "2002-01-31T00:00:00+01:00")
    assert "No execution matches." in none.out


async def test_a_day_begins_in_utc(api: FakeApi, wf: Run) -> None:
    for number, created in enumerate(("2026-01-30T23:59:59.999Z", "2026-01-31T00:00:01.000Z"), start=1):
        api.executions[execution_id(number)] = execution(number, "nightly", "ok", createdAt=created)
    found = await wf("executions", "--from", "2026-01-31", "--json")
    assert [item["executionId"] for item in json.loads(found.out)] == [execution_id(2)]
    found = await wf("executions", "--to", "2026-01-31", "--json")
    assert [item["executionId"] for item in json.loads(found.out)] == [execution_id(1)]


async def test_executions_of_a_workflow_that_is_not_there(api: FakeApi, wf: Run) -> None:
    """A word that was mistyped looked like a workflow that nothing has run of."""
    api.add("nightly", {"type": "manual"})
    api.add("nightly-2", {"type": "manual"})
    api.add("old", {"type": "manual"}, archivedAt=seconds_ago(60))
    mistyped = await wf("executions", "-w", "nightyl")
    assert (mistyped.code, mistyped.out) == (4, "")
    assert "there is no workflow nightyl; did you mean nightly" in mistyped.err
    assert "`wf list` shows those that are there" in (await wf("executions", "-w", "xyz", "--json")).err
    for known in ("nightly", "old"):
        assert "No execution matches." in (await wf("executions", "-w", known)).out
    api.executions[execution_id(1)] = execution(1, "gone", "ok")
    assert execution_id(1) in (await wf("executions", "-w", "gone")).out


async def test_executions_of_a_reference(api: FakeApi, wf: Run) -> None:
    """Which execution order 17 was had to be read from the input of each."""
    api.add("ship", {"type": "manual"})
    assert (await wf("trigger", "ship", "--reference", "order 17 / Zoë")).code == 0
    (started,) = api.executions
    api.executions[execution_id(8)] = execution(8, "ship", "ok", reference="order-18")
    api.executions[execution_id(9)] = execution(9, "ship", "ok")
    found = await wf("executions", "--reference", "order 17 / Zoë", "--json")
    assert [item["executionId"] for item in json.loads(found.out)] == [started]
    assert "Reference  order 17 / Zoë" in (await wf("execution", started)).out
    assert "Reference" not in (await wf("execution", execution_id(9))).out
    everything = (await wf("executions", "-w", "ship")).out.splitlines()
    assert everything[0].split()[-1] == "REFERENCE"
    assert [line.split()[5:] for line in everything[1:]] == [["order", "17", "/", "Zoë"], ["order-18"], []]
    assert "REFERENCE" not in (await wf("executions", "--reference", "order-18")).out
    assert "No execution matches." in (await wf("executions", "--reference", "order-1")).out


async def test_execution_shows_its_input(api: FakeApi, wf: Run) -> None:
    api.executions[execution_id(1)] = execution(1, "order", "ok", input={"order": 17, "name": "Zoë\x1b"})
    assert 'Input      {"order": 17, "name": "Zoë\\u001b"}' in (await wf("execution", execution_id(1))).out
    api.executions[execution_id(1)] = execution(1, "order", "ok", input={"text": "long " * 200})
    assert "…" in (await wf("execution", execution_id(1))).out
    api.executions[execution_id(1)] = execution(1, "order", "ok", input={})
    assert "Input" not in (await wf("execution", execution_id(1))).out


async def test_execution_shows_attempts_and_logs_without_their_control_characters(api: FakeApi, wf: Run) -> None:
    api.executions[execution_id(1)] = execution(
        1,
        "nightly",
        "failed",
        attempt=2,
        reason="no retries left",
        totalActions=2,
        executedActions=[
            outcome("log-1", "ok", logs=["hello \x1b[31m\x9b2J " + "long " * 30]),
            outcome("http-2", "failed", error={"class": "status", "message": "answered 500"}),
            outcome("http-2", "failed", attempt=2, startedAt=seconds_ago(2.8), finishedAt=seconds_ago(2.75)),
        ],
    )
    result = await wf("execution", execution_id(1).upper())
    assert result.code == 0
    assert result.widest <= 80
    for words in ("no retries left", "Attempt 1\n", "Attempt 2, 1.2s later", "status: answered 500", "1 of 2 actions"):
        assert words in result.out
    assert "hello \\x1b[31m\\x9b2J" in result.out
    as_json = await wf("execution", execution_id(1), "--json")
    assert not {"\x1b", "\x9b"} & set(as_json.out)
    assert json.loads(as_json.out) == api.executions[execution_id(1)]


async def test_execution_shows_the_wait_before_an_attempt_of_which_nothing_has_ended(api: FakeApi, wf: Run) -> None:
    now = datetime.now(timezone.utc)
    first = outcome("http-1", "failed", startedAt=seconds_ago(10, now), finishedAt=seconds_ago(9, now))
    found = {"attempt": 2, "resumedAt": seconds_ago(4, now), "executedActions": [first]}
    api.executions[execution_id(1)] = execution(1, "nightly", "running", **found)
    result = await wf("execution", execution_id(1))
    assert "Attempt 2, 5.0s later\n  running\n" in result.out


async def test_execution_names_what_has_triggered_it(api: FakeApi, wf: Run) -> None:
    parent = {"executionId": execution_id(2), "workflowId": "import", "actionId": "each"}
    api.executions[execution_id(1)] = execution(1, "nightly", "ok", cause="workflow", triggeredBy=parent)
    shown = " ".join((await wf("execution", execution_id(1))).out.split())
    assert f"Triggered by action each of import, execution {execution_id(2)} Cause workflow" in shown


async def test_execution_shows_what_interrupted_it_and_what_it_waited_for(api: FakeApi, wf: Run) -> None:
    now = datetime.now(timezone.utc)
    outcomes = [
        outcome("call", "failed", startedAt=seconds_ago(60, now), finishedAt=seconds_ago(59, now)),
        outcome("call", "ok", attempt=2, startedAt=seconds_ago(41, now), finishedAt=seconds_ago(40, now)),
    ]
    restarts = [
        {"at": seconds_ago(61, now), "why": "released", "attempt": 1, "index": 0},
        {
            "at": seconds_ago(42, now), "why": "lost", "attempt": 2, "index": 0, "runner": "host-1-ab",
            "since": seconds_ago(57, now),
        },
        {"at": seconds_ago(30, now), "why": "unclaimed", "attempt": 2, "index": 1},
        {"at": seconds_ago(20, now), "why": "handed-back", "attempt": 2, "index": 1, "since": seconds_ago(25, now)},
    ]  # fmt: skip
    api.executions[execution_id(1)] = execution(
        1, "nightly", "ok", attempt=2, totalActions=2, executedActions=outcomes, restarts=restarts
    )
    shown = " ".join((await wf("execution", execution_id(1))).out.split())
    places = [
        shown.index(words)
        for words in (
            "Attempt 1 queued its turn came at 20",
            "failed call",
            "Attempt 2, 2.0s later interrupted runner host-1-ab was lost; it went on 15s later, at 20",
            "ok call",
            "handed out again no runner had taken it; at 20",
            "interrupted its runner handed it back; it went on 5.0s later, at 20",
        )
    ]
    assert places == sorted(places)
    logs = (await wf("logs", execution_id(1))).out
    assert "[2] interrupted  runner host-1-ab was lost" in logs
    as_json = (await wf("logs", execution_id(1), "--json")).out
    assert "why" not in as_json


async def test_in_a_narrow_terminal_what_interrupted_it_is_folded_beside_its_name(api: FakeApi, wf: Run) -> None:
    restart = {"at": seconds_ago(2), "why": "lost", "attempt": 1, "index": 0, "runner": "worker.example.org-31354-0123abcd"}
    api.executions[execution_id(1)] = execution(1, "nightly", "running", restarts=[{**restart, "since": seconds_ago(9)}])
    shown = await wf("execution", execution_id(1))
    _, words = shown.out.split("  interrupted  ")
    first, second, *_ = words.splitlines()
    assert first.startswith("runner worker.example.org-31354-0123abcd was lost")
    assert second.startswith(" " * len("  interrupted  "))
    assert shown.widest <= 80


@pytest.mark.parametrize(
    ("why", "head", "message"),
    [
        ("timed-out", "timed out", "timed out after 1m"),
        ("given-up", "given up", "given up: so often"),
        ("cancelled", "cancelled", "wrong month"),
    ],
)
async def test_execution_shows_that_its_actions_were_ended(why: str, head: str, message: str, api: FakeApi, wf: Run) -> None:
    now = datetime.now(timezone.utc)
    late = {"class": why, "message": message}
    outcomes = [
        outcome("pause", "ok", startedAt=seconds_ago(70, now), finishedAt=seconds_ago(70, now)),
        outcome("pause", "failed", startedAt=seconds_ago(10, now), finishedAt=seconds_ago(9, now), error=late),
        outcome("alert", "ok", index=1, startedAt=seconds_ago(9, now), finishedAt=seconds_ago(8, now)),
    ]
    restart = {"at": seconds_ago(10, now), "why": why, "attempt": 1, "index": 0}
    found = {"totalActions": 1, "executedActions": outcomes}
    for number, more in enumerate([{}, {"since": seconds_ago(19, now)}], 1):
        api.executions[execution_id(number)] = execution(
            number, "nightly", "failed", restarts=[{**restart, **more}], **found
        )
        shown = " ".join((await wf("execution", execution_id(number))).out.split())
        under_way = ", this one under way for 9.0s," if more else ""
        words = (
            "ok pause",
            f"{head} its actions were ended{under_way} at 20",
            f"{why}: {message}",
            "ok alert",
        )
        places = [shown.index(each) for each in words]
        assert places == sorted(places)
        assert "0 of 1 actions succeeded." in shown


async def test_execution_shows_in_which_step_it_was_cut_off(api: FakeApi, wf: Run) -> None:
    now = datetime.now(timezone.utc)
    step = {"list": "actions", "position": 1, "actionId": "charge", "since": seconds_ago(9, now)}
    found = {"cutOff": step, "totalActions": 2, "finishedAt": seconds_ago(1, now), "executedActions": []}
    api.executions[execution_id(1)] = execution(1, "nightly", "cancelled", **found)
    shown = (await wf("execution", execution_id(1))).out
    assert "Attempt 1\n  cut off  action 1 of 2: charge, under way for 8.0s; it may have been done\n" in shown


TELL = outcome("tell", "ok", index=2)
RETRIED = [outcome("charge", "failed", index=1), outcome("charge", "ok", attempt=2, index=1)]


@pytest.mark.parametrize(
    ("outcomes", "succeeded"),
    [
        pytest.param([outcome("look", "failed"), TELL], 0, id="handlers are none of them"),
        pytest.param([outcome("look", "ok"), *RETRIED, TELL], 2, id="one that was retried is one"),
        pytest.param([outcome("look", "ok", attempt=0), outcome("charge", "failed", index=1)], 1, id="carried over"),
    ],
)
async def test_execution_counts_the_actions_that_succeeded(
    outcomes: list[Any], succeeded: int, api: FakeApi, wf: Run
) -> None:
    api.executions[execution_id(1)] = execution(1, "nightly", "failed", totalActions=2, executedActions=outcomes)
    assert (await wf("execution", execution_id(1))).out.splitlines()[-1] == f"{succeeded} of 2 actions succeeded."


CHARGE = {"list": "actions", "position": 2, "actionId": "charge"}
ALERT = {"list": "onFailure", "position": 1, "actionId": "alert"}


@pytest.mark.parametrize(
    ("status", "step", "line"),
    [
        ("running", CHARGE, "At         action 2 of 3: charge"),
        ("pending", CHARGE, "Next       action 2 of 3: charge"),
        ("running", ALERT, "At         step 1 of onFailure: alert"),
        ("ok", None, None),
    ],
)
async def test_execution_shows_the_step_that_it_is_at(
    status: str, step: Any, line: str | None, api: FakeApi, wf: Run
) -> None:
    api.executions[execution_id(1)] = execution(1, "nightly", status, totalActions=3, currentStep=step)
    lines = (await wf("execution", execution_id(1))).out.splitlines()
    assert [each for each in lines if each.startswith(("At ", "Next "))] == ([line] if line else [])


async def test_trigger(api: FakeApi, wf: Run) -> None:
    api.add("nightly")
    result = await wf("trigger", "nightly")
    assert (result.code, result.out) == (0, f"nightly triggered: execution {execution_id(1)}\n")
    assert f"wf execution {execution_id(1)}" in result.err
    as_json = await wf("trigger", "nightly", "--json")
    assert json.loads(as_json.out) == {"status": "workflow triggered", "executionId": execution_id(2)}


async def test_a_key_that_is_given_starts_one_execution(api: FakeApi, wf: Run) -> None:
    api.add("nightly")
    for _ in range(2):
        result = await wf("trigger", "nightly", "--key", "pipeline-17")
        assert (result.code, result.out) == (0, f"nightly triggered: execution {execution_id(1)}\n")
    refused = await wf("trigger", "nightly", "--key", "a b")
    assert (refused.code, len(api.executions)) == (2, 1)
    assert "--key: must be 1 to 255 printable ASCII characters without blanks" in refused.err


async def test_trigger_tells_when_it_is_queued(api: FakeApi, wf: Run) -> None:
    api.add("nightly")
    api.started = "workflow queued"
    result = await wf("trigger", "nightly")
    assert (result.code, result.out) == (0, f"nightly triggered: execution {execution_id(1)}\n")
    assert "It is queued" in result.err


async def test_an_answer_that_is_lost_is_asked_for_again_under_the_same_key(api: FakeApi, wf: Run) -> None:
    api.add("nightly")
    api.lost = 1
    result = await wf("trigger", "nightly")
    assert (result.code, result.out) == (0, f"nightly triggered: execution {execution_id(1)}\n")
    assert len(api.requests) == 2
    assert len(api.keys) == len(api.executions) == 1


@pytest.mark.parametrize(("end", "code"), [("ok", 0), ("failed", 1), ("cancelled", 1)])
async def test_waiting_outlasts_retries_and_a_restart_of_the_service(end: str, code: int, api: FakeApi, wf: Run) -> None:
    api.add("nightly")
    api.outages = 2
    api.states = [{"status": "running"}, {"status": "pending", "nextAttemptAt": seconds_ago(-1)}, {"status": end}]
    result = await wf("trigger", "nightly", "--wait", "--timeout", "1m", "-o", "json")
    assert (result.code, json.loads(result.out)["status"], result.err) == (code, end, "")


@pytest.mark.parametrize(
    ("handler", "is_told"),
    [
        (outcome("refund", "ok", index=1, output={"status": 204}), True),
        (outcome("refund", "failed", index=1, output={"status": 500}), False),
        (outcome("tell", "ok", index=1), False),
        (outcome("ship", "ok", output={"status": 200}), False),
    ],
    ids=["undone", "not undone", "logged", "no handler"],
)
async def test_who_takes_up_what_failed_is_told_what_was_undone(
    handler: dict[str, Any], is_told: bool, api: FakeApi, wf: Run
) -> None:
    """A retry of an order that was paid back went on to ship it."""
    api.add("nightly")
    api.states = [{"status": "failed", "totalActions": 1, "executedActions": [outcome("ship", "failed"), handler]}]
    result = await wf("trigger", "nightly", "--wait")
    assert f"Take it up where it failed:  wf retry {execution_id(1)}" in result.err
    assert ("has undone something" in result.err) == is_told


async def test_waiting_stops_at_the_timeout(api: FakeApi, wf: Run) -> None:
    api.add("nightly")
    result = await wf("trigger", "nightly", "--wait", "--timeout", "0.001")
    assert (result.code, result.out) == (124, "")
    assert "has not ended within 1ms: " in result.err, "what was asked for, not how long the first look took"
    assert "pending, attempt 1, action 1 of 1: log-1" in result.err
    assert f"wf execution {execution_id(1)}" in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
async def test_control_c_while_waiting(api: FakeApi, tmp_path: Path) -> None:
    api.add("nightly")
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "trigger",
        "nightly",
        "--wait",
        env=environment(api.url),
        stderr=asyncio.subprocess.PIPE,
        cwd=tmp_path,
        # Where the tests run in the background of a shell, children would inherit that SIGINT is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while f"GET /executions/{execution_id(1)}" not in api.requests:
        assert process.returncode is None
        await asyncio.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 130
    assert f"wf execution {execution_id(1)}" in err.decode()
    assert b"Traceback" not in err


BUSY = {
    "status": "workflow in progress",
    "detail": "The queue of workflow nightly is full.",
    "triggerStatus": "busy",
    "executionId": execution_id(9),
}


def refusal(status: int, kind: str, detail: str, **more: Any) -> web.Response:
    return problem(status, kind, "Refused", detail, **more)


ODD = {"errors": [{"field": "a.b", "message": "is \x1bodd"}]}
REFUSALS: list[tuple[str, Callable[[], web.Response], int, str]] = [
    ("busy", lambda: web.json_response(BUSY, status=409), 3, "nightly is full.\nSee how it goes"),
    (
        "by-schedule",
        lambda: refusal(409, "not-triggered-by-hand", "By schedule."),
        3,
        "error: By schedule.\nAdd allowManual",
    ),
    ("unknown", lambda: refusal(404, "unknown-workflow", "None."), 4, "there is no workflow nightly; `wf list`"),
    ("unavailable", lambda: refusal(503, "database-unavailable", "Down."), 5, "503 Service Unavailable: Down."),
    ("proxy", lambda: web.Response(status=502, text="<html>"), 5, "502 Bad Gateway\nTry again"),
    ("other-server", lambda: web.Response(text="<html>"), 5, "is not the workflows service"),
    ("other-404", lambda: web.Response(status=404, text="nothing"), 5, "is not the workflows service"),
    ("redirect", lambda: web.Response(status=302, headers={"Location": "/login"}), 5, "redirects to /login"),
    ("refused", lambda: refusal(400, "bad-request", "Wrong.", **ODD), 1, "a.b: is \\x1bodd"),
    (
        "nobody",
        lambda: refusal(401, "not-authenticated", "Who?"),
        6,
        "error: Who?\nGive a good token with --token, WF_TOKEN",
    ),
    ("viewer", lambda: refusal(403, "not-allowed", "No."), 6, "error: No.\nGive a token of that scope"),
]


@pytest.mark.parametrize(("answer", "code", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
async def test_refusals(answer: Callable[[], web.Response], code: int, words: str, api: FakeApi, wf: Run) -> None:
    api.refusals["POST /workflows/nightly/trigger"] = answer()
    result = await wf("trigger", "nightly")
    assert (result.code, result.out) == (code, "")
    assert words in result.err


WRONG = {
    ("show", "../etc"): "is not a workflow id",
    ("execution", "7"): "is not an execution id",
    ("trigger", "a", "--timeout", "5"): "only --wait and --follow wait",
    ("retry", "7"): "is not an execution id",
    ("rollback", "a", "0"): "greater than or equal to 1",
    ("dead-letters", "show", "7"): "is not the id of a dead letter",
    ("export", "a", "--prefix", "b"): "give ids or a prefix",
    ("--token", "a b", "list"): "it holds blanks",
    ("trigger", "a", "--wait", "--timeout", "soon"): "is not a length of time",
    ("list", "--url", "ftp://x"): "is not the address of a service",
    ("delete", "a"): "add --yes",
    ("executions", "--status", "ok,bogus"): "'bogus' is not a status; write queued",
    ("executions", "--reference", ""): "must be a text of 1 to 128 characters",
    ("trigger", "a", "--reference", "order-17 "): "and without spaces at its ends",
    (
        "executions",
        "--from",
        "yesterday",
    ): "is not an instant; write for example 2026-01-31T00:00:00Z, 2026-01-31 (in UTC), or 4d",
    (
        "backfill",
        "a",
        "--from",
        "tomorrow",
    ): "is not an instant; write for example 2026-01-31T00:00:00Z, 2026-01-31 (in UTC), or 4d",
    ("backfill", "a", "--from", "4d", "--to", "2026-01-31T00:00:00"): "is not an instant",
    ("backfill", "a", "--from", "999999d"): "is not an instant",
    ("executions", "--from", "2026-02-30"): "'2026-02-30' is not an instant",
    ("backfill", "a", "--from", "4d", "--rate", "fast"): "is not a rate",
}


@pytest.mark.parametrize("args", WRONG, ids=" ".join)
def test_wrong_usage(args: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, args, prog_name="wf", env={"COLUMNS": "80"})
    assert result.exit_code == 2
    assert WRONG[args] in " ".join(result.output.replace("│", " ").split())


async def test_another_server_is_not_waited_for(api: FakeApi, wf: Run) -> None:
    api.refusals[f"GET /executions/{execution_id(1)}"] = web.Response(text="<html>")
    result = await wf("logs", "-f", execution_id(1))
    assert result.code == 5
    assert len(api.requests) == 1
    assert "Name the right address" in result.err


FOREIGN = {
    "page": lambda: web.Response(text="<html>", content_type="text/html"),
    "object": lambda: web.json_response({"hello": "world"}),
    "array": lambda: web.json_response([]),
    "nothing": lambda: web.Response(status=204),
    "missing": lambda: web.json_response({"title": "Not Found"}, status=404),
}


@pytest.mark.parametrize("answer", [FOREIGN["object"]], ids=["object"])
@pytest.mark.parametrize("command", ["list", "show", "trigger", "pause", "delete --yes", "apply"])
async def test_another_server_is_told_from_the_service(another_server: str, wf: Run, tmp_path: Path, command: str) -> None:
    name, *options = command.split()
    definition = tmp_path / "hello.yaml"
    definition.write_text("{workflowId: hello, trigger: {type: manual}, actions: [{type: log, message: x}]}")
    what = {"list": [], "apply": [definition]}.get(name, ["hello"])
    result = await wf(name, *what, *options, "--url", another_server)
    assert (result.code, result.out) == (5, "")
    assert f"error: {another_server} is not the workflows service: it answered 200 OK without X-Request-Id\n" in result.err
    assert "Name the right address" in result.err


@pytest.mark.parametrize("answer", FOREIGN.values(), ids=FOREIGN)
async def test_doctor_tells_another_server_from_the_service(another_server: str, wf: Run) -> None:
    result = await wf("doctor", "--api-only", "--json", "--url", another_server)
    assert result.code == 1
    (finding,) = json.loads(result.out)
    assert (finding["what"], finding["result"]) == ("service", "failed")
    assert f"{another_server} is not the workflows service" in finding["detail"]
    assert "Name the right address" in finding["mend"]


@pytest.mark.parametrize(
    ("name", "value"), [("KAFKA_BOOTSTRAP", "127.0.0.1:99999"), ("MONGODB_URL", "mongo://x"), ("MONGODB_USERNAME", "u")]
)
async def test_doctor_names_the_setting_that_is_wrong(
    wf: Run, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    result = await wf("doctor", "--json")
    assert result.code == 1
    (settings,) = [finding for finding in json.loads(result.out) if finding["what"] != "service"]
    assert (settings["what"], settings["result"]) == ("settings", "failed")
    assert settings["detail"].startswith(f"{name}: ")


async def test_a_profile_that_is_named_wins_over_the_variable_and_an_address_over_both(api: FakeApi, tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(f"profile: away\nprofiles:\n  here: {{url: '{api.url}/v1'}}\n  away: {{url: 'http://127.0.0.1:1'}}\n")
    env = {**environment("http://127.0.0.1:1"), "WF_CONFIG": str(config)}
    assert (await run_wf("list", cwd=tmp_path, env=env)).code == 5
    assert (await run_wf("--profile", "here", "list", cwd=tmp_path, env=env)).code == 0
    assert (await run_wf("--profile", "away", "list", "--url", api.url, cwd=tmp_path, env=env)).code == 0
    assert (await run_wf("list", cwd=tmp_path, env={**env, "WF_URL": api.url})).code == 0


async def test_an_address_may_end_as_those_of_the_api_begin(api: FakeApi, wf: Run) -> None:
    assert (await wf("list", "--url", f"{api.url}/v1/")).code == 0


async def test_wrong_usage_goes_to_stderr(wf: Run) -> None:
    result = await wf("show", "../etc")
    assert (result.code, result.out) == (2, "")
    assert "wf show --help" in result.err


async def test_no_service(wf: Run) -> None:
    result = await wf("list")
    assert result.code == 5
    assert "cannot reach the service at http://127.0.0.1:1 (connection refused)\nStart it with `wf up`" in result.err


async def test_delete(api: FakeApi, wf: Run) -> None:
    api.add("nightly")
    result = await wf("delete", "nightly", "--yes")
    assert (result.code, result.out, api.workflows) == (0, "nightly archived\n", {})
    again = await wf("delete", "nightly", "--yes")
    assert again.code == 4


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.35, "350ms"), (1.24, "1.2s"), (59.9, "59s"), (200, "3m 20s"), (3700, "1h 1m"), (90_000, "1d 1h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert output.span(seconds) == text


@pytest.mark.parametrize(
    ("text", "length"), [("90", 90), ("90s", 90), ("1.5m", 90), ("1h", 3600), ("1d", 86_400), ("1w", None)]
)
def test_lengths_of_time_to_wait(text: str, length: float | None) -> None:
    assert waiting.seconds(text) == length


def test_exit_codes_are_stable() -> None:
    assert {code.name: code.value for code in ExitCode} == {
        "OK": 0,
        "FAILED": 1,
        "USAGE": 2,
        "CONFLICT": 3,
        "NOT_FOUND": 4,
        "UNREACHABLE": 5,
        "NOT_ALLOWED": 6,
        "TIMEOUT": 124,
        "INTERRUPTED": 130,
    }


def test_the_documentation_lists_the_exit_codes() -> None:
    text = (ROOT / "docs" / "command-line.md").read_text()
    assert all(f"| {code.value} | {meaning} |\n" in text for code, meaning in MEANINGS.items())


@pytest.mark.parametrize(
    ("told", "result"),
    [(-5, "warning"), (-4, "ok"), (0, "ok"), (20, "ok"), (23, "ok"), (24, "warning")],
    ids=["behind", "hardly behind", "as it was asked", "as it answered", "hardly ahead", "ahead"],
)
def test_doctor_does_not_take_a_slow_answer_for_another_time(told: int, result: str) -> None:
    asked = datetime(2026, 1, 31, 12, tzinfo=timezone.utc)
    found = doctor._clock(
        format_datetime(asked + timedelta(seconds=told), usegmt=True), asked, asked + timedelta(seconds=20)
    )
    assert found.result == result


@pytest.mark.parametrize(
    ("answer", "names"),
    [
        ({"consumers": {"runner": {"members": []}, "scheduler": {"members": [{"id": "a"}]}}}, ["runners"]),
        ({"consumers": {"runner": {"members": [{"id": "a"}]}, "scheduler": {"members": []}}}, ["schedulers"]),
        ({"consumers": None, "scheduler": {"latenessSeconds": 90.0}}, ["lateness"]),
        ({"consumers": None, "scheduler": None, "deadLetters": None}, []),
    ],
)
async def test_doctor_names_the_service_that_is_missing(api: FakeApi, wf: Run, answer: Any, names: list[str]) -> None:
    api.system = answer
    findings = json.loads((await wf("doctor", "--api-only", "--json")).out)
    unwell = [finding for finding in findings if finding["result"] != "ok"]
    assert [finding["what"] for finding in unwell] == names
    assert all(finding["mend"] for finding in unwell)


@pytest.mark.parametrize(
    ("why", "result", "mend"),
    [
        (str(UnknownKey("HOOK", "k1")), "failed", "SECRETS_KEY_FILE"),
        (TOO_SHORT, "failed", "wf secrets set HOOK"),
        (MOUNTED_WINS, "warning", "wf secrets delete HOOK"),
    ],
    ids=["its key is not there", "too short", "mounted as well"],
)
async def test_doctor_tells_which_secret_the_service_cannot_use(
    api: FakeApi, wf: Run, why: str, result: str, mend: str
) -> None:
    stored = {"source": "stored", "keyId": "k1", "updatedAt": seconds_ago(1)}
    api.secrets = {"HOOK": {"name": "HOOK", **stored, "problem": why}, "TOKEN": {"name": "TOKEN", **stored}}
    shown = await wf("doctor", "--api-only", "--json")
    (found,) = [finding for finding in json.loads(shown.out) if finding["what"].startswith("secret")]
    assert (found["what"], found["result"], found["detail"]) == ("secret HOOK", result, why)
    assert mend in found["mend"]
    assert shown.code == (1 if result == "failed" else 0)
    del api.secrets["HOOK"]
    shown = await wf("doctor", "--api-only", "--json")
    assert {"what": "secrets", "result": "ok", "detail": "1 can be used", "mend": ""} in json.loads(shown.out)
