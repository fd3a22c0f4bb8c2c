"""Random histories: MongoDB's conditional updates and the pure fold make the same executions."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.execution import Ended, Restart, Status
from store.interfaces import Started
from tests.fakes.stores import FakeExecutions
from tests.store.test_executions import admission, at, finished

EPOCHS = st.integers(1, 4)
STEPS = st.one_of(
    st.tuples(st.just("claim"), EPOCHS),
    st.tuples(st.just("mark"), EPOCHS),
    st.tuples(st.just("intend"), EPOCHS, st.sampled_from(["1_0", "1_1"])),
    st.tuples(st.just("reissue"), EPOCHS, st.sampled_from(Restart)),
    st.tuples(st.just("end"), st.sampled_from([Status.CANCELLED, Status.FAILED])),
    st.tuples(
        st.just("result"),
        EPOCHS,
        st.integers(1, 3),
        st.integers(0, 1),
        st.sampled_from([Status.RUNNING, Status.WAITING, Status.OK, Status.FAILED]),
    ),
)


async def play(executions, asked, steps):
    await executions.admit(asked)
    for number, step in enumerate(steps):
        match step:
            case ("claim", epoch):
                await executions.claim(asked.execution_id, epoch, "r", at(number))
            case ("mark", epoch):
                await executions.mark_started([Started(asked.execution_id, epoch, "r", at(number))])
            case ("intend", epoch, key):
                await executions.intend(asked.execution_id, epoch, key, "r", at(number))
            case ("reissue", epoch, why):
                await executions.reissue(asked.execution_id, epoch, at(number), why)
            case ("end", status):
                await executions.end(Ended(asked.execution_id, asked.workflow_id, status, "asked", at(number)))
            case ("result", epoch, seq, index, status):
                ok = status in (Status.RUNNING, Status.OK)
                result = finished(
                    asked, index, status, epoch=epoch, seq=seq, ok=ok, wake_at=at(9) if status is Status.WAITING else None
                )
                await executions.project([result])
    return await executions.get(asked.execution_id)


@pytest.mark.asyncio(loop_scope="session")
async def test_random_histories(real):
    """Hypothesis drives a synchronous test; the histories it makes are collected and played here in one loop."""
    histories: list[list[tuple]] = []

    @settings(max_examples=150, database=None, suppress_health_check=list(HealthCheck), deadline=None)
    @given(st.lists(STEPS, min_size=1, max_size=10))
    def collect(steps):
        histories.append(steps)

    collect()

    async def compare(number, steps):
        asked = admission(f"h{number}", deadline=at(3))
        assert await play(real.executions, asked, steps) == await play(FakeExecutions(), asked, steps), steps

    await asyncio.gather(*(compare(number, steps) for number, steps in enumerate(histories)))
