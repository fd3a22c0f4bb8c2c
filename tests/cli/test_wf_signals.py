"""``wf signal``, and how ``wf`` shows what waits for a signal."""

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from tests.cli.wf_fake_api import FakeApi, execution, execution_id, outcome, problem, seconds_ago
from tests.cli.wf_process import Run


def waiting(number: int = 1, **more: Any) -> dict[str, Any]:
    """Return an execution that waits for a signal for one and a half more hours."""
    until = seconds_ago(-5400)
    return execution(
        number, "order", "pending", nextAttemptAt=until, reason=f"action approve: waits for signal approved until {until}",
        waitingFor={"signal": "approved", "actionId": "approve", "until": until},
        currentStep={"list": "actions", "position": 2, "actionId": "approve"}, totalActions=3,
        executedActions=[outcome("look", "ok"), outcome("approve", "waiting", index=1, logs=["waits for signal approved"])],
        **more,
    )  # fmt: skip


async def test_a_signal_is_sent_with_what_comes_with_it(api: FakeApi, wf: Run, tmp_path: Path) -> None:
    api.executions[execution_id(1)] = waiting()
    (tmp_path / "payload.json").write_text('{"rows": 7}')
    result = await wf("signal", execution_id(1), "approved", "--payload", '{"by": "Ada"}')
    assert (result.code, result.out) == (0, "Signal approved is sent, and the execution goes on.\n")
    assert result.err == f"See how it goes: wf execution {execution_id(1)}\n"
    assert (await wf("signal", execution_id(1), "done", "-p", "@payload.json")).out.startswith("Signal done is kept until")
    as_json = await wf("signal", execution_id(1), "done", "--payload", "-", "--json", stdin='{"rows": 8}')
    assert json.loads(as_json.out)["goesOn"] is False
    await wf("signal", execution_id(1), "bare")
    assert api.signals == [
        {"name": "approved", "payload": {"by": "Ada"}},
        {"name": "done", "payload": {"rows": 7}},
        {"name": "done", "payload": {"rows": 8}},
        {"name": "bare"},
    ]


@pytest.mark.parametrize(
    ("refusal", "more", "code", "words"),
    [
        pytest.param(
            (404, "unknown-signal", "It has no signal approved; its steps wait for paid."), {}, 4, "for paid", id="name"
        ),
        pytest.param((409, "signal-sent-before", "It was sent before."), {}, 3, "error: It was sent before.", id="another"),
        pytest.param((409, "signal-too-late", "Late."), {"retryWaits": False}, 3, "error: Late.\n", id="late"),
        pytest.param(
            (409, "signal-too-late", "Late."),
            {"retryWaits": True},
            3,
            f"error: Late.\nTake it up where it failed: wf retry {execution_id(1)}\n",
            id="late, and retried",
        ),
        pytest.param((404, "unknown-execution", "None."), {}, 4, "there is no execution", id="execution"),
    ],
)
async def test_a_refusal_says_what_to_do(
    api: FakeApi, wf: Run, refusal: tuple[int, str, str], more: dict[str, Any], code: int, words: str
) -> None:
    status, kind, detail = refusal
    api.refusals[f"POST /executions/{execution_id(1)}/signals/approved"] = problem(status, kind, "Refused", detail, **more)
    result = await wf("signal", execution_id(1), "approved")
    assert (result.code, result.out) == (code, "")
    assert words in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["signal", execution_id(1), "no.name"], "'no.name' is not the name of a signal"),
        (["signal", execution_id(1), "ok", "--payload", "[]"], "--payload must be a JSON object"),
        (["signal", execution_id(1), "ok", "--payload", "-"], "--payload is not JSON"),
    ],
)
async def test_what_cannot_be_sent_is_said_before(api: FakeApi, wf: Run, words: list[str], said: str) -> None:
    result = await wf(*words)
    assert result.code == 2
    assert said in result.err
    assert not api.requests


async def test_an_execution_that_waits_says_for_what_and_how_to_send_it(api: FakeApi, wf: Run) -> None:
    api.executions[execution_id(1)] = waiting()
    result = await wf("execution", execution_id(1))
    shown = " ".join(result.out.split())
    assert "Status pending, waits for signal approved, gives up in 1h At action 2 of 3: approve Until 2" in shown
    assert "Reason" not in shown
    assert " waiting approve waits for signal approved 1 of 3 actions succeeded." in shown
    assert f"Send it: wf signal {execution_id(1)} approved\n" in result.err
    assert result.widest <= 80


async def test_a_list_says_what_is_waited_for(api: FakeApi, wf: Run) -> None:
    api.executions[execution_id(1)] = waiting()
    api.executions[execution_id(2)] = execution(2, "order", "ok")
    awaited = {"signal": None, "executions": 3, "actionId": "each", "until": seconds_ago(-5400)}
    api.executions[execution_id(3)] = execution(3, "order", "pending", waitingFor=awaited)
    result = await wf("executions")
    head, first, second, third = result.out.splitlines()
    assert head.endswith("WAITS FOR")
    assert first.endswith("  approved")
    assert third.endswith("  3 executions")
    assert second.split()[2:3] + second.split()[4:] == ["ok", "1.2s"]
    assert result.widest <= 80


async def test_an_execution_that_has_waited_says_how_long(api: FakeApi, wf: Run) -> None:
    now = datetime.now(timezone.utc)
    outcomes = [
        outcome("approve", "waiting", startedAt=seconds_ago(9000, now), finishedAt=seconds_ago(9000, now)),
        outcome("approve", "ok", startedAt=seconds_ago(60, now), finishedAt=seconds_ago(59.998, now)),
    ]
    restarts = [
        {"at": seconds_ago(9010, now), "why": "lost", "attempt": 1, "index": 0},
        {"at": seconds_ago(80, now), "why": "unclaimed", "attempt": 1, "index": 0},
    ]
    api.executions[execution_id(1)] = execution(1, "order", "ok", executedActions=outcomes, restarts=restarts)
    shown = " ".join((await wf("execution", execution_id(1))).out.split())
    places = [
        shown.index(words)
        for words in ("interrupted", "waiting approve for 2h 29m", "handed out again", "ok approve 2ms", "1 of 1 actions")
    ]
    assert places == sorted(places)


async def test_the_end_of_others_is_waited_for_without_a_signal(api: FakeApi, wf: Run) -> None:
    awaited = {"signal": None, "executions": 3, "actionId": "each", "until": seconds_ago(-5400)}
    # It looks from time to time: for whoever reads it, that is one wait.
    looked = [outcome("each", "waiting", finishedAt=seconds_ago(second)) for second in (90, 60, 30)]
    found = execution(1, "order", "pending", nextAttemptAt=seconds_ago(-5), waitingFor=awaited, executedActions=looked)
    api.executions[execution_id(1)] = found
    result = await wf("execution", execution_id(1))
    assert "pending, waits for the end of 3 executions, gives up in 1h\n" in result.out
    assert result.out.count("waiting  each") == 1
    assert "wf signal" not in result.err


async def test_whoever_waits_for_the_end_is_told_what_it_waits_for(api: FakeApi, wf: Run) -> None:
    api.add("order")
    api.states = [waiting()]
    result = await wf("trigger", "order", "--wait", "--timeout", "0.01")
    assert result.code == 124
    assert "waits for signal approved, gives up in 1h" in result.err
    ended = [outcome("approve", "waiting", index=1), outcome("approve", "ok", index=1, logs=["signal approved from me"])]
    api.states = [waiting(), execution(1, "order", "ok", executedActions=ended)]
    result = await wf("trigger", "order", "--follow")
    assert "Send it: wf signal" in result.err
    assert [line for line in result.out.splitlines() if "approve " in line] and "signal approved from me" in result.out
