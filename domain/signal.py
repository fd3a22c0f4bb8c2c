"""Signals: what somebody tells an execution while it is open, such as that it is approved, or that a job is done.

An execution is told of one name once. What it is told is kept until a step waits for it (``wait-for-signal``), so that it
may be told early.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Signal:
    """What an execution was told."""

    execution_id: str
    name: str
    payload: Mapping[str, Any]
    at: datetime
    sender: str  # name of the token that sent it; kafka, where it came from there
    shard: int  # of the execution
