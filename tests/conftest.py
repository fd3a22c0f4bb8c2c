"""Settings of every test, and the stack that the tests of the whole system share."""

import pytest_asyncio
from hypothesis import settings

from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports

# How long an example takes says something about the machine, not about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory):
    chosen = on_free_ports(StandaloneSettings(data_dir=tmp_path_factory.mktemp("stack")))
    lines: list[str] = []
    async with Stack(
        chosen, environment={"SCHEDULER_INTERVAL": "1"}, sink=lambda name, line: lines.append(f"{name}: {line}")
    ) as running:
        running.lines = lines  # what the services and their dependencies say
        yield running
