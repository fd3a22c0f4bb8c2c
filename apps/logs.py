"""Structured logs: a constant message and fields, coloured text on a terminal, JSON lines elsewhere."""

import logging
import math
import sys
from typing import Any, Final

import structlog

from apps.settings import ServiceSettings
from vault.redaction import KNOWN

# Faust leaves the root logger at DEBUG and filters in its handlers: every debug call of these libraries would build a
# record only to throw it away, which measured 8-17 % of a runner's CPU. Their info lines (about fifty at each start, tables
# of offsets among them) are for those who look for a fault in them: LOG_LEVEL=debug shows them.
_LIBRARIES = ("aiokafka", "asyncio", "faust", "mode", "pymongo", "aiohttp")
_REPETITIVE: Final = "aiokafka"
_REPEATED_AFTER: Final = 10.0  # seconds
# What every first start has it say: Kafka makes the topic of the groups' offsets when somebody asks for it first.
_AT_FIRST: Final = frozenset({"Group Coordinator Request failed: %s", "Marking the coordinator dead (node %s)for group %s."})
# It warns of timers that take longer than their interval, as any does now and then; what is late is in the metrics.
_TIMERS: Final = "mode.timers"

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
# A logger keeps this very list from its first use on: another one, later, would not count for it.
_PROCESSORS: list[Any] = [*_SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]


class Repetitions(logging.Filter):
    """Lets aiokafka say the same once in ten seconds, and tell with it how often it was left out since.

    While Kafka is away it says a few things ten to forty times a second each, in which what others have to say would drown.
    Two lines are the same where their logger and message are, before anything is filled in: there are few of those.
    What is no fault at a start is said when it goes on for as long.
    """

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[tuple[str, str], tuple[float, int]] = {}  # when it was let through, and how often not since

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is to be written."""
        if record.name.partition(".")[0] != _REPETITIVE:
            return True
        same = (record.name, str(record.msg))
        unsaid = record.created if record.msg in _AT_FIRST else -math.inf
        said_at, left_out = self._said.get(same, (unsaid, 0))
        if 0 <= record.created - said_at < _REPEATED_AFTER:  # the clock may have been set back
            self._said[same] = (said_at, left_out + 1)
            return False
        self._said[same] = (record.created, 0)
        if left_out:
            record.left_out = left_out
        return True


def write_through_logging() -> None:
    """Make structlog's loggers hand what they are told to the standard library's; the same for every service."""
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def logging_config(service: str, settings: ServiceSettings) -> dict[str, Any]:
    """Return the dictConfig of one service's logs; also makes structlog's loggers write through it."""
    write_through_logging()
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    level = settings.log_level.upper()
    library_level = {"DEBUG": "INFO", "INFO": "WARNING"}.get(level, level)

    def name_service(_: Any, __: str, event: dict[str, Any]) -> dict[str, Any]:
        event["service"] = service
        return event

    renderer: list[Any] = (
        [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
        if as_json
        else [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": [*_SHARED, structlog.stdlib.ExtraAdder(["left_out"])],
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    name_service,
                    *renderer,
                    _redacted,
                ],
            }
        },
        "filters": {"repetitions": {"()": Repetitions}},
        "handlers": {
            "default": {
                "class": "logging.StreamHandler",
                "formatter": "structured",
                "filters": [] if level == "DEBUG" else ["repetitions"],
            }
        },
        "loggers": {
            **{name: {"level": library_level} for name in _LIBRARIES},
            _TIMERS: {"level": "INFO" if level == "DEBUG" else "ERROR"},
        },
        "root": {"level": level, "handlers": ["default"]},
    }


def _redacted(_: Any, __: str, line: Any) -> Any:
    """Take the values of secrets out of a finished line, tracebacks included."""
    return KNOWN.text(line) if isinstance(line, str) else line
