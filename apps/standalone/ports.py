"""TCP ports on loopback: which are taken, and which are free."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass

from apps.standalone.errors import PortGivenTwice, PortInUse
from apps.standalone.settings import HOST


@dataclass(frozen=True)
class PortClaim:
    """A port, what wants it and the option that changes it."""

    port: int
    wanted_by: str
    option: str


def is_free(port: int, host: str = HOST) -> bool:
    """Whether something could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        if sys.platform != "win32":
            # Connections of a run that has just ended linger in TIME_WAIT and are no obstacle.
            # (On Windows the option means something else: it would take the port away from its owner.)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_ports(count: int, host: str = HOST) -> list[int]:
    """So many distinct ports nobody listens on."""
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((host, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def free_port(host: str = HOST) -> int:
    """A port nobody listens on."""
    return free_ports(1, host)[0]


def claim_ports(claims: Iterable[PortClaim], host: str = HOST) -> None:
    """Raise for the first port that is claimed twice or taken by somebody else."""
    seen: dict[int, PortClaim] = {}
    for claim in claims:
        if claim.port in seen:
            raise PortGivenTwice(claim.port, seen[claim.port].wanted_by, f"{claim.wanted_by} ({claim.option})")
        seen[claim.port] = claim
        if not is_free(claim.port, host):
            raise PortInUse(host, claim.port, claim.wanted_by, claim.option)
