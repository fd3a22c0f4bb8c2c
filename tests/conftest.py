"""Settings of every test, and the stack that the tests of the whole system share."""

from collections.abc import Generator, Iterator
from typing import Any

import pytest
import pytest_asyncio
import structlog
from hypothesis import settings
from structlog.typing import EventDict

from apps.logs import write_through_logging
from apps.standalone.settings import StandaloneSettings
from apps.standalone.stack import Stack, on_free_ports

SHOWN_LINES = 400

# How long an example takes says something about the machine, not about the code.
settings.register_profile("house", deadline=None)
settings.load_profile("house")

# Before any logger is used, as in a service: a logger that is in use heeds no other configuration, and whatever has one made
# (an app that is imported, say) must make no difference to what the tests after it see.
write_through_logging()


@pytest.fixture
def logs() -> Iterator[list[EventDict]]:
    """What is logged in this process during a test, whatever is configured before or meanwhile."""
    with structlog.testing.capture_logs() as entries:
        yield entries


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show what the services said last beside the failure of a test that used them."""
    report = yield
    lines = getattr(getattr(item, "funcargs", {}).get("stack"), "lines", None)
    if report.failed and lines:
        report.sections.append(("what the services and their dependencies said last", "\n".join(lines[-SHOWN_LINES:])))
    return report


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory):
    chosen = on_free_ports(StandaloneSettings(data_dir=tmp_path_factory.mktemp("stack")))
    lines: list[str] = []
    async with Stack(
        chosen, environment={"SCHEDULER_INTERVAL": "1"}, sink=lambda name, line: lines.append(f"{name}: {line}")
    ) as running:
        running.lines = lines  # what the services and their dependencies say
        yield running
