"""
Bare sockets to memcached. No pool, no time-outs, no errors: nothing can be faster by much.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle
from uuid import uuid4

from benchmarks.operations import Operation, Operations
from benchmarks.sample import sample_json

END = b"END\r\n"
STORED = b"STORED\r\n"
KEYS = 30


@contextmanager
def bare_memcached(addresses: Sequence[str]) -> Iterator[Operations]:
    """
    To several servers the requests are all written before any reply is read.
    """
    with ExitStack() as stack:
        sockets = [stack.enter_context(connect(address)) for address in addresses]
        value = sample_json()
        names = [uuid4().hex.encode() for _ in range(KEYS)]
        for name in names:
            send(sockets, b"set %b 0 0 %d\r\n%b\r\n" % (name, len(value), value))
            receive(sockets, STORED)
        keys = cycle(names)

        def load() -> None:
            send(sockets, b"gets %b\r\n" % next(keys))
            receive(sockets, END)

        def load_and_save() -> None:
            key = next(keys)
            send(sockets, b"gets %b\r\n" % key)
            for connection, reply in zip(sockets, receive(sockets, END), strict=True):
                # VALUE <key> <flags> <bytes> <cas>
                token = reply.split(b"\r\n", 1)[0].split()[4]
                connection.sendall(b"cas %b 0 0 %d %b\r\n%b\r\n" % (key, len(value), token, value))
            receive(sockets, STORED)

        yield {Operation.LOAD: load, Operation.SAVE: load_and_save}


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    connection = socket.create_connection((host, int(port)))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def send(sockets: Sequence[socket.socket], request: bytes) -> None:
    for connection in sockets:
        connection.sendall(request)


def receive(sockets: Sequence[socket.socket], last_line: bytes) -> list[bytes]:
    replies = []
    for connection in sockets:
        reply = connection.recv(65536)
        while not reply.endswith(last_line):
            more = connection.recv(65536)
            if not more:
                raise RuntimeError(f"memcached answered {reply!r}.")
            reply += more
        replies.append(reply)
    return replies
