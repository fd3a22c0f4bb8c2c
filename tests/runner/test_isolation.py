"""Actions in a process of their own."""

import asyncio
import json
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from actions.log import LogAction
from actions.running import Awaiting, Context, Failed, Resources, Succeeded
from apps.runner import isolated, patience
from apps.runner.isolation import Isolation
from apps.runner.settings import RunnerSettings
from store.interfaces import StoreUnavailable
from tests.e2e.crashing import CrashAction, RaiseAction, StickAction
from vault.interfaces import NoSecrets
from vault.redaction import Redactor

CONTEXT = Context("e", "w", "a", attempt=1, epoch=1, resources=Resources(http=None))  # type: ignore[arg-type]


@pytest.fixture
def isolation(monkeypatch: pytest.MonkeyPatch) -> Isolation:
    monkeypatch.setenv("ACTION_PLUGINS", "tests.e2e.crashing")
    return Isolation(after=2, limit=2)


async def test_an_outcome_comes_back_and_a_death_is_told(isolation: Isolation) -> None:
    async with isolation.process() as apart, isolation.process() as other:
        assert await apart.run(LogAction(type="log", message="hello"), CONTEXT) == Succeeded(logs=("hello",))
        outcome = await other.run(CrashAction(type="crash"), CONTEXT)
    assert isinstance(outcome, Failed)
    assert (outcome.error_class, outcome.message) == ("crashed", "it ended the process that ran it, alone: exit status 1")
    assert outcome.maybe_done, "retryUnsafe: false holds for it as well"


async def test_one_that_is_stuck_is_killed_when_it_is_cancelled(isolation: Isolation) -> None:
    async with isolation.process() as apart:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(apart.run(StickAction(type="stick"), CONTEXT), 0.2)
    process = apart._process  # type: ignore[attr-defined]
    assert process.returncode < 0


class Rendered(NoSecrets):
    """What a runner knows that has rendered a template with this secret."""

    def __init__(self, value: str) -> None:
        self.redactor = Redactor()
        self.redactor.know([value])


@pytest.mark.parametrize("log_format", ["json", "text"])
async def test_what_is_logged_apart_is_redacted_as_the_runners_log_is(
    log_format: str, isolation: Isolation, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither action asks for a secret itself, which would tell its process of all that are stored."""
    monkeypatch.setenv("LOG_FORMAT", log_format)
    monkeypatch.setenv("WF_SECRET_MOUNTED", "mounted-value-41")
    context = replace(CONTEXT, resources=replace(CONTEXT.resources, secrets=Rendered("stored-value-42")))
    both = "mounted-value-41 and stored-value-42"
    async with isolation.process() as apart, isolation.process() as other:
        told = await apart.run(LogAction(type="log", level="warning", message=both), context)
        raised = await other.run(RaiseAction(type="raise", given=both), context)
    assert told == Succeeded(logs=("WARNING *** and ***",))
    assert raised == Failed("internal", "RuntimeError: refused: *** and ***")
    printed = capfd.readouterr().err
    assert "value-4" not in printed
    assert printed.count("*** and ***") == 2, "both were logged"
    if log_format == "json":
        assert {json.loads(line)["service"] for line in printed.splitlines()} == {"runner"}


async def test_what_is_waited_for_is_told_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of the same word took the name away, by which the execution is woken, and the year of the instant."""
    waits = Awaiting(
        datetime(2026, 1, 1, tzinfo=timezone.utc), ("for approved",), {"signal": "approved", "until": "2026-01-01"}
    )

    async def wait(*_: object) -> Awaiting:
        return waits

    monkeypatch.setattr(isolated, "run_action", wait)
    resources = Resources(http=None, secrets=Rendered("approved"))  # type: ignore[arg-type]
    outcome = await isolated._run(LogAction(type="log", message=""), CONTEXT, resources)
    assert outcome == replace(waits, logs=("for ***",))


async def test_a_database_that_is_away_for_a_moment_fails_no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wait failed as "internal: secrets cannot be read"."""
    monkeypatch.setattr(patience, "RETRY_DELAY", 0)
    own, answers = isolated.Own(RunnerSettings()), [StoreUnavailable("no answer"), None]

    async def get(*_: object) -> None:
        answer = answers.pop(0)
        if answer is not None:
            raise answer

    monkeypatch.setattr(own._store.signals, "get", get)
    assert own.resources.signalled is not None
    assert await own.resources.signalled("e", "approved") is None
    assert answers == []
