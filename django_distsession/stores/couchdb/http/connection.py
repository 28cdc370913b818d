"""
One keep-alive HTTP connection, on the standard library's `http.client`: per request it costs a
third of the CPU time that httpx costs.

A request has one deadline for all that it does. `http.client` alone would start its time-out anew
with each byte, and a server that trickles would hold a request for ever.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...deadline import Deadline
from ...dialing import dial
from .response import Response

# What can go wrong with a connection. A time-out is an OSError too.
FAILURES = (OSError, http.client.HTTPException)


class Reply(NamedTuple):
    """
    A whole HTTP response.
    """

    status: int
    headers: http.client.HTTPMessage
    body: bytes


class _Reader(io.RawIOBase):
    def __init__(self, connection: _TimedSocket) -> None:
        self._socket = connection

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._socket.timed().recv_into(buffer)


class _TimedSocket:
    """
    What `http.client` uses of a socket, with a deadline.
    """

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.raw = raw
        self.deadline = deadline
        self._unsent: list[bytes] = []

    def timed(self) -> socket.socket:
        self.raw.settimeout(self.deadline.require())
        return self.raw

    def sendall(self, data: bytes) -> None:
        # `http.client` sends head and body one by one; together they are one packet.
        self._unsent.append(data)

    def flush(self) -> None:
        # A view, since the head may hold a password: the `repr` of one does not tell it.
        data = memoryview(b"".join(self._unsent))
        self._unsent.clear()
        self.timed().sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        # `http.client` closes it before it has read a body that ends the connection.
        pass


class Connection:
    """
    For one thread at a time. After any failure it is to be closed, not used again.
    """

    # Kept for the pool.
    slot: object = None

    # An interrupted constructor leaves these.
    _http: Any = None
    _socket: _TimedSocket | None = None

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._http = (
            http.client.HTTPConnection(host, port)
            if tls is None
            else http.client.HTTPSConnection(host, port, context=tls)
        )
        self._http.response_class = Response

    def open(self, deadline: Deadline) -> None:
        """
        Connect.
        """
        raw = dial(self._http.host, self._http.port, deadline)
        try:
            if self._tls is not None:
                raw.settimeout(deadline.require())
                raw = self._tls.wrap_socket(raw, server_hostname=self._http.host)
        except BaseException:
            raw.close()
            raise
        self._socket = self._http.sock = _TimedSocket(raw, deadline)

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        deadline: Deadline,
    ) -> Reply:
        """
        Send a request on an open connection and read the whole reply.
        """
        timed = self._socket
        if timed is None:
            raise http.client.NotConnected
        timed.deadline = deadline
        try:
            self._http.request(method, target, body, headers)
            timed.flush()
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a large body answers before it has read all of it.
            if not body or not _has_data(timed.raw):
                raise
            reply = self._receive()
            self.close()
            return reply
        return self._receive()

    def _receive(self) -> Reply:
        response = self._http.getresponse()
        reply = Reply(response.status, response.headers, response.read_body())
        if self._http.sock is None:
            # The server said that it will close the connection.
            self.close()
        return reply

    def __del__(self) -> None:
        # Nobody uses it any more, in a forked child for instance.
        self.close()

    @property
    def is_fresh(self) -> bool:
        """
        Whether the server has neither closed the connection nor sent what nobody asked for.
        """
        return self._socket is not None and not _has_data(self._socket.raw)

    def close(self) -> None:
        """
        Close the connection.
        """
        if self._http is not None:
            self._http.close()
        if self._socket is not None:
            self._socket.raw.close()
        self._socket = None


def _has_data(raw: socket.socket) -> bool:
    if raw.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(raw, select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
