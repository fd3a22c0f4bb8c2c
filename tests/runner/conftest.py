"""What the tests of those that wait for a place have in common."""

import asyncio

import pytest

from store.interfaces import Locked


@pytest.fixture
def refused(world, monkeypatch):
    """Tell when a place was asked for in a ``world``, which each module has of its own, and is not there."""
    event = asyncio.Event()
    proper = world.executions.admit

    async def admit(admission):
        answer = await proper(admission)
        if isinstance(answer, Locked):
            event.set()
        return answer

    monkeypatch.setattr(world.executions, "admit", admit)
    return event
