"""The logs of a service, and how tests see them."""

import json
import logging.config

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


@pytest.mark.parametrize("of_a_library", [False, True])
def test_a_line_names_its_service(of_a_library: bool) -> None:
    config = logging_config("runner", ServiceSettings(log_format="json"))
    formatter = logging.config.DictConfigurator(config).configure_formatter(dict(config["formatters"]["structured"]))
    lines: list[str] = []
    handler = logging.Handler()
    handler.setFormatter(formatter)
    handler.emit = lambda record: lines.append(handler.format(record))  # type: ignore[method-assign]
    logger = logging.getLogger("said")
    logger.addHandler(handler)
    try:
        if of_a_library:
            logger.warning("hello %s", "world")
        else:
            structlog.get_logger("said").warning("hello world", execution_id="e")
    finally:
        logger.removeHandler(handler)
    (line,) = map(json.loads, lines)
    assert (line["event"], line["service"], line["level"]) == ("hello world", "runner", "warning")
    assert line.get("execution_id") == (None if of_a_library else "e")
