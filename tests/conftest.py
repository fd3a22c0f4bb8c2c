"""Settings of every test, and the stack that the tests of the whole system share."""

import gc
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
from tests.cli.wf_process import Forks, forks

SHOWN_LINES = 400

# The files that take half a minute and more: the sooner they begin, the sooner all workers of xdist are done.
LONGEST = (
    "tests/e2e/test_faults.py",
    "tests/chaos/test_chaos.py",
    "tests/standalone/test_dependencies.py",
    "tests/model/test_protocol.py",
    "tests/e2e/test_guarded_kafka.py",
    "tests/e2e/test_workers.py",
    "tests/e2e/test_subscriptions.py",
    "tests/e2e/test_documentation.py",
    "tests/bench/test_bench.py",
    "tests/e2e/test_schedules.py",
    "tests/e2e/test_command_line.py",
    "tests/dashboard/test_system.py",
    "tests/dashboard/test_execution.py",
    "tests/dashboard/test_beginnings.py",
    "tests/dashboard/test_access.py",
    "tests/dashboard/test_workflow.py",
    "tests/dashboard/test_dashboard.py",
    "tests/e2e/test_documented_answers.py",
    "tests/dashboard/test_lists.py",
    "tests/dashboard/test_sessions.py",
)

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
def pytest_collection() -> Generator[None, Any, Any]:
    """Keep what is collected, and stays, from the garbage collector, which would look through all of it again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()
        gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave the files that share the stack of a worker to its end: until there is one, it costs nothing; then the longest
    ones first.
    """

    def turn(item: pytest.Item) -> tuple[bool, int]:
        file = item.location[0]
        return file in sharing, LONGEST.index(file) if file in LONGEST else len(LONGEST)

    sharing = {item.location[0] for item in items if _shares_the_stack(item)}
    items.sort(key=turn)


def _shares_the_stack(item: pytest.Item) -> bool:
    definitions = item._fixtureinfo.name2fixturedefs.get("stack") if isinstance(item, pytest.Function) else None
    return bool(definitions) and definitions[-1].scope == "session"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Show what the services said last beside the failure of a test that used them."""
    report = yield
    lines = getattr(getattr(item, "funcargs", {}).get("stack"), "lines", None)
    if report.failed and lines:
        report.sections.append(("what the services and their dependencies said last", "\n".join(lines[-SHOWN_LINES:])))
    return report


@pytest.fixture(scope="session")
def processes() -> Iterator[Forks]:
    """Where processes for ``wf`` come from."""
    with forks() as found:
        yield found


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory):
    chosen = on_free_ports(StandaloneSettings(data_dir=tmp_path_factory.mktemp("stack")))
    lines: list[str] = []
    async with Stack(
        chosen, environment={"SCHEDULER_INTERVAL": "1"}, sink=lambda name, line: lines.append(f"{name}: {line}")
    ) as running:
        running.lines = lines  # what the services and their dependencies say
        yield running
