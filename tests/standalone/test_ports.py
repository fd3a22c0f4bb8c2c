"""Which ports are given to servers that are about to start."""

import socket
import subprocess
import sys
from contextlib import suppress

from apps.standalone import ports
from apps.standalone.ports import free_port, free_ports


def test_no_port_is_given_twice_while_its_server_starts() -> None:
    found = [*free_ports(5), *(free_port() for _ in range(5))]
    assert len(set(found)) == 10


def test_what_the_system_gives_by_itself_is_left_to_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert max(free_ports(50)) < 32_768
        assert server.getsockname()[1] not in ports._RANGE


def test_taken_ones_are_passed_over() -> None:
    following = free_port() + 1
    with socket.socket() as server:
        with suppress(OSError):  # somebody else has it
            server.bind(("127.0.0.1", following))
            server.listen()
        assert free_port() != following


def test_processes_do_not_begin_at_the_same_port() -> None:
    ask = "from apps.standalone.ports import free_port; print(free_port())"
    asked = [subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True) for _ in range(3)]
    assert len({each.stdout for each in asked}) > 1
