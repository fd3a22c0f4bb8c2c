"""Kafka topics: their names, which of them are this system's own, and what is read of their records."""

import re
from typing import Final, Protocol

TOPIC_RULE: Final = "must be a topic: 1 to 249 letters, digits, '.', '-' or '_'"
_TOPIC: Final = re.compile(r"[A-Za-z0-9._-]{1,249}")
# The events, what Faust makes beside them for each service (changelogs, its assignor), and what Kafka keeps for itself.
_OWN: Final = re.compile(r"workflow\..*|(runner|scheduler|workflows)(-v\d+)?-(.*-changelog|.*-repartition|__.*)|__.*")


def is_topic(name: str) -> bool:
    """Tell whether Kafka would take the name."""
    return _TOPIC.fullmatch(name) is not None and name not in (".", "..")


def is_own(topic: str) -> bool:
    """Tell whether a topic is one of this system."""
    return _OWN.fullmatch(topic) is not None


class Record(Protocol):
    """What is read of any record, as Faust and the other clients have it."""

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
