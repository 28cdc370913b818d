"""
One keep-alive connection of HTTP/1.1: per request it costs a fraction of the CPU time that httpx
costs, and less than `http.client`, whose errors it raises.

A request has one deadline for all that it does, so that a server that trickles holds nobody up.
Whatever a server sends, no more than so much of it is read: a length is only what somebody says.
"""

from __future__ import annotations

import http.client
import re
import select
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple

import httpx

from ...deadline import Deadline
from ...dialing import dial
from .address import Address

# What can go wrong with a connection. A time-out is an OSError too.
FAILURES = (OSError, http.client.HTTPException)

# As the standard library has them. The first one is for a whole head, too.
LONGEST_LINE = 65536
MOST_HEADERS = 100
# Responses that announce the real one, such as 100 Continue.
MOST_INTERIM = 10
# Bytes. CouchDB takes no document of more than 8 MB, unless it is told to.
LARGEST_BODY = 64 * 1024 * 1024
# Bytes that are received at once.
PORTION = 65536

# A bare line feed ends a line, too (RFC 9112, 2.2).
END_OF_HEAD = re.compile(rb"\n\r?\n")
STATUS_LINE = re.compile(r"HTTP/(\S+)\s+([1-9][0-9]{2})(?=\s|$)")
# Any larger number is larger than what is read, too.
LENGTH = re.compile(r"[0-9]{1,18}")
CHUNK_SIZE = re.compile(rb"[0-9a-fA-F]{1,15}")
# What would end a request line, or a header, before its time.
NOT_IN_TARGET = re.compile(r"[^!-~]")
NOT_IN_HEADER = re.compile(r"[\r\n\0]")

WITHOUT_BODY = (204, 304)
# To others, no body is none.
EXPECT_BODY = ("PUT", "POST")


class AnswerTooLarge(Exception):
    """
    A body that is larger than whatever CouchDB is asked for.
    """

    def __init__(self) -> None:
        super().__init__(f"a body of more than {LARGEST_BODY:,} bytes")


class Reply(NamedTuple):
    """
    A whole response, dressed as the part of `httpx.Response` that couchdb3 looks at.

    headers: the values of each, by its name in lower case.
    """

    status_code: int
    headers: Mapping[str, list[str]]
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def raise_for_status(self) -> None:
        """
        Raise `httpx.HTTPStatusError` for anything but a success or 304, as couchdb3 expects.
        """
        if self.status_code >= 300 and self.status_code != 304:
            # Without the URL, in which a session's id stands.
            request = httpx.Request("GET", "http://couchdb/")
            response = httpx.Response(self.status_code, request=request)
            said = f"HTTP status {self.status_code}"
            raise httpx.HTTPStatusError(said, request=request, response=response)


class Connection:
    """
    For one thread at a time. After any failure it is to be closed, not used again.
    """

    # Kept for the pool.
    slot: object = None

    # An interrupted constructor leaves this.
    _raw: socket.socket | None = None

    def __init__(self, address: Address, tls: ssl.SSLContext | None) -> None:
        self._address = address
        self._tls = tls
        self._constant_headers = (
            f" HTTP/1.1\r\nHost: {address.host_header}\r\nAccept-Encoding: identity\r\n"
            "Accept: application/json\r\nContent-Type: application/json\r\n"
        )
        # What was received and not yet looked at.
        self._received = bytearray()
        self._deadline: Deadline

    def open(self, deadline: Deadline) -> None:
        self._raw = dial(self._address.host, self._address.port, deadline, self._tls)

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes | memoryview | None,
        deadline: Deadline,
        login: memoryview,
    ) -> Reply:
        """
        Send a request on an open connection and read the whole reply.

        target: below the path of the address. login: a header, or nothing.
        """
        raw = self._raw
        if raw is None:
            raise http.client.NotConnected
        target = self._address.path + target
        if NOT_IN_TARGET.search(target):
            raise http.client.InvalidURL("a URL holds what no URL holds")
        head = f"{method} {target}{self._constant_headers}"
        for name, value in (headers or {}).items():
            if NOT_IN_HEADER.search(value):
                raise ValueError("A header holds what no header holds.")
            head += f"{name}: {value}\r\n"
        if body is not None or method in EXPECT_BODY:
            head += f"Content-Length: {len(body or b'')}\r\n"
        self._deadline = deadline
        raw.settimeout(deadline.require())
        try:
            # A view, since the head may hold a password: the `repr` of one does not tell it.
            parts = (head.encode("iso-8859-1"), login, b"\r\n", body or b"")
            raw.sendall(memoryview(b"".join(parts)))
        except (BrokenPipeError, ConnectionResetError):
            # A server that refuses a large body answers before it has read all of it.
            if not body or self.is_fresh:
                raise
            reply = self._receive(method)
            self.close()
            return reply
        return self._receive(method)

    def _receive(self, method: str) -> Reply:
        for _ in range(MOST_INTERIM):
            status_line, *lines = self._head()
            match = STATUS_LINE.match(status_line)
            if match is None:
                raise http.client.BadStatusLine(status_line[:40])
            status = int(match[2])
            if status >= 200:
                break
        else:
            raise http.client.HTTPException(f"got more than {MOST_INTERIM} interim responses")
        headers: dict[str, list[str]] = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers.setdefault(name.lower(), []).append(value.strip())
        is_last = match[1] == "1.0" or "close" in headers.get("connection", [""])[0].lower()
        length = headers.get("content-length", [""])[0]
        if status in WITHOUT_BODY or method == "HEAD":
            body = b""
        elif headers.get("transfer-encoding", [""])[0].lower() == "chunked":
            body = self._chunks()
        elif LENGTH.fullmatch(length):
            body = self._exactly(int(length))
        else:
            body, is_last = self._until_closed(), True
        if is_last:
            self.close()
        return Reply(status, headers, body)

    def _head(self) -> list[str]:
        received = self._received
        if not received and not self._has_more():
            raise http.client.RemoteDisconnected("the server closed the connection")
        seen = 0
        while not (end := END_OF_HEAD.search(received, seen)):
            # The end may have come in parts.
            seen = max(len(received) - 2, 0)
            if not received.startswith(b"HTTP/"[: len(received)]):
                raise http.client.BadStatusLine(received[:40].decode("iso-8859-1"))
            _check_head(len(received), received.count(b"\n"))
            if not self._has_more():
                raise http.client.IncompleteRead(bytes(received))
        lines = received[: end.start()].decode("iso-8859-1").split("\n")
        if end.start() > LONGEST_LINE or len(lines) > MOST_HEADERS:
            _check_head(end.start(), len(lines))
        del received[: end.end()]
        return lines

    def _has_more(self) -> bool:
        """
        Receive. False if the server has closed the connection.
        """
        raw = self._raw
        if raw is None:
            raise http.client.NotConnected
        raw.settimeout(self._deadline.require())
        data = raw.recv(PORTION)
        self._received += data
        return bool(data)

    def _exactly(self, size: int) -> bytes:
        received = self._received
        if size > LARGEST_BODY:
            raise AnswerTooLarge
        while len(received) < size:
            if not self._has_more():
                raise http.client.IncompleteRead(bytes(received), size - len(received))
        data = bytes(received[:size])
        del received[:size]
        return data

    def _until_closed(self) -> bytes:
        while self._has_more():
            if len(self._received) > LARGEST_BODY:
                raise AnswerTooLarge
        return bytes(self._received)

    def _chunks(self) -> bytes:
        chunks, total, size = [], 0, -1
        while size:
            given = self._line().partition(b";")[0].strip()
            if not CHUNK_SIZE.fullmatch(given):
                raise http.client.HTTPException("no size of a chunk")
            size = int(given, 16)
            total += size
            if total > LARGEST_BODY:
                raise AnswerTooLarge
            chunks.append(self._exactly(size))
            if size and self._line():
                raise http.client.HTTPException("a chunk that does not end where it should")
        # What may follow the last chunk has the form of headers.
        for number in range(MOST_HEADERS + 1):
            _check_head(0, number)
            if not self._line():
                break
        return b"".join(chunks)

    def _line(self) -> bytes:
        received = self._received
        while (end := received.find(b"\n")) < 0:
            _check_head(len(received), 0)
            if not self._has_more():
                raise http.client.IncompleteRead(bytes(received))
        line = bytes(received[:end])
        del received[: end + 1]
        return line.rstrip(b"\r")

    def __del__(self) -> None:
        # Nobody uses it any more, in a forked child for instance.
        self.close()

    @property
    def is_fresh(self) -> bool:
        """
        Whether the server has neither closed the connection nor sent what nobody asked for.
        """
        raw = self._raw
        if raw is None or self._received or raw.fileno() < 0:
            return False
        poll = select.poll()
        # Errors and hang-ups are always told.
        poll.register(raw, select.POLLIN)
        return not poll.poll(0)

    def close(self) -> None:
        if self._raw is not None:
            self._raw.close()
            # Not before: whoever is interrupted here closes it another time.
            self._raw = None


def _check_head(size: int, lines: int) -> None:
    if lines > MOST_HEADERS:
        raise http.client.HTTPException(f"got more than {MOST_HEADERS} headers")
    if size > LONGEST_LINE:
        raise http.client.LineTooLong("header line")
