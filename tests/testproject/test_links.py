"""
Links break as they are told to, and only as long.
"""

from __future__ import annotations

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest

from testproject.servers.links import CHUNK, Link
from testproject.servers.network import Network

SOON = 10.0


class Echo(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), EchoHandler)


class EchoHandler(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(CHUNK):
            self.request.sendall(data)


@pytest.fixture(scope="module")
def echo() -> Iterator[Echo]:
    with Echo() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def link(echo: Echo) -> Iterator[Link]:
    with Network() as network:
        yield Link(network, ("127.0.0.1", echo.server_address[1]))


def connect(link: Link) -> socket.socket:
    return socket.create_connection(("127.0.0.1", link.port), SOON)


def echoed(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return received(connection, len(data))


def received(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def test_a_link_lets_everything_through(link: Link) -> None:
    with connect(link) as one, connect(link) as another:
        much = b"x" * (20 * CHUNK)
        sender = threading.Thread(target=one.sendall, args=(much,))
        sender.start()
        assert echoed(another, b"a") == b"a"
        assert received(one, len(much)) == much
        sender.join()
        assert link.connections == 2


def test_a_link_that_refuses_does_so_at_its_own_port_until_it_is_mended(link: Link) -> None:
    with connect(link) as before:
        assert echoed(before, b"a") == b"a"
        port = link.port
        link.refuse()
        with pytest.raises(ConnectionResetError):
            before.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(link)
    link.mend()
    assert link.port == port
    with connect(link) as after:
        assert echoed(after, b"b") == b"b"


def test_a_link_that_is_cut_says_nothing_and_then_delivers(link: Link) -> None:
    with connect(link) as before:
        assert echoed(before, b"a") == b"a"
        link.cut()
        with connect(link) as meanwhile:
            before.sendall(b"b")
            meanwhile.sendall(b"c")
            for connection in (before, meanwhile):
                connection.settimeout(0.02)
                with pytest.raises(TimeoutError):
                    connection.recv(1)
                connection.settimeout(SOON)
            link.mend()
            assert before.recv(1) == b"b"
            assert meanwhile.recv(1) == b"c"


def test_a_link_that_resets_breaks_old_and_new_connections(link: Link) -> None:
    with connect(link) as before:
        assert echoed(before, b"a") == b"a"
        link.reset()
        with pytest.raises(ConnectionResetError):
            before.recv(1)
    # It may come before this end knows that it is connected.
    with pytest.raises(ConnectionResetError), connect(link) as after:
        after.recv(1)
    link.mend()
    with connect(link) as mended:
        assert echoed(mended, b"c") == b"c"


def test_a_link_that_loses_replies_lets_requests_through(link: Link) -> None:
    with connect(link) as before:
        assert echoed(before, b"a") == b"a"
        link.lose_replies()
        # Only a server that got it can have answered.
        before.sendall(b"b")
        with pytest.raises(ConnectionResetError):
            before.recv(1)
    link.mend()
    with connect(link) as mended:
        assert echoed(mended, b"c") == b"c"


def test_nothing_overtakes_on_a_slow_link(link: Link) -> None:
    with connect(link) as connection:
        assert echoed(connection, b"a") == b"a"
        link.slow_down(0.05)
        connection.sendall(b"b")
        for _ in range(2):
            # By the second time the link has taken what was sent.
            link.network.do(lambda: None)
        link.mend()
        connection.sendall(b"c")
        assert received(connection, 2) == b"bc"
        link.slow_down(0.05)
        started = time.monotonic()
        assert echoed(connection, b"d") == b"d"
        assert time.monotonic() - started >= 0.1
