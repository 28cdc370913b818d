"""
TCP links to servers, each of which can be broken or slowed down while the server is well.
"""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit, urlunsplit

from testproject.servers.network import Network
from testproject.servers.process import LOOPBACK

BACKLOG = 128
CHUNK = 65536
CONNECT_TIMEOUT = 5.0
# Close by a reset, and at once.
NO_LINGER = struct.pack("ii", 1, 0)


def reset(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
    connection.close()


class Link:
    """
    target: host and port of the server. The link's own port stays the same whatever happens.

    Each method returns when what it says is true.
    """

    def __init__(self, network: Network, target: tuple[str, int]) -> None:
        self.network = network
        self.port = 0
        # Seconds, each way.
        self.delay = 0.0
        self.is_cut = False
        self.loses_replies = False
        self._target = target
        self._resets = False
        self._pairs: set[Pair] = set()
        network.do(self._start)
        network.on_close.append(self._close)

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def connections(self) -> int:
        """
        How many are open.
        """
        return len(self._pairs)

    def refuse(self) -> None:
        """
        Break all connections and refuse new ones.
        """
        self.network.do(self._refuse)

    def cut(self) -> None:
        """
        Let nothing through any more, without a word.

        What is sent meanwhile arrives when the link is mended, as packets do that are sent again.
        """
        self.network.do(self._cut)

    def reset(self) -> None:
        """
        Break all connections, and each new one.
        """
        self.network.do(self._reset)

    def lose_replies(self) -> None:
        """
        Let requests through, and break the connection in place of each reply.
        """
        self.network.do(self._lose_replies)

    def slow_down(self, seconds: float) -> None:
        """
        Let everything take so much longer, each way.
        """
        self.delay = seconds

    def mend(self) -> None:
        """
        Let everything through, at once.
        """
        self.network.do(self._mend)

    # In the network's thread.

    def _start(self) -> None:
        self._bind()
        self._listen()

    def _bind(self) -> None:
        self._listener = socket.socket()
        # As servers do, or connections that just ended would count as taken.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((LOOPBACK, self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]

    def _listen(self) -> None:
        self._listener.listen(BACKLOG)
        self.network.selector.register(self._listener, selectors.EVENT_READ, self._accept)

    def _stop_accepting(self) -> None:
        with suppress(KeyError):
            self.network.selector.unregister(self._listener)

    def _close(self) -> None:
        self._stop_accepting()
        self._listener.close()
        self._break()

    def _break(self) -> None:
        for pair in tuple(self._pairs):
            pair.close()

    def _refuse(self) -> None:
        self._close()
        # Bound but not listening, so that nobody else gets the port.
        self._bind()

    def _cut(self) -> None:
        # Who connects meanwhile waits in the backlog.
        self._stop_accepting()
        self.is_cut = True
        for pair in self._pairs:
            pair.watch()

    def _reset(self) -> None:
        self._break()
        self._resets = True

    def _lose_replies(self) -> None:
        self.loses_replies = True

    def _mend(self) -> None:
        self.delay, self.is_cut, self._resets, self.loses_replies = 0.0, False, False, False
        if self._listener.fileno() not in self.network.selector.get_map():
            self._listen()
        for pair in self._pairs:
            pair.watch()

    def _accept(self, _: int) -> None:
        try:
            client = self._listener.accept()[0]
        except OSError:
            return
        try:
            if self._resets:
                raise ConnectionResetError
            server = socket.create_connection(self._target, CONNECT_TIMEOUT)
        except OSError:
            reset(client)
        else:
            self._pairs.add(Pair(self, client, server, self._pairs.discard))


class Pair:
    """
    Two connections of which each gets what the other one sends.
    """

    def __init__(
        self,
        link: Link,
        client: socket.socket,
        server: socket.socket,
        forget: Callable[[Pair], None],
    ) -> None:
        self._link = link
        self._forget = forget
        self._server = server
        self._peers = {client: server, server: client}
        self._unsent = {client: b"", server: b""}
        # When the latest of what is on its way arrives: nothing overtakes.
        self._due = dict.fromkeys(self._peers, 0.0)
        for connection in self._peers:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.watch()

    def watch(self) -> None:
        """
        Wait for what may happen to both connections as the link is now.
        """
        selector = self._link.network.selector
        for connection in self._peers:
            with suppress(KeyError):
                selector.unregister(connection)
            reading = 0 if self._link.is_cut else selectors.EVENT_READ
            writing = selectors.EVENT_WRITE if self._unsent[connection] else 0
            if reading | writing:
                ready = partial(self._ready, connection)
                selector.register(connection, reading | writing, ready)

    def close(self, how: Callable[[socket.socket], None] = reset) -> None:
        """
        Break both connections, or close them in another way.
        """
        for connection in self._peers:
            with suppress(KeyError):
                self._link.network.selector.unregister(connection)
            how(connection)
        self._peers.clear()
        self._forget(self)

    def _ready(self, connection: socket.socket, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._send(connection, b"")
        if events & selectors.EVENT_READ and self._peers:
            self._receive(connection)

    def _receive(self, connection: socket.socket) -> None:
        try:
            data = connection.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            self.close()
            return
        if self._link.loses_replies and connection is self._server:
            self.close()
            return
        to, now = self._peers[connection], time.monotonic()
        due = max(now + self._link.delay, self._due[to])
        if due <= now:
            self._deliver(to, data)
        else:
            self._due[to] = due
            self._link.network.at(due, partial(self._deliver, to, data))

    def _deliver(self, to: socket.socket, data: bytes) -> None:
        if not data:
            # A reset would take with it what a server that hangs has yet to read.
            self.close(socket.socket.close)
        elif self._peers:
            self._send(to, data)

    def _send(self, to: socket.socket, data: bytes) -> None:
        had_unsent = bool(self._unsent[to])
        unsent = self._unsent[to] + data
        try:
            unsent = unsent[to.send(unsent) :]
        except BlockingIOError:
            pass
        except OSError:
            self.close()
            return
        self._unsent[to] = unsent
        if had_unsent != bool(unsent):
            self.watch()


def host_and_port(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    return parts.hostname, parts.port or 80


def through(url: str, link: Link) -> str:
    """
    Return the URL that leads to a server by a link.
    """
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{credentials}{at}{link.address}"))
