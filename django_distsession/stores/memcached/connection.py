"""
One connection to one memcached server, in two halves: send now, receive later.

pymemcache supplies connecting, TLS and reading; this adds the meta protocol, which it does not
speak, and the split that lets requests to several servers travel at once. Every reply names its
key and repeats the request's opaque token, so a reply to another request is never taken for ours.
"""

from __future__ import annotations

import ssl
from select import poll
from typing import NamedTuple

from pymemcache.client.base import Client, _readline, _readvalue
from pymemcache.exceptions import MemcacheError, MemcacheUnknownError

# What tells that a server, or the way to it, failed. ValueError: a reply that is not one.
FAILURES = (OSError, MemcacheError, ValueError)

DEFAULT_ITEM_LIMIT = 1024 * 1024
# What memcached keeps beside key and value in an item: header, cas value, terminators.
ITEM_OVERHEAD = 128


class Reply(NamedTuple):
    """
    status: "VA" (a value), "HD" (done), "EN" (no such key), "EX" (changed since), "NF" (gone),
    "NS" (not stored: it is there already). cas: the value's token, where there is one.
    """

    status: bytes
    cas: int = 0
    value: bytes = b""


class Connection(Client):  # type: ignore[misc]
    """
    A connection that belongs to one exchange at a time. After any failure it must be closed.
    """

    def __init__(
        self,
        server: tuple[str, int] | str,
        *,
        timeout: float,
        connect_timeout: float,
        tls_context: ssl.SSLContext | None = None,
        credentials: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(
            server,
            timeout=timeout,
            connect_timeout=connect_timeout,
            no_delay=True,
            tls_context=tls_context,
            default_noreply=False,
        )
        self.item_limit = DEFAULT_ITEM_LIMIT
        self._credentials = credentials
        self._opaque = 0
        self._buffer = b""
        self._key = b""
        self._readable = poll()

    def open(self) -> None:
        """
        Connect, authenticate and ask for the largest item that the server takes.
        """
        try:
            self._connect()
            self._readable = poll()
            self._readable.register(self.sock.fileno())
            if self._credentials:
                self._authenticate(*self._credentials)
            limit = self.stats("settings").get(b"item_size_max")
            self.item_limit = int(limit) if limit else DEFAULT_ITEM_LIMIT
        except BaseException:
            self.close()
            raise

    def _authenticate(self, username: str, password: str) -> None:
        # memcached's ASCII authentication (-Y): a first `set`, of any key, that holds both.
        secret = f"{username} {password}".encode()
        self.sock.sendall(b"set auth 0 0 %d\r\n%b\r\n" % (len(secret), secret))
        self._buffer, line = _readline(self.sock, b"")
        if line != b"STORED":
            raise MemcacheUnknownError("The server refused USERNAME and PASSWORD.")

    @property
    def is_fresh(self) -> bool:
        """
        Whether nothing waits to be read, neither the server's goodbye nor a reply nobody wants.
        """
        return self.sock is not None and not self._readable.poll(0)

    def send_get(self, key: bytes) -> None:
        """
        Ask for a value and its cas token.
        """
        self._opaque += 1
        self._key = key
        self.sock.sendall(b"mg %b v c k O%d\r\n" % (key, self._opaque))

    def send_set(self, key: bytes, value: bytes, ttl: int, condition: bytes = b"") -> None:
        """
        Send a value.

        ttl: as memcached takes it: seconds, or from 30 days on an absolute time.
        condition: b"" (always), b"ME" (if there is none) or b"C…" (if its cas token is this).
        """
        self._opaque += 1
        self._key = key
        self.sock.sendall(
            b"ms %b %d T%d c k O%d %b\r\n%b\r\n"
            % (key, len(value), ttl, self._opaque, condition, value)
        )

    def send_delete(self, key: bytes, condition: bytes) -> None:
        """
        Ask to delete a value, if its cas token is the one in `condition`.
        """
        self._opaque += 1
        self._key = key
        self.sock.sendall(b"md %b k O%d %b\r\n" % (key, self._opaque, condition))

    def receive(self) -> Reply:
        """
        Read the reply to what was sent last.
        """
        self._buffer, line = _readline(self.sock, self._buffer)
        self._raise_errors(line, b"meta")
        status, *flags = line.split()
        value = b""
        if status == b"VA":
            self._buffer, value = _readvalue(self.sock, self._buffer, int(flags.pop(0)))
        answers = {flag[:1]: flag[1:] for flag in flags}
        if (
            answers.get(b"O") != b"%d" % self._opaque
            or answers.get(b"k") != self._key
            or self._buffer
        ):
            raise MemcacheUnknownError("The reply belongs to another request.")
        return Reply(status, int(answers.get(b"c", 0)), value)

    def set_timeout(self, seconds: float) -> None:
        """
        Bound what the next read may take.
        """
        self.sock.settimeout(seconds)


def parse_server(server: str) -> tuple[str, int] | str:
    """
    Return what pymemcache connects to for "host:port", "[ipv6]:port" or a UNIX socket's path.
    """
    if server.startswith(("/", "unix:")):
        return server.removeprefix("unix:")
    host, _, port = server.rpartition(":")
    return host.strip("[]"), int(port)


