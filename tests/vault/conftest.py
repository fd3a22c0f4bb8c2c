import asyncio

import pytest


@pytest.fixture
def let_pass(monkeypatch):
    """Let time pass, as the event loop sees it."""
    passed = 0.0
    real = asyncio.BaseEventLoop.time
    monkeypatch.setattr(asyncio.BaseEventLoop, "time", lambda loop: real(loop) + passed)

    def let(seconds):
        nonlocal passed
        passed += seconds

    return let
