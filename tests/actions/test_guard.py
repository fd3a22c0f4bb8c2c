"""What may be connected to, whatever the spelling; and that nothing else is connected to."""

import asyncio
import ipaddress
import socket

import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from actions.http.guard import BadAllowance, BlockedAddress, Guard, GuardedResolver, is_public
from actions.running import Failed, Succeeded
from tests.actions.conftest import LOOPBACK, Sender

REFUSED = [
    ("loopback", "127.0.0.1"),
    ("other loopback", "127.8.9.10"),
    ("cloud metadata", "169.254.169.254"),
    ("private 10", "10.1.2.3"),
    ("private 172", "172.31.255.255"),
    ("private 192", "192.168.1.1"),
    ("shared", "100.64.0.1"),
    ("unspecified", "0.0.0.0"),
    ("this network", "0.1.2.3"),
    ("broadcast", "255.255.255.255"),
    ("multicast", "224.0.0.1"),
    ("multicast that is global", "232.1.2.3"),
    ("reserved", "240.0.0.1"),
    ("benchmarks", "198.18.0.1"),
    ("documentation", "203.0.113.7"),
    ("v6 loopback", "::1"),
    ("v6 unspecified", "::"),
    ("v6 link-local", "fe80::1"),
    ("v6 link-local with scope", "fe80::1%eth0"),
    ("v6 global with scope", "2606:4700::1111%eth0"),
    ("v6 unique local", "fd00:ec2::254"),
    ("v6 site-local", "fec0::1"),
    ("v6 multicast", "ff02::1"),
    ("v6 documentation", "2001:db8::1"),
    ("mapped loopback", "::ffff:127.0.0.1"),
    ("mapped metadata", "::ffff:a9fe:a9fe"),
    ("compatible loopback", "::127.0.0.1"),
    ("translated loopback", "::ffff:0:127.0.0.1"),
    ("6to4 of loopback", "2002:7f00:1::"),
    ("6to4 of a public one", "2002:808:808::"),
    ("NAT64 of loopback", "64:ff9b::7f00:1"),
    ("NAT64 of metadata", "64:ff9b::a9fe:a9fe"),
    ("local NAT64", "64:ff9b:1::808:808"),
    ("Teredo", "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize(("word", "address"), REFUSED)
def test_what_is_not_public_is_refused(word, address):
    guard = Guard()
    assert not guard.allows(address)
    with pytest.raises(BlockedAddress, match="HTTP_ALLOW_HOSTS"):
        guard.check_host(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_what_is_public_is_allowed(address):
    Guard().check_host(address)
    assert Guard().allows(address)


@pytest.mark.parametrize(
    ("allowed", "address", "may"),
    [
        ("127.0.0.0/8", "127.0.0.1", True),
        ("127.0.0.0/8", "::ffff:127.0.0.1", True),
        ("127.0.0.0/8", "::1", False),
        ("::1", "::1", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3/16", "10.1.9.9", True),
        ("10.1.2.3", "10.1.2.4", False),
        ("fd00::/8", "fd00:ec2::254", True),
        ("crm.internal", "10.0.0.1", False),
    ],
)
def test_ranges_can_be_allowed(allowed, address, may):
    assert Guard([allowed]).allows(address) is may


def test_names_can_be_allowed():
    guard = Guard(["CRM.internal", "*.svc.example"])
    assert guard.trusts("crm.INTERNAL.")
    assert guard.trusts("a.b.svc.example")
    for name in ("svc.example", "evil-crm.internal", "xsvc.example", "internal", "crm.internal.evil.example"):
        assert not guard.trusts(name)


@pytest.mark.parametrize("entry", ["", "*", "*.", "a b", "http://x", "a*b", "10.0.0.0/99", "x/y", "*.*.x"])
def test_an_allowance_that_means_nothing_is_refused(entry):
    with pytest.raises(BadAllowance, match="write a host name"):
        Guard([entry])


SPELLINGS = [
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "017700000001",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.1.",
    "127。0。0。1",
    "①②⑦.0.0.1",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[0:0:0:0:0:0:0:1]",
    "user:pass@127.0.0.1",
    "example.org@127.0.0.1",
    "localhost",
    "LOCALHOST.",
    "0",
    "0.0.0.0",
    "[::]",
]


class Listener:
    """Counts who connects."""

    def __init__(self) -> None:
        self.connected = 0

    async def talk(self, reader, writer):
        self.connected += 1
        writer.close()


@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_of_loopback_is_connected_to(host):
    listener, sender = Listener(), Sender()
    server = await asyncio.start_server(listener.talk, "127.0.0.1", 0)
    connections = sender.connections()
    async with server:
        port = server.sockets[0].getsockname()[1]
        outcome = await sender.send(connections, url=f"http://{host}:{port}/")
    await connections.close()
    assert isinstance(outcome, Failed)
    assert outcome.error_class in ("blocked-address", "dns", "url")
    assert not outcome.maybe_done
    assert not listener.connected


async def test_a_redirect_to_loopback_is_refused(receiver, redirect):
    """The first address is allowed by name; the second is another host of the same listener."""
    sender = Sender()
    connections = sender.connections(allow_hosts=["localhost"])
    port = URL(receiver.url).port
    receiver.on("/a", redirect(f"http://127.0.0.1:{port}/b"))
    outcome = await sender.send(connections, url=f"http://localhost:{port}/a")
    await connections.close()
    assert outcome.error_class == "blocked-address"
    assert [seen.path_qs for seen in receiver.seen] == ["/a"]


class Rebinding(AbstractResolver):
    """Answers with another address every time, as a hostile name server does."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host, port=0, family=socket.AF_UNSPEC):
        addresses = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        return [
            {"hostname": host, "host": a, "port": port, "family": socket.AF_INET6 if ":" in a else socket.AF_INET,
             "proto": 0, "flags": socket.AI_NUMERICHOST}
            for a in addresses
        ]  # fmt: skip

    async def close(self):
        pass


async def test_of_several_addresses_only_the_allowed_are_handed_on():
    resolver = GuardedResolver(Guard(), Rebinding(["10.0.0.1", "8.8.8.8", "::1", "::ffff:127.0.0.1"]))
    assert [found["host"] for found in await resolver.resolve("mixed.example")] == ["8.8.8.8"]


async def test_a_name_that_leads_inside_is_refused_by_name():
    resolver = GuardedResolver(Guard(), Rebinding(["10.0.0.1"]))
    with pytest.raises(BlockedAddress, match=r"inside\.example resolves to 10\.0\.0\.1"):
        await resolver.resolve("inside.example")


async def test_a_name_that_changes_its_mind_gains_nothing(receiver, monkeypatch):
    """Resolved once per connection: what was judged is what is connected to, and the next answer is judged again."""
    names = Rebinding(["127.0.0.2"], ["127.0.0.1"])
    monkeypatch.setattr("actions.http.guard.ThreadedResolver", lambda: names)
    sender = Sender()
    connections = sender.connections(allow_hosts=["127.0.0.2"])
    port = URL(receiver.url).port
    first = await sender.send(connections, url=f"http://rebind.example:{port}/")  # nobody listens at 127.0.0.2
    second = await sender.send(sender.connections(allow_hosts=["127.0.0.2"]), url=f"http://rebind.example:{port}/")
    for one in sender.opened:
        await one.close()
    assert first.error_class == "connect"
    assert second.error_class == "blocked-address"
    assert not receiver.seen


async def test_what_is_allowed_by_name_lends_nothing_to_its_address(receiver):
    sender = Sender()
    connections = sender.connections(allow_hosts=["localhost"])
    port = URL(receiver.url).port
    assert isinstance(await sender.send(connections, url=f"http://localhost:{port}/"), Succeeded)
    assert (await sender.send(connections, url=f"http://127.0.0.1:{port}/")).error_class == "blocked-address"
    await connections.close()


# -- proxies -------------------------------------------------------------------------------------------------------------


async def test_a_proxy_is_judged_and_so_is_what_lies_behind_it(receiver):
    sender = Sender()
    sender.secrets["p"] = "hidden"
    guarded, allowed = sender.connections(), sender.connections(allow_hosts=LOOPBACK)
    proxy = {"url": receiver.url, "username": "u", "passwordSecret": "p"}
    outcome = await sender.send(guarded, url="http://8.8.8.8/x", proxy=proxy)
    assert outcome.error_class == "blocked-address"
    outcome = await sender.send(allowed, url="http://10.0.0.1/x", proxy=proxy)
    assert outcome.error_class == "blocked-address"
    assert not receiver.seen
    outcome = await sender.send(allowed, url="http://8.8.8.8/x", proxy=proxy)
    assert isinstance(outcome, Succeeded)
    assert receiver.seen[0].headers["Host"] == "8.8.8.8"
    assert receiver.seen[0].headers["Proxy-Authorization"].startswith("Basic ")
    assert "hidden" not in str(outcome)
    for one in sender.opened:
        await one.close()


async def test_a_tunnel_is_asked_for_with_the_proxys_credentials_and_carries_none_of_them(receiver):
    """An https address through a proxy: CONNECT alone shows the proxy who asks, and what lies behind it is resolved here."""
    asked = []

    async def refuse(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    sender = Sender()
    sender.secrets |= {"p": "hidden", "t": "target-token"}
    connections = sender.connections(allow_hosts=LOOPBACK)
    async with server:
        proxy = {
            "url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}",
            "username": "u",
            "passwordSecret": "p",
        }
        outcome = await sender.send(
            connections, url="https://8.8.8.8/x", proxy=proxy, auth={"type": "bearer", "tokenSecret": "t"}
        )
    await connections.close()
    assert outcome.error_class == "proxy"
    (connect,) = asked
    assert connect.startswith("CONNECT 8.8.8.8:443 HTTP/1.1\r\n")
    assert "\r\nProxy-Authorization: Basic dTpoaWRkZW4=\r\n" in connect
    assert "target-token" not in connect


async def test_a_proxy_that_refuses_is_named(receiver):
    sender = Sender()
    connections = sender.connections(allow_hosts=LOOPBACK)
    receiver.on("/", lambda request: web.Response(status=407))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    outcome = await sender.send(connections, url="http://8.8.8.8/", method="POST", proxy={"url": f"http://127.0.0.1:{port}"})
    await connections.close()
    assert (outcome.error_class, outcome.maybe_done) == ("proxy", False)


async def test_a_name_behind_a_proxy_that_cannot_be_resolved_never_left(receiver):
    sender = Sender()
    connections = sender.connections(allow_hosts=LOOPBACK)
    outcome = await sender.send(connections, url="http://nowhere.invalid/", method="POST", proxy={"url": receiver.url})
    await connections.close()
    assert (outcome.error_class, outcome.maybe_done, outcome.is_in_doubt) == ("dns", False, False)
    assert "nowhere.invalid cannot be resolved" in outcome.message
    assert not receiver.seen


# -- properties ----------------------------------------------------------------------------------------------------------

IPV4 = st.ip_addresses(v=4)
IPV6 = st.ip_addresses(v=6)


def embeddings(address):
    number = int(address)
    yield from (ipaddress.IPv6Address(prefix | number) for prefix in (0xFFFF << 32, 0x64FF9B << 96))
    yield str(address)


@given(IPV4 | st.sampled_from([ipaddress.ip_address(a) for _, a in REFUSED if "." in a and ":" not in a]))
def test_an_address_is_judged_alike_in_every_wrapping(address):
    guard = Guard()
    expected = is_public(address)
    assert expected <= address.is_global
    assert {guard.allows(str(wrapped)) for wrapped in embeddings(address)} == {expected}
    number, octets = int(address), str(address).split(".")
    for spelled in (str(number), hex(number), oct(number).replace("o", ""), ".".join(map(hex, map(int, octets)))):
        with pytest.raises(BlockedAddress):
            guard.check_host(spelled)


@given(IPV6)
def test_no_v6_address_is_allowed_that_python_thinks_is_not_global(address):
    if Guard().allows(str(address)):
        assert (address.ipv4_mapped or address).is_global
        assert not address.is_multicast
        assert address.sixtofour is None
        assert address.teredo is None


HOSTS = st.one_of(
    st.sampled_from([*SPELLINGS, *(a for _, a in REFUSED), *(f"[{a}]" for _, a in REFUSED if ":" in a)]),
    st.text(alphabet="0123456789abcdefx.:[]%@/\\?#。１٢-_ \t\0é①", max_size=30),
    IPV4.map(int).map(str),
    IPV4.map(int).map(hex),
    IPV6.map(lambda a: f"[{a}]"),
    st.tuples(IPV4, st.sampled_from([".", "..", "%2e", "@x", "#", "?", "\\", ".nip.io"])).map(lambda p: f"{p[0]}{p[1]}"),
)


class OpenedSockets:
    """Stands where sockets are made: nothing is connected, everything is noted."""

    def __init__(self) -> None:
        self.addresses: list[str] = []

    def __call__(self, family, type, proto):
        raise OSError("no socket in this test")


@settings(max_examples=150, deadline=None)
@given(HOSTS, st.sampled_from(["http://", "https://", "http:", "HTTP://u:p@"]))
def test_whatever_the_url_nothing_inside_is_connected_to(host, prefix):
    """What finally reaches the socket is compared with what the ipaddress module says of it."""
    asyncio.run(_try(f"{prefix}{host}"))


async def _try(url):
    from pydantic import ValidationError

    sender = Sender()
    connections = sender.connections()
    connected = []
    loop = asyncio.get_running_loop()

    async def connect(sock, address):
        connected.append(address[0])
        raise ConnectionRefusedError("not in this test")

    async def look_up(host, port, **options):
        # Numeric spellings are understood as the system does; names lead to a public address.
        try:
            return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        except (OSError, UnicodeError):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("8.8.8.8", port))]

    loop.sock_connect = connect
    loop.getaddrinfo = look_up
    try:
        outcome = await sender.send(connections, url=url, timeout="5s")
        assert isinstance(outcome, Failed)
    except ValidationError:
        pass
    finally:
        await connections.close()
    for address in connected:
        judged = ipaddress.ip_address(address.split("%")[0])
        judged = getattr(judged, "ipv4_mapped", None) or judged
        assert judged.is_global, f"{url!r} led to {address}"
        assert not judged.is_multicast, f"{url!r} led to {address}"
