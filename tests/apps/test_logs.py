"""The logs of a service, and how tests see them."""

import json
import logging.config
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

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


def handler_of(config: dict[str, Any]) -> logging.Handler:
    """Return the handler that is configured, without the loggers of this process being configured as well."""
    configurator = logging.config.DictConfigurator(config)
    made = configurator.config
    made["formatters"] = {name: configurator.configure_formatter(each) for name, each in made["formatters"].items()}
    made["filters"] = {name: configurator.configure_filter(each) for name, each in made.get("filters", {}).items()}
    handler: logging.Handler = configurator.configure_handler(made["handlers"]["default"])
    return handler


def lines_of(log_format: Literal["json", "text"], say: Callable[[logging.Logger], None]) -> list[str]:
    """Return what a service whose logs have this format writes when something is said to a logger of that name: "said"."""
    lines: list[str] = []
    handler = handler_of(logging_config("runner", ServiceSettings(log_format=log_format)))
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


def record_of(name: str, created: float, message: str, *values: object) -> logging.LogRecord:
    record = logging.LogRecord(name, logging.ERROR, "", 0, message, values, None)
    record.created = created
    return record


def test_what_aiokafka_says_again_and_again_while_kafka_is_away_is_told_once_in_ten_seconds() -> None:
    templates = [
        ("aiokafka", "Unable connect to node with id %s: %s"),
        ("aiokafka.consumer.group_coordinator", "Unable connect to node with id %s: %s"),
        ("faust.app", "Unable connect to node with id %s: %s"),
        ("apps.liveness", "kafka does not answer: %s, %s"),
    ]

    def be_away(logger: logging.Logger) -> None:
        for second in range(25):
            for name, template in templates:
                logger.handle(record_of(name, 1000.0 + second, template, second, "refused"))

    lines = [json.loads(line) for line in lines_of("json", be_away)]
    told = [[(line["event"], line.get("left_out")) for line in lines if line["logger"] == name] for name, _ in templates]
    once = [(f"Unable connect to node with id {at}: refused", None if at == 0 else 9) for at in (0, 10, 20)]
    assert told[:2] == [once, once]
    assert [len(each) for each in told[2:]] == [25, 25], "held back as well"


def test_what_every_first_start_has_aiokafka_say_is_told_when_it_goes_on() -> None:
    template = "Group Coordinator Request failed: %s"

    def wait_for_a_coordinator(logger: logging.Logger) -> None:
        for second in range(0, 11, 5):
            logger.handle(record_of("aiokafka.consumer.group_coordinator", 1000.0 + second, template, f"after {second} s"))

    (line,) = map(json.loads, lines_of("json", wait_for_a_coordinator))
    assert (line["event"], line["left_out"]) == ("Group Coordinator Request failed: after 10 s", 2)


@pytest.mark.parametrize(("level", "said"), [("info", []), ("debug", ["Timer look is overlapping"])])
def test_a_timer_that_takes_its_time_is_no_fault(level: Literal["info", "debug"], said: list[str]) -> None:
    configured = logging_config("runner", ServiceSettings(log_level=level))["loggers"]["mode.timers"]["level"]
    told = [text for severity, text in [("WARNING", "Timer look is overlapping")] if at_least(severity, configured)]
    assert told == said


def at_least(severity: str, level: str) -> bool:
    return logging.getLevelName(severity) >= logging.getLevelName(level)


def test_a_clock_that_is_set_back_silences_nobody() -> None:
    def say(logger: logging.Logger) -> None:
        for created in (1000.0, 10.0, 12.0):
            logger.handle(record_of("aiokafka", created, "away"))

    assert len(lines_of("json", say)) == 2


def test_who_looks_for_a_fault_sees_all_that_aiokafka_says() -> None:
    config = logging_config("runner", ServiceSettings(log_level="debug"))
    assert all(handler_of(config).filter(record_of("aiokafka", 1000.0, "away")) for _ in range(3))


def test_messages_are_words_for_people() -> None:
    named = re.compile(r"\blog\.\w+\(\s*\"(\w+_\w+)\"")
    sources = "".join(path.read_text() for path in (Path(__file__).parents[2] / "apps").rglob("*.py"))
    assert "log.warning(" in sources
    assert named.findall(sources) == []
