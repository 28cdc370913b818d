"""
One connection to one memcached server, in two halves: send now, receive later.

pymemcache supplies reading, statistics and errors; this adds the meta protocol, which it does not
speak, and the split that lets requests to several servers travel at once. Every reply names its
key and repeats the request's opaque token, so a reply to another request is never taken for ours.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Iterator
from typing import Any, NamedTuple

from pymemcache.client.base import Client, _readline, _readvalue
from pymemcache.exceptions import (
    MemcacheError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)

from ...secret import Secret
from .. import dialing
from ..deadline import Deadline

# What tells that a server, or the way to it, failed. ValueError: a reply that is not one.
FAILURES = (OSError, MemcacheError, ValueError)

# What is read at once, and what the line is shorter than with which every reply begins.
RECEIVE = 8192
LONGEST_LINE = 2048

# By how much a call may wait too long, in seconds.
SLACK = 0.002

# Stale; won, and lost, the right to make it anew.
MARKS = (b" X", b" W", b" Z")

# For want of memory, most likely. memcached drops the value that was there.
REFUSED = b"SERVER_ERROR"

NOT_OURS = "The reply belongs to another request."

DEFAULT_ITEM_LIMIT = 1024 * 1024
# What memcached keeps beside key and value in an item: header, cas value, terminators.
ITEM_OVERHEAD = 128


class Reply(NamedTuple):
    """
    status: "VA" (a value), "HD" (done), "EN" (no such key), "EX" (changed since), "NF" (gone),
    "NS" (not stored: it is there already), `REFUSED`. cas: the value's token, where there is one.
    ttl: the seconds until a value expires by the server's own clock.
    """

    status: bytes
    cas: int = 0
    value: bytes = b""
    ttl: int = 0


class Refused(MemcacheError):  # type: ignore[misc]
    """
    The server works, but cannot do what it was asked: for want of memory, most likely.
    """


class CrawlerBusy(MemcacheError):  # type: ignore[misc]
    """
    The server is listing its keys for somebody else.
    """


class _TimedSocket:
    """
    What pymemcache uses of a socket, with a deadline.
    """

    __slots__ = ("_time_out", "deadline", "raw")

    def __init__(self, raw: socket.socket, deadline: Deadline) -> None:
        self.raw = raw
        self.deadline = deadline
        self._time_out = -1.0

    def start(self, deadline: Deadline, left: float, data: bytes) -> None:
        """
        Send by a new deadline, to which so many seconds are left.
        """
        self.deadline = deadline
        # Nearly always it is as long as it was last time, and it takes a system call to set.
        if not 0 <= self._time_out - left < SLACK:
            self.raw.settimeout(max(left, 0.0))
            self._time_out = left
        sent = self.raw.send(data)
        if sent < len(data):
            self.sendall(memoryview(data)[sent:])

    def recv(self, size: int) -> bytes:
        self.wait()
        return self.raw.recv(size)

    def sendall(self, data: bytes | memoryview) -> None:
        sent = 0
        while sent < len(data):
            self.wait()
            sent += self.raw.send(memoryview(data)[sent:])

    def wait(self) -> None:
        """
        Let the next call wait as long as time is left.
        """
        self._time_out = self.deadline.require()
        self.raw.settimeout(self._time_out)

    def close(self) -> None:
        self.raw.close()


class Connection(Client):  # type: ignore[misc]
    """
    A connection that belongs to one exchange at a time. After any failure it must be closed.

    connect_timeout: what connecting may take of an exchange's time, in seconds.
    """

    # For one that was interrupted before it was made.
    sock: Any = None
    place: object = None

    def __init__(
        self,
        server: tuple[str, int] | str,
        *,
        connect_timeout: float,
        tls_context: ssl.SSLContext | None = None,
        credentials: Secret[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(server, tls_context=tls_context, default_noreply=False)
        self.item_limit = DEFAULT_ITEM_LIMIT
        self._connect_within = connect_timeout
        self._credentials = credentials
        self._opaque = 0
        self._ending = b""

    def __del__(self) -> None:
        # An exchange that died between two statements leaves its connection to nobody.
        self.close()

    def open(self, deadline: Deadline) -> None:
        """
        Connect, in a part of the time: the other servers of an exchange, and the exchange itself,
        need theirs, too.
        """
        self.connect(deadline.share(2).within(self._connect_within))

    def connect(self, deadline: Deadline) -> None:
        """
        Connect, authenticate and ask for the largest item that the server takes.
        """
        self.close()
        try:
            self._open(deadline)
        except BaseException as error:
            self.close()
            if isinstance(error, MemcacheUnexpectedCloseError):
                raise MemcacheUnknownError(
                    "The server hung up at the first command. Does it speak the text protocol "
                    "(not -S, nor -B binary), and TLS only if it is told to?"
                ) from error
            raise

    def _open(self, deadline: Deadline) -> None:
        raw = self._dial(deadline)
        self.sock = _TimedSocket(raw, deadline)
        self._readable = select.poll()
        self._readable.register(raw.fileno(), select.POLLIN)
        # TLS may hold what was read from the network and not yet asked for.
        self._decrypted = getattr(raw, "pending", None)
        if self._credentials:
            self._authenticate(self._credentials)
        limit = self.stats("settings").get(b"item_size_max")
        self.item_limit = int(limit) if limit else DEFAULT_ITEM_LIMIT

    def _dial(self, deadline: Deadline) -> socket.socket:
        if isinstance(self.server, str):
            return dialing.connect(socket.AF_UNIX, self.server, deadline)
        host, port = self.server
        raw = dialing.dial(host, port, deadline)
        if not self.tls_context:
            return raw
        try:
            raw.settimeout(deadline.require())
            wrapped: ssl.SSLSocket = self.tls_context.wrap_socket(raw, server_hostname=host)
        except BaseException:
            raw.close()
            raise
        return wrapped

    def _authenticate(self, credentials: Secret[tuple[str, str]]) -> None:
        # Whatever interrupts it shows the view, not what it is a view of.
        self.sock.sendall(memoryview(credentials.map(authentication).reveal()))
        _, line = _readline(self.sock, b"")
        if line != b"STORED":
            raise MemcacheUnknownError("The server refused USERNAME and PASSWORD.")

    @property
    def is_fresh(self) -> bool:
        """
        Whether nothing waits to be read, neither the server's goodbye nor a reply nobody wants.
        """
        if self.sock is None or self._readable.poll(0):
            return False
        return not (self._decrypted and self._decrypted())

    def send(
        self, key: bytes, command: bytes, body: bytes, deadline: Deadline, left: float
    ) -> None:
        """
        Send a command of the meta protocol on `key`; `body` follows its line. The reply is due by
        the deadline, too, to which so many seconds are left.
        """
        self._opaque += 1
        # What was asked for comes back in the order in which it was asked for, these last.
        self._ending = b" k%b O%d" % (key, self._opaque)
        self.sock.start(deadline, left, b"%b k O%d\r\n%b" % (command, self._opaque, body))

    def receive(self) -> Reply:
        """
        Read the reply to what was sent last.
        """
        # Nearly always all of it arrives at once.
        received = self.sock.raw.recv(RECEIVE)
        line, end, rest = received.partition(b"\r\n")
        if not end:
            line, rest = self._read_on(received)
        if not line.endswith(self._ending):
            line = self._without_marks(line)
        status, *answers = line[: -len(self._ending)].split()
        if status != b"VA":
            if rest:
                raise MemcacheUnknownError(NOT_OURS)
            return Reply(status, int(answers[0][1:]) if answers else 0)
        size, cas, ttl = answers
        value = rest[:-2]
        if len(rest) != int(size) + 2:
            if not 0 <= int(size) <= self.item_limit:
                raise MemcacheUnknownError("A value is larger than any that the server takes.")
            rest, value = _readvalue(self.sock, rest, int(size))
            if rest:
                raise MemcacheUnknownError(NOT_OURS)
        return Reply(status, int(cas[1:]), value, int(ttl[1:]))

    def _without_marks(self, line: bytes) -> bytes:
        # Of an item that somebody marked as stale (`md … I`) memcached says so unasked, at the end.
        bare = line
        while bare.endswith(MARKS):
            bare = bare[:-2]
        if bare.endswith(self._ending):
            return bare
        if line.startswith(b"SERVER_ERROR"):
            raise Refused(line.decode("ascii", "replace"))
        self._raise_errors(line, b"meta")
        raise MemcacheUnknownError(NOT_OURS)

    def _read_on(self, received: bytes) -> tuple[bytes, bytes]:
        more = received
        while more and len(received) <= LONGEST_LINE:
            more = self.sock.recv(RECEIVE)
            received += more
            line, end, rest = received.partition(b"\r\n")
            if end:
                return line, rest
        if not more:
            raise MemcacheUnexpectedCloseError
        raise MemcacheUnknownError("The reply is longer than any that memcached gives.")

    def dump_keys(self, patience: float) -> Iterator[bytes]:
        """
        Yield the keys that the server holds, as it writes them: percent-encoded.

        patience: seconds that it may take from one portion to the next.
        """
        self.sock.deadline = Deadline(patience)
        # By bucket of its hash table: by LRU, an item on its way from one to another is missed.
        self.sock.sendall(b"lru_crawler metadump hash\r\n")
        rest = b""
        while True:
            # The lines of keys end in "\n", the last one in "\r\n".
            head, newline, rest = rest.partition(b"\n")
            if not newline:
                self.sock.deadline = Deadline(patience)
                received = self.sock.recv(65536)
                if not received:
                    raise MemcacheUnknownError("The server ended its list of keys too early.")
                rest = head + received
            elif head.startswith(b"key="):
                yield head[4:].partition(b" ")[0]
            elif head == b"END\r":
                return
            elif head.startswith(b"BUSY"):
                raise CrawlerBusy
            else:
                raise MemcacheUnknownCommandError(head[:80].decode("ascii", "replace").strip())

    def set_deadline(self, deadline: Deadline) -> None:
        """
        Bound what the next read may take.
        """
        self.sock.deadline = deadline
        self.sock.wait()


def authentication(credentials: tuple[str, str]) -> bytes:
    """
    Return memcached's ASCII authentication (-Y): a first `set`, of any key, that holds user name
    and password.
    """
    content = " ".join(credentials).encode()
    return b"set auth 0 0 %d\r\n%b\r\n" % (len(content), content)


def get_command(key: bytes) -> bytes:
    """
    Return the command that asks for a value, its cas token and its remaining time.
    """
    return b"mg %b v c t" % key


def set_command(key: bytes, value: bytes, ttl: int) -> bytes:
    """
    Return the command that stores a value, which is to follow it.

    ttl: as memcached takes it: seconds, or from 30 days on an absolute time. A condition may be
    added: b" ME" (if there is no value) or b" C…" (if its cas token is this).
    """
    return b"ms %b %d T%d c" % (key, len(value), ttl)


def delete_command(key: bytes, condition: bytes) -> bytes:
    """
    Return the command that deletes a value, if its cas token is the one in `condition`.
    """
    return b"md %b%b" % (key, condition)


def parse_server(server: str) -> tuple[str, int] | str:
    """
    Return what pymemcache connects to for "host:port", "[ipv6]:port" or a UNIX socket's path.
    """
    if server.startswith(("/", "unix:")):
        return server.removeprefix("unix:")
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)
