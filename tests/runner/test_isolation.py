"""Actions in a process of their own."""

import asyncio

import pytest

from actions.log import LogAction
from actions.running import Context, Failed, Resources, Succeeded
from apps.runner.isolation import Isolation
from tests.e2e.crashing import CrashAction, StickAction

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
