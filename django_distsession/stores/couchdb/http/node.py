"""
One CouchDB node: its connections, and whether it is worth asking.
"""

from __future__ import annotations

import logging
import ssl
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from typing import Any

from ... import forking
from ...circuit_breaker import CircuitBreaker
from ...deadline import Deadline
from ...pool import Pool, PoolExhausted
from .address import Address
from .connection import FAILURES, Connection, Reply
from .login import Busy, Login

logger = logging.getLogger("django_distsession.couchdb")

# What a proxy or a node says that is not fit to work; another node may be.
NOT_FIT = frozenset({502, 503, 504})


class NodeNotFit(OSError):
    """
    The node, or a gateway in front of it, says that it does not work.
    """


class Node:
    """
    Connections are made when first needed, kept, and not shared with a forked child.

    pool_size: connections at the most; who finds them all in use waits.
    time_out: seconds that the node is given for a request.
    retry_after: seconds from one probe to the next while it is down.
    by_cookie: whether to log in once instead of sending a password with each request.
    clock: monotonic, in seconds.
    """

    def __init__(
        self,
        address: Address,
        *,
        pool_size: int,
        time_out: float,
        retry_after: float,
        by_cookie: bool = False,
        tls: ssl.SSLContext | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = address.public
        # What a probe reads: of the kind that sessions need, for a node may answer while its
        # storage hangs.
        self.probed = "/"
        self._address = address
        self._pool_size = pool_size
        self._time_out = time_out
        self._retry_after = retry_after
        self._by_cookie = by_cookie
        self._tls = tls
        self._clock = clock
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Forget all connections, and how the node was doing.
        """
        # The sockets of the pool before close as it is forgotten.
        self._pool = Pool(self._connection, self._pool_size)
        self.login = Login(self._address, by_cookie=self._by_cookie)
        self.breaker = CircuitBreaker(
            self._probe,
            retry_after=self._retry_after,
            time_out=self._time_out,
            recovered=self._tell_recovery,
        )
        # Whether the last failure took as long as a time-out.
        self.hung = False
        self._down_since = 0.0

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes | None,
        deadline: Deadline,
    ) -> Reply:
        """
        Make one request. One of `FAILURES` if there is no answer; `Busy` if the node was not asked.
        """
        return self.login.ask(self._exchange, method, target, headers, body, deadline)

    def succeeded(self) -> None:
        """
        Note an answer.
        """
        if self.breaker.succeeded():
            self._tell_recovery()

    def failed(self, error: BaseException) -> None:
        """
        Note that the node could not be reached, and have it watched.
        """
        self.hung = isinstance(error, TimeoutError)
        if self.breaker.is_up:
            self._down_since = self._clock()
        if self.breaker.failed(error):
            logger.warning(
                "CouchDB at %s does not answer (%s: %s). It is watched until it does.",
                self.name,
                type(error).__name__,
                error,
            )

    def is_back_soon(self, deadline: Deadline) -> bool:
        """
        Return whether a node that hung a moment ago answers its probe, waiting for that.

        A node that has hung for longer is waited for by its watcher alone.
        """
        went_down = self._clock() - self._down_since
        return went_down < self._time_out and self.breaker.await_answer(deadline)

    def close(self) -> None:
        """
        Close all idle connections and end the watcher. The next request opens new ones.
        """
        self._pool.close()
        self.breaker.close()

    def _exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, Any],
        body: bytes | None,
        deadline: Deadline,
    ) -> Reply:
        """
        Make one request; on a connection that breaks, once more on a new one.

        Everything that the store sends may be repeated: what a write changes it names by revision.
        A time-out is not followed by another one.
        """
        try:
            return self._exchange_once(method, target, headers, body, deadline)
        except (TimeoutError, ConnectionRefusedError, ssl.SSLError):
            raise
        except FAILURES:
            # What waits in the pool is as dead as what just broke.
            self._pool.close()
            return self._exchange_once(method, target, headers, body, deadline)

    def _exchange_once(
        self,
        method: str,
        target: str,
        headers: Mapping[str, Any],
        body: bytes | None,
        deadline: Deadline,
    ) -> Reply:
        try:
            connection = self._pool.acquire(deadline)
        except PoolExhausted:
            raise Busy("all connections are in use") from None
        try:
            reply = connection.exchange(method, target, headers, body, deadline)
        except BaseException:
            # Also when a greenlet's time-out or a cancelled task interrupts: a half-read reply
            # must never answer the next request.
            self._pool.discard(connection)
            raise
        self._pool.release(connection)
        return reply

    def _connection(self) -> Connection:
        default = 443 if self._address.scheme == "https" else HTTPConnection.default_port
        return Connection(self._address.host, self._address.port or default, self._tls)

    def _probe(self, seconds: float) -> None:
        """
        Read what `probed` says. Any answer will do that comes from a CouchDB which works.
        """
        try:
            reply = self.login.ask(
                self._exchange_apart, "GET", self.probed, None, None, Deadline(seconds)
            )
            if reply.status in NOT_FIT:
                raise NodeNotFit(f"HTTP status {reply.status}")
        except FAILURES as error:
            self.hung = isinstance(error, TimeoutError)
            raise

    def _exchange_apart(
        self,
        method: str,
        target: str,
        headers: Mapping[str, Any],
        body: bytes | None,
        deadline: Deadline,
    ) -> Reply:
        """
        Make one request on a connection of its own: those of the pool may all be waiting.
        """
        connection = self._connection()
        try:
            connection.open(deadline)
            return connection.exchange(method, target, headers, body, deadline)
        finally:
            connection.close()

    def _tell_recovery(self) -> None:
        logger.warning("CouchDB at %s answers again.", self.name)
