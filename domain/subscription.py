"""Subscriptions: a workflow names a topic, and each record of it starts one execution.

A subscription begins when a definition names a topic that the one before did not, and lasts until one names another or
none, or the workflow is archived. Each has a consumer group of its own, by whose offsets it is known how far it is: so what
an earlier one has left is not taken up, and the records of the time between are not started.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, Protocol

from pydantic import Field, field_validator
from typing_extensions import Self

from domain.errors import DomainError
from domain.excerpts import excerpt
from domain.instants import LATEST, from_millis, to_millis, written
from domain.json_values import TOO_DEEP, read_json
from domain.model import Model
from domain.topic import TOPIC_RULE, Record, is_own, is_topic

_LATEST: Final = to_millis(LATEST)


class Subscription(Model):
    """A topic, of which each record starts an execution."""

    topic: str = Field(description="Of your own; read as soon as it is there.")
    from_: Literal["now", "earliest"] = Field(
        default="now",
        alias="from",
        description="Where to begin when a definition names the topic for the first time: with the records from then on "
        "(now), or with all that are there (earliest).",
    )

    @field_validator("topic")
    @classmethod
    def _may_be_read(cls, topic: str) -> str:
        if not is_topic(topic):
            raise ValueError(TOPIC_RULE)
        if is_own(topic):
            raise ValueError(f"topic {topic} belongs to this system; name one of your own")
        return topic


@dataclass(frozen=True)
class Subscribed:
    """A workflow that is subscribed to a topic."""

    workflow_id: str
    topic: str
    since: datetime  # when a definition named the topic that the one before did not
    is_from_earliest: bool = False

    @classmethod
    def of(cls, workflow_id: str, kafka: Mapping[str, Any], since: datetime) -> Self:
        """Return that of a workflow whose stored definition names a topic by ``kafka``."""
        return cls(workflow_id, kafka["topic"], since, kafka["from_"] == "earliest")

    @property
    def group(self) -> str:
        """The consumer group that reads for it."""
        return f"workflow.{self.workflow_id}.{written(self.since)}"


class BadRecord(DomainError):
    """What a record holds cannot be the input of an execution."""


class Arrival(Record, Protocol):
    """A record of a topic that a workflow is subscribed to, as aiokafka has it."""

    @property
    def timestamp(self) -> int: ...  # milliseconds
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


def timestamp_of(record: Arrival) -> datetime:
    """Return the instant that a record carries, or the nearest that an execution can have: producers write any."""
    return from_millis(min(max(record.timestamp, 0), _LATEST))


def input_of(record: Arrival) -> dict[str, Any]:
    """Return what an execution that is started by a record is given.

    Raises:
        BadRecord: its value is JSON that readers would take for different things, or is nested too deep.
    """
    return {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "key": None if record.key is None else _text(record.key),
        "timestamp": written(timestamp_of(record)),
        "headers": _headers(record),
        **_value(record.value),
    }


def _headers(record: Arrival) -> dict[str, Any]:
    """Return the headers by name; those that are given several times are lists."""
    found: dict[str, list[str | None]] = {}
    for name, value in record.headers:
        found.setdefault(name, []).append(None if value is None else _text(value))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def _value(raw: bytes | None) -> dict[str, Any]:
    if raw is None:
        return {"value": None}
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        return {"value": None, "base64": base64.b64encode(raw).decode()}
    try:
        return {"value": read_json(text, _twice, parse_constant=_no_json)}
    except RecursionError:
        raise BadRecord(f"value {TOO_DEEP}") from None
    except json.JSONDecodeError:
        return {"value": text}


def _twice(key: str) -> BadRecord:
    return BadRecord(f"value: {excerpt(key, 100)} is given twice in one object; keep one of them")


def _no_json(word: str) -> None:
    raise json.JSONDecodeError("no JSON, though Python would take it", word, 0)


def _text(raw: bytes) -> str:
    """Return text; bytes that are not UTF-8 are shown with escapes."""
    return raw.decode("utf-8", "backslashreplace")
