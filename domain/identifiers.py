"""Identifiers, and the deterministic ids that make a double start impossible.

Every execution id has the shape of a UUID version 7 (RFC 9562, section 5.7): 48 bits of Unix milliseconds, then 74 bits.
Ids therefore sort by the instant an execution was asked for, and listing needs no index but the primary one. For a
manual trigger the 74 bits are random. For a tick they come from the workflow and the due instant, for a request without an
id published straight to Kafka from its topic, partition and offset, for a record of a topic that a workflow is subscribed to
from these and the workflow, for what an action triggers from the execution, the action and a number: whoever meets the same
tick, record or action again, derives the same id, and the second insert is refused by the database.
"""

import hashlib
import re
from datetime import datetime
from typing import Final

from domain.instants import MILLISECOND, from_millis, to_millis

WORKFLOW_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
ACTION_ID_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$"
EXECUTION_ID_PATTERN: Final = r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"

ACTION_ID_RULE: Final = "must be 1 to 64 letters, digits, '-' or '_', the first a letter or digit"
WORKFLOW_ID_RULE: Final = "must be 1 to 128 letters, digits, '.', '-' or '_', the first a letter or digit"
EXECUTION_ID_RULE: Final = "must be an execution id: a UUID in lower case"
KEY_RULE: Final = "must be 1 to 255 printable ASCII characters without blanks"

_ACTION_ID = re.compile(ACTION_ID_PATTERN)
_WORKFLOW_ID = re.compile(WORKFLOW_ID_PATTERN)
_EXECUTION_ID = re.compile(EXECUTION_ID_PATTERN)
_KEY = re.compile(r"[!-~]{1,255}")


def is_action_id(value: object) -> bool:
    """Tell whether ``value`` is a well-formed name of a step, or of a signal, which are named alike."""
    return isinstance(value, str) and _ACTION_ID.fullmatch(value) is not None


def is_workflow_id(value: object) -> bool:
    """Tell whether ``value`` is a well-formed workflow id."""
    return isinstance(value, str) and _WORKFLOW_ID.fullmatch(value) is not None


def is_key(value: str) -> bool:
    """Tell whether ``value`` is a well-formed Idempotency-Key."""
    return _KEY.fullmatch(value) is not None


def is_execution_id(value: object) -> bool:
    """Tell whether ``value`` is a well-formed execution id (a lower-case UUID)."""
    return isinstance(value, str) and _EXECUTION_ID.fullmatch(value) is not None


def execution_id(at: datetime, entropy: bytes) -> str:
    """Return the id of an execution asked for at ``at``; ``entropy`` are 10 bytes, random or derived."""
    value = (to_millis(at) & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(entropy[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"  # as uuid.UUID writes it


def tick_execution_id(workflow_id: str, due: datetime) -> str:
    """Return the one id that the tick of ``workflow_id`` due at ``due`` can have."""
    return execution_id(due, hashlib.sha256(f"tick\0{workflow_id}\0{to_millis(due)}".encode()).digest())


def record_execution_id(topic: str, partition: int, offset: int, at: datetime) -> str:
    """Return the one id that an execution asked for by this Kafka record can have; ``at`` is the record's timestamp."""
    return execution_id(at, hashlib.sha256(f"record\0{topic}\0{partition}\0{offset}".encode()).digest())


def arrival_execution_id(workflow_id: str, topic: str, partition: int, offset: int, at: datetime) -> str:
    """Return the one id that the execution can have which this record starts of a workflow that is subscribed to its topic.

    ``at`` is the record's timestamp. In lists and in a line, which go by the ids, records of one partition stand in their
    order, those of one millisecond too.
    """
    digest = hashlib.sha256(f"arrival\0{workflow_id}\0{topic}\0{partition}\0{offset}".encode()).digest()
    # 26 bits of the offset, in the two places that the version and the variant leave, before 48 of the digest.
    order = offset & 0x3FF_FFFF
    bits = order >> 14 << 64 | (order & 0x3FFF) << 48 | int.from_bytes(digest[:6], "big")
    return execution_id(at, bits.to_bytes(10, "big"))


def triggered_execution_id(key: str, number: int, at: datetime) -> str:
    """Return the one id that the execution can have which an action triggers as its ``number``-th (from 0, below 4,096).

    ``key`` names the action of the execution that triggers it, ``at`` is when that one was asked for. In lists, which go by
    the ids, what one action has triggered stands in order, and after the execution of that action.
    """
    digest = hashlib.sha256(f"triggered\0{key}\0{number}".encode()).digest()
    return execution_id(at + MILLISECOND, number.to_bytes(2, "big") + digest[:8])


def earliest_execution_id(at: datetime) -> str:
    """Return the smallest id of the executions asked for at ``at`` or later, for range queries by time."""
    return execution_id(at, bytes(10))


def asked_at(value: str) -> datetime:
    """Return the instant that an execution id carries."""
    return from_millis(int(value.replace("-", "")[:12], 16))
