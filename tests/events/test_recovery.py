"""What the recovery of tables does otherwise than Faust's own."""

import asyncio

import pytest
from faust.tables.recovery import RebalanceAgain

from apps.service import ServiceApp
from apps.settings import ServiceSettings


@pytest.fixture
async def recovery():
    """That of any service."""
    return ServiceApp("anybody", ServiceSettings(), web_port=1).tables.recovery


async def test_a_recovery_goes_on_with_an_answer_or_not_at_all(recovery):
    """Without one, its tables would count as recovered that nothing was read of."""
    answer = asyncio.Event()
    asyncio.get_running_loop().call_later(0.01, answer.set)
    await recovery._wait(answer.wait(), timeout=0.0)
    assert answer.is_set()


async def test_the_next_rebalance_breaks_it_off(recovery):
    asyncio.get_running_loop().call_soon(recovery.signal_recovery_start.set)
    with pytest.raises(RebalanceAgain):
        await recovery._wait(asyncio.Event().wait(), timeout=0.0)
