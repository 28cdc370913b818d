"""
The least that a session engine can do: JSON, a signature, and bare sockets below Django's own base
class. No pool, no time-outs, no errors, no versions, no merging. What is between this and one of
our engines is the price of its guarantees, and of being written in Python.
"""

from __future__ import annotations

import hmac
import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from secrets import token_hex
from typing import Any, ClassVar

from django.contrib.sessions.backends.base import SessionBase

from benchmarks.engines.sessions import session_operations
from benchmarks.floors.memcached import END, STORED, connect, receive, send
from benchmarks.operations import Operations

SECRET = b"for-benchmarks-only"
SIGNATURE_BYTES = 32

to_json = json.JSONEncoder(separators=(",", ":")).encode


@contextmanager
def signed_memcached(addresses: Sequence[str]) -> Iterator[Operations]:
    """
    To several servers the requests are all written before any reply is read.
    """
    with ExitStack() as stack:
        opened = [stack.enter_context(connect(address)) for address in addresses]

        class SessionStore(SignedSession):
            sockets = opened

        yield session_operations(SessionStore)


class SignedSession(SessionBase):
    """
    tokens: the cas values of what was loaded.
    """

    sockets: ClassVar[Sequence[socket.socket]]
    tokens: Sequence[bytes] = ()

    def load(self) -> dict[str, Any]:
        """
        Read from all servers, and take the first one's word for it.
        """
        key = self._storage_id()
        send(self.sockets, b"gets %b\r\n" % key)
        replies = [reply.partition(b"\r\n") for reply in receive(self.sockets, END)]
        # VALUE <key> <flags> <bytes> <cas>
        self.tokens = [line.split()[4] for line, _, _ in replies]
        value = replies[0][2][: -len(b"\r\n" + END)]
        signature, data = value[:SIGNATURE_BYTES], value[SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, hmac.digest(SECRET, key + data, "sha256")):
            raise RuntimeError("The signature does not match.")
        values: dict[str, Any] = json.loads(data)
        return values

    def create(self) -> None:
        """
        Write to all servers under a new key.
        """
        self._session_key = token_hex(16)
        self.save(must_create=True)

    def save(self, must_create: bool = False) -> None:
        """
        Write to all servers: over anything, or over what was loaded.
        """
        key = self._storage_id()
        data = to_json(self._get_session(no_load=must_create)).encode()  # type: ignore[attr-defined]
        value = hmac.digest(SECRET, key + data, "sha256") + data
        if must_create:
            send(self.sockets, b"set %b 0 0 %d\r\n%b\r\n" % (key, len(value), value))
        for connection, token in zip(self.sockets, self.tokens, strict=False):
            connection.sendall(b"cas %b 0 0 %d %b\r\n%b\r\n" % (key, len(value), token, value))
        receive(self.sockets, STORED)

    def _storage_id(self) -> bytes:
        return sha256((self.session_key or "").encode()).hexdigest().encode()
