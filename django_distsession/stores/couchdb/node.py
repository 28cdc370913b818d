"""
One CouchDB node: its connections, its health, and who we are there.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from http.client import HTTPConnection
from http.cookies import CookieError, SimpleCookie

from ...secret import Secret
from .. import forking
from ..deadline import Deadline
from ..health import Health
from ..pool import Pool, PoolExhausted
from .address import Address
from .connection import FAILURES, Connection, Reply

COOKIE = "AuthSession"


class Node:
    """
    Connections are made when first needed, kept, and not shared with a forked child.

    pool_size: connections at the most; who finds them all in use waits.
    retry_after: seconds until a node that hung is asked again.
    """

    def __init__(
        self,
        address: Address,
        *,
        pool_size: int,
        retry_after: float,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.address = address
        self.name = address.public
        # Whether the last failure took as long as a time-out.
        self.hung = False
        self.cookie: Secret[str] | None = None
        self._pool_size = pool_size
        self._retry_after = retry_after
        self._tls = tls
        forking.begin(self)

    def start_anew(self) -> None:
        """
        Forget all connections, and how the node was doing.
        """
        # The sockets of the pool before close as it is forgotten.
        self.health = Health(self._retry_after)
        self._pool = Pool(self._connection, self._pool_size)
        self.cookie_lock = threading.Lock()

    def exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Reply:
        """
        Make one request; on a connection that breaks, once more on a new one.

        Everything that the store sends may be repeated: what a write changes it names by revision.
        A time-out is not followed by another one.
        """
        try:
            return self._exchange(method, target, headers, body, timeout)
        except (TimeoutError, ConnectionRefusedError, ssl.SSLError):
            raise
        except FAILURES:
            # What waits in the pool is as dead as what just broke.
            self.close()
            return self._exchange(method, target, headers, body, timeout)

    def _exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        timeout: float,
    ) -> Reply:
        try:
            connection = self._pool.acquire(Deadline(timeout))
        except PoolExhausted:
            raise TimeoutError("all connections are in use") from None
        try:
            reply = connection.exchange(method, target, headers, body, timeout)
        except BaseException:
            # Also when a greenlet's time-out or a cancelled task interrupts: a half-read reply
            # must never answer the next request.
            self._pool.discard(connection)
            raise
        self._pool.release(connection)
        return reply

    def _connection(self) -> Connection:
        return Connection(self.address.host, self.address.port or self._default_port, self._tls)

    @property
    def _default_port(self) -> int:
        return 443 if self.address.scheme == "https" else HTTPConnection.default_port

    def note_failure(self, error: BaseException) -> None:
        """
        Mark the node down for a while.
        """
        self.hung = isinstance(error, TimeoutError)
        self.health.failed(error)

    def take_cookie(self, reply: Reply) -> None:
        """
        Keep the authentication cookie that came with a reply, if one did.
        """
        for header in reply.headers.get_all("Set-Cookie", ()):
            try:
                morsel = SimpleCookie(header).get(COOKIE)
            except CookieError:
                continue
            if morsel is not None and morsel.value:
                self.cookie = Secret(f"{COOKIE}={morsel.value}")

    def close(self) -> None:
        """
        Close all idle connections. The next request opens new ones.
        """
        self._pool.close()
