"""The logs of a service, and how tests see them."""

import json
import logging.config
from collections.abc import Callable
from typing import Literal

import pytest
import structlog
from structlog.typing import EventDict

from apps.logs import logging_config
from apps.settings import ServiceSettings


def test_what_is_configured_later_or_meanwhile_hides_no_log(logs: list[EventDict]) -> None:
    """A service configures its loggers when it is put together, which tests do at any time."""
    log = structlog.get_logger("in use")
    for service in ("workflows", "runner"):
        log.warning("before", service=service)
        logging_config(service, ServiceSettings())
        log.warning("after", service=service)
    assert [entry["event"] for entry in logs] == ["before", "after"] * 2


def lines_of(log_format: Literal["json", "text"], say: Callable[[logging.Logger], None]) -> list[str]:
    """Return what a service whose logs have this format writes when something is said to a logger of that name: "said"."""
    config = logging_config("runner", ServiceSettings(log_format=log_format))
    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(logging.config.DictConfigurator(config).configure_formatter(config["formatters"]["structured"]))
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("said")
    logger.addHandler(handler)
    try:
        say(logger)
    finally:
        logger.removeHandler(handler)
    return lines


@pytest.mark.parametrize("of_a_library", [False, True])
def test_a_line_names_its_service(of_a_library: bool) -> None:
    def say(logger: logging.Logger) -> None:
        if of_a_library:
            logger.warning("hello %s", "world")
        else:
            structlog.get_logger("said").warning("hello world", execution_id="e")

    (line,) = map(json.loads, lines_of("json", say))
    assert (line["event"], line["service"], line["level"]) == ("hello world", "runner", "warning")
    assert line.get("execution_id") == (None if of_a_library else "e")


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_a_traceback_shows_code_and_not_what_was_in_the_variables(log_format: Literal["json", "text"]) -> None:
    """Those are a screen or two, and may hold what was sent to a workflow."""

    def fail(logger: logging.Logger) -> None:
        variable = "what was " + "sent"
        try:
            raise ValueError(len(variable))
        except ValueError:
            structlog.get_logger("said").exception("it failed")

    (line,) = lines_of(log_format, fail)
    assert "Traceback (most recent call last)" in line
    assert "ValueError: 13" in line
    assert "what was sent" not in line
