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
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from pymemcache.client.base import Client, _readline
from pymemcache.exceptions import (
    MemcacheError,
    MemcacheUnexpectedCloseError,
    MemcacheUnknownCommandError,
    MemcacheUnknownError,
)

from ...secret import Secret, without_frames
from .. import dialing
from ..deadline import Deadline
from .protocol import (
    DEFAULT_ITEM_LIMIT,
    LONGEST_LINE,
    NOT_OURS,
    Incarnation,
    Reply,
    authentication,
    incarnation_in,
    item_limit_in,
    parse_reply,
)
from .timed_socket import SLACK, TimedSocket

# What tells that a server, or the way to it, failed. The last two: a reply that is not one.
FAILURES = (OSError, MemcacheError, ValueError, LookupError)

# What is read at once, and what is read next of a reply that is longer.
RECEIVE = 8192
RECEIVE_MORE = 256 * 1024

# What part of its time a server must have been given before it counts as down for not answering:
# what is left of a request's time says nothing of the server.
FAIR_SHARE = 0.25


# A key, and a command of the meta protocol on it.
Question = tuple[bytes, bytes]


class TooLittleTime(TimeoutError):
    """
    So little was left of a request's time that this says nothing of the server.
    """


class CrawlerBusy(MemcacheError):  # type: ignore[misc]
    """
    The server is listing its keys for somebody else.
    """


class Connection(Client):  # type: ignore[misc]
    """
    A connection that belongs to one exchange at a time. After any failure it must be closed.

    connect_timeout: what connecting may take of an exchange's time, in seconds.
    met: is told which run of the server answered.
    has_input: once it is open, whether something waits to be read: the server's goodbye, or a reply
    that nobody wants.
    """

    # For one that was interrupted before it was made.
    sock: Any = None
    slot: object = None
    has_input: Callable[[], object]

    def __init__(
        self,
        server: tuple[str, int] | str,
        *,
        connect_timeout: float,
        tls_context: ssl.SSLContext | None = None,
        credentials: Secret[tuple[str, str]] | None = None,
        met: Callable[[Incarnation], object] = lambda incarnation: None,
    ) -> None:
        super().__init__(server, tls_context=tls_context, default_noreply=False)
        self.item_limit = DEFAULT_ITEM_LIMIT
        self._connect_within = connect_timeout
        self._credentials = credentials
        self._met = met
        self._opaque = 0
        self._ending = b""
        self._endings: list[bytes] = []

    def __del__(self) -> None:
        # An exchange that died between two statements leaves its connection to nobody.
        self.close()

    def open(self, deadline: Deadline) -> None:
        """
        Connect, in a part of the time: the other servers of an exchange, and the exchange itself,
        need theirs, too.
        """
        part = deadline.share(2).within(self._connect_within)
        given = part.left
        try:
            self.connect(part)
        except TimeoutError as error:
            if given < FAIR_SHARE * self._connect_within:
                raise TooLittleTime(str(error)) from error
            raise

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
        self.sock = TimedSocket(raw, deadline)
        readable = select.poll()
        readable.register(raw.fileno(), select.POLLIN)
        self.has_input = partial(readable.poll, 0)
        if isinstance(raw, ssl.SSLSocket):
            # TLS may hold what was read from the network and not yet asked for.
            self.has_input = lambda: raw.pending() or readable.poll(0)
        if self._credentials:
            self._authenticate(self._credentials)
        self.item_limit = item_limit_in(self.stats("settings"))
        self._met(incarnation_in(self.stats()))

    def _dial(self, deadline: Deadline) -> socket.socket:
        if isinstance(self.server, str):
            return dialing.connect(socket.AF_UNIX, self.server, deadline)
        host, port = self.server
        return dialing.dial(host, port, deadline, self.tls_context)

    def _authenticate(self, credentials: Secret[tuple[str, str]]) -> None:
        # Whatever interrupts it shows the view, not what it is a view of.
        self.sock.sendall(memoryview(credentials.map(authentication).reveal()))
        # A server that is no memcached may repeat what it was sent, in its complaint.
        if not without_frames(lambda: _readline(self.sock, b"")[1] == b"STORED"):
            raise MemcacheUnknownError("The server refused USERNAME and PASSWORD.")

    @property
    def is_fresh(self) -> bool:
        """
        Whether it is open, and nothing waits to be read.
        """
        return self.sock is not None and not self.has_input()

    def send(self, key: bytes, command: bytes, body: bytes, until: float, left: float) -> None:
        """
        Send a command of the meta protocol on `key`; `body` follows its line.

        until: when sending is over, and when the reply is due; so many seconds are left.
        """
        self._opaque += 1
        # What was asked for comes back in the order in which it was asked for, these last.
        self._ending = b" k%b O%d" % (key, self._opaque)
        data = b"%b k O%d\r\n%b" % (command, self._opaque, body)
        sock = self.sock
        sock.until = until
        # Nearly always it is as long as it was last time, and it takes a system call to set.
        if not 0 <= sock.time_out - left < SLACK:
            sock.set_time_out(left)
        sent = sock.raw.send(data)
        if sent < len(data):
            sock.sendall(memoryview(data)[sent:])

    def receive(self) -> Reply:
        """
        Read the reply to what was sent last.
        """
        # Nearly always all of it arrives at once.
        received = self.sock.raw.recv(RECEIVE)
        parsed = parse_reply(received, 0, self._ending, self.item_limit)
        while parsed is None:
            more = self.sock.recv(RECEIVE_MORE) if received else b""
            if not more:
                raise MemcacheUnexpectedCloseError
            received += more
            parsed = parse_reply(received, 0, self._ending, self.item_limit)
        reply, end = parsed
        if end != len(received):
            raise MemcacheUnknownError(NOT_OURS)
        return reply

    def send_all(self, questions: Sequence[Question], until: float) -> None:
        """
        Send several commands by one write. They have to be few enough for that.
        """
        self._endings, lines = [], []
        for key, command in questions:
            self._opaque += 1
            self._endings.append(b" k%b O%d" % (key, self._opaque))
            lines.append(b"%b k O%d\r\n" % (command, self._opaque))
        self.sock.until = until
        self.sock.sendall(b"".join(lines))

    def receive_all(self, until: float) -> list[Reply]:
        """
        Read the replies to what was sent by `send_all`.
        """
        replies, received, start = [], b"", 0
        self.sock.until = until
        for ending in self._endings:
            while (parsed := parse_reply(received, start, ending, self.item_limit)) is None:
                more = self.sock.recv(RECEIVE_MORE)
                if not more:
                    raise MemcacheUnexpectedCloseError
                received, start = received[start:] + more, 0
            reply, start = parsed
            replies.append(reply)
        if start != len(received):
            raise MemcacheUnknownError(NOT_OURS)
        return replies

    def dump_keys(self, patience: float) -> Iterator[bytes]:
        """
        Yield the keys that the server holds, as it writes them: percent-encoded.

        patience: seconds that it may take from one portion to the next.
        """
        self.sock.give(patience)
        # By bucket of its hash table: by LRU, an item on its way from one to another is missed.
        self.sock.sendall(b"lru_crawler metadump hash\r\n")
        rest = b""
        while True:
            # The lines of keys end in "\n", the last one in "\r\n".
            head, newline, rest = rest.partition(b"\n")
            if not newline:
                self.sock.give(patience)
                received = self.sock.recv(65536)
                if not received or len(head) > LONGEST_LINE:
                    raise MemcacheUnknownError("The server's list of keys is cut short, or none.")
                rest = head + received
            elif head.startswith(b"key="):
                yield head[4:].partition(b" ")[0]
            elif head == b"END\r":
                return
            elif head.startswith(b"BUSY"):
                raise CrawlerBusy
            else:
                raise MemcacheUnknownCommandError(head[:80].decode("ascii", "replace").strip())

    def limit(self, until: float) -> None:
        """
        Let the next read take until then.
        """
        self.sock.until = until
        self.sock.wait()
