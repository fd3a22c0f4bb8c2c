"""When the store is asked whether an execution has ended, on virtual time."""

import itertools
from datetime import timedelta

import pytest

from apps.workflows.ending import SOONEST_END, ended
from domain.execution import Admission, Cause, Execution, admit
from domain.identifiers import execution_id
from domain.instants import MILLISECOND
from tests.model.simulation import VirtualLoop
from tests.workflows.clock import START


class Looks:
    """Answers that the execution is open, and notes when it was asked."""

    def __init__(self, asked_for: str, within: timedelta, *, in_vain_after: int = 1_000_000) -> None:
        self.loop, self.at = VirtualLoop(), []
        self.open = admit(Admission(asked_for, "w", 1, Cause.MANUAL, START, 0, 1, 0, lock_key="w"))
        try:
            answer = self.loop.run_until_complete(
                ended(
                    asked_for,
                    executions=self,  # type: ignore[arg-type]
                    within=within,
                    now=START,
                    is_in_vain=lambda: len(self.at) >= in_vain_after,
                )
            )
        finally:
            self.loop.close()
        assert answer == self.open

    async def get(self, asked: str) -> Execution:
        self.at.append(timedelta(seconds=self.loop.time()))
        return self.open


@pytest.mark.parametrize(
    ("ago", "first_look"),
    [(0, 10), (4, 6), (9, 1), (10, 0), (11, 0), (3_600_000, 0), (-1, 0)],
)
def test_what_was_asked_for_only_just_now_is_not_looked_up_before_it_can_have_ended(ago: int, first_look: int) -> None:
    """What a clock ahead of ours has asked for may be of any age."""
    asked_for = execution_id(START - ago * MILLISECOND, bytes(10))
    assert SOONEST_END == 10 * MILLISECOND
    assert Looks(asked_for, timedelta(minutes=1)).at[0] == first_look * MILLISECOND


def test_an_id_that_does_not_tell_when_it_was_asked_for_is_looked_up_at_once() -> None:
    assert Looks("c0ffee00-0000-4000-8000-000000000000", timedelta(minutes=1)).at[0] == timedelta()


def test_nobody_waits_longer_than_asked_for_also_where_that_is_very_short() -> None:
    assert Looks(execution_id(START, bytes(10)), 3 * MILLISECOND).at == [3 * MILLISECOND]


def test_it_is_looked_up_ever_more_rarely_and_at_the_very_end() -> None:
    at = [each.total_seconds() for each in Looks(execution_id(START, bytes(10)), timedelta(minutes=1)).at]
    pauses = [min(max(0.005, passed / 4), 1, 60 - passed) for passed in at[:-1]]
    assert [later - earlier for earlier, later in itertools.pairwise(at)] == pytest.approx(pauses, abs=2e-6)
    assert at[-1] == pytest.approx(60)


def test_whoever_stops_waits_no_longer() -> None:
    assert len(Looks(execution_id(START, bytes(10)), timedelta(minutes=1), in_vain_after=3).at) == 3
