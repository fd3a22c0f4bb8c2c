"""Keeps workflows from reaching what only the runner's own network should reach (server-side request forgery).

Whoever may write a workflow could otherwise read the cloud's metadata service, the database or a colleague's laptop through
the runner. Refused are loopback, link-local, private, shared, reserved, multicast and unspecified addresses, and those that
embed or tunnel to one, unless the operator allows them: by range (``10.1.0.0/16``), or by name (``crm.internal``,
``*.svc.cluster.local``), which allows whatever the name resolves to.

A name cannot be judged, its addresses can: :class:`GuardedResolver` resolves once and hands on only what may be connected
to, so a name that resolves to something else a moment later (DNS rebinding) gains nothing. The socket factory looks once
more, at the very address that is about to be connected to, whatever way it came.
"""

import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import ThreadedResolver

from domain.excerpts import excerpt

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_ADDRESSES_THAT_EMBED_ONE: Final = (
    ipaddress.IPv6Network("::ffff:0:0/96"),  # IPv4-mapped
    ipaddress.IPv6Network("64:ff9b::/96"),  # NAT64: judged by what is behind the translator
)

# What ``is_global`` says has changed between releases of Python; what is listed here is refused by all of them.
_REFUSED: Final = tuple(
    map(
        ipaddress.ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
            "::/96",  # unspecified, loopback, IPv4-compatible
            "::ffff:0:0:0/96",  # IPv4-translated
            "64:ff9b:1::/48",  # NAT64 inside one network
            "100::/64",
            "2001::/23",  # Teredo, ORCHID and other special purposes
            "2001:db8::/32",
            "2002::/16",  # 6to4: carries any IPv4 address
            "3fff::/20",
            "5f00::/16",
            "fc00::/7",
            "fe80::/10",
            "fec0::/10",
            "ff00::/8",
        ),
    )
)


class BlockedAddress(ValueError):
    """Nothing may be requested from this address; the message says how the operator can allow it."""


class BadAllowance(ValueError):
    """Neither a host name, nor ``*.`` and a name, nor an address range."""


def judged_address(text: str) -> Address | None:
    """Return the address that ``text`` spells, IPv4 taken out of IPv6 where it is embedded; None for a name."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and any(address in network for network in _ADDRESSES_THAT_EMBED_ONE):
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def is_public(address: Address) -> bool:
    """Tell whether anybody on the internet could connect to ``address`` as well."""
    return (
        address.is_global
        and not address.is_multicast
        and not any(address in network for network in _REFUSED if network.version == address.version)
    )


class Guard:
    """What may be connected to."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        """Allow, beside public addresses, these names and ranges.

        Raises:
            BadAllowance: one of them is neither.
        """
        self._names: set[str] = set()
        self._suffixes: list[str] = []
        self._networks: list[Network] = []
        for entry in map(str.strip, allow):
            try:
                self._networks.append(ipaddress.ip_network(entry, strict=False))
                continue
            except ValueError:
                pass
            name = entry.lower().rstrip(".")
            if not name or any(c in name for c in "/:@ \t") or name.lstrip("*.") == "" or "*" in name.removeprefix("*."):
                raise BadAllowance(f"{entry!r}: write a host name, *.name or a range such as 10.0.0.0/8")
            if name.startswith("*."):
                self._suffixes.append(name[1:])
            else:
                self._names.add(name)

        self.admits_host = lru_cache(maxsize=1024)(self._admits_host)

    def _admits_host(self, host: str) -> bool:
        """Tell whether the operator trusts ``host`` by name; refuse what :meth:`check_host` refuses."""
        if self.trusts(host):
            return True
        self.check_host(host)
        return False

    def trusts(self, host: str) -> bool:
        """Tell whether the operator allowed this name, whatever it resolves to."""
        if not self._names and not self._suffixes:
            return False
        name = host.lower().rstrip(".")
        return name in self._names or any(name.endswith(suffix) for suffix in self._suffixes)

    def allows(self, address: str) -> bool:
        """Tell whether ``address``, in digits, may be connected to."""
        judged = judged_address(address)
        if judged is None or (isinstance(judged, ipaddress.IPv6Address) and judged.scope_id is not None):
            return False
        return any(judged in network for network in self._networks if network.version == judged.version) or is_public(judged)

    def check_host(self, host: str) -> None:
        """Refuse an address written in the URL; a name is judged when it is resolved.

        Raises:
            BlockedAddress: ``host`` is an address that may not be connected to, or a strange spelling of one.
        """
        literal = host.strip("[]").rstrip(".")
        if judged_address(literal) is not None:
            self.check_address(literal)
            return
        try:
            # 2130706433, 0x7f.1 and 0177.0.0.1 are names to the URL and addresses to the socket.
            address = socket.inet_ntoa(socket.inet_aton(literal))
        except (OSError, ValueError):
            return
        raise BlockedAddress(f"{excerpt(host, 100)} is an unusual spelling of {address}; write it in four decimal numbers")

    def check_address(self, address: str, host: str = "") -> None:
        """Refuse an address.

        Raises:
            BlockedAddress: it may not be connected to.
        """
        if not self.allows(address):
            where = f"{excerpt(host, 100)} resolves to {address}" if host and host != address else address
            raise BlockedAddress(f"{where}, which is not public; the operator may allow it in HTTP_ALLOW_HOSTS")

    def open_socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket for a connection to the address in ``info`` (aiohttp's ``socket_factory``)."""
        family, kind, protocol, _, address = info
        self.check_address(str(address[0]))
        return socket.socket(family=family, type=kind, proto=protocol)


class GuardedResolver(AbstractResolver):
    """Resolves names to the addresses that may be connected to."""

    def __init__(self, guard: Guard, resolver: AbstractResolver | None = None) -> None:
        self._guard = guard
        self._resolver = resolver or ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of ``host`` that are allowed.

        Raises:
            BlockedAddress: it has addresses, and none is allowed.
        """
        found = await self._resolver.resolve(host, port, family)
        allowed = [result for result in found if self._guard.allows(result["host"])]
        if found and not allowed:
            self._guard.check_address(found[0]["host"], host)
        return allowed

    async def close(self) -> None:
        """Close the resolver behind it."""
        await self._resolver.close()
