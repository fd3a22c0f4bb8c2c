"""TCP ports on loopback: which are taken, and which are free."""

from __future__ import annotations

import itertools
import random
import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from apps.standalone.errors import PortGivenTwice, PortInUse
from apps.standalone.settings import HOST

# Below those that the system itself gives to whoever asks for any (Linux: from 32,768 on, others from 49,152): between the
# look and the start of a service, which takes seconds, one of those may be given to a connection, or to another server.
_RANGE: Final = range(20_000, 27_000)
_first = random.SystemRandom().randrange(len(_RANGE))  # each process from elsewhere
_untried = itertools.cycle((*_RANGE[_first:], *_RANGE[:_first]))


@dataclass(frozen=True)
class PortClaim:
    """A port, what wants it and the option that changes it."""

    port: int
    wanted_by: str
    option: str


def is_free(port: int) -> bool:
    """Whether something could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            # Connections of a run that has just ended linger in TIME_WAIT and are no obstacle.
            # (On Windows the option means something else: it would take the port away from its owner.)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def free_ports(count: int) -> list[int]:
    """So many distinct ports nobody listens on, and none that was returned before, for it may not be in use yet.

    Raises:
        OSError: there are not so many.
    """
    candidates = itertools.islice(_untried, len(_RANGE))
    found = list(itertools.islice((port for port in candidates if is_free(port)), count))
    if len(found) < count:
        raise OSError(f"no port from {_RANGE.start} to {_RANGE.stop - 1} is free")
    return found


def free_port() -> int:
    """A port nobody listens on."""
    return free_ports(1)[0]


def claim_ports(claims: Iterable[PortClaim]) -> None:
    """Raise for the first port that is claimed twice or taken by somebody else."""
    seen: dict[int, PortClaim] = {}
    for claim in claims:
        if claim.port in seen:
            raise PortGivenTwice(claim.port, seen[claim.port].wanted_by, f"{claim.wanted_by} ({claim.option})")
        seen[claim.port] = claim
        if not is_free(claim.port):
            raise PortInUse(HOST, claim.port, claim.wanted_by, claim.option)
