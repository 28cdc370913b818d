"""
One CouchDB node, as one user: its connections, and requests over them.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping
from functools import partial

from ....clock import SYSTEM_CLOCK, Clock
from ....observing import Tell
from ... import forking
from ...deadline import Deadline
from ...pool import Pool, PoolExhausted
from .address import Address
from .connection import FAILURES, Connection, Reply
from .health import Health
from .login import Busy, CookieLogin

# What a proxy or a node says that is not fit to work; another node may be.
NOT_FIT = frozenset({502, 503, 504})

# A connection that fails with these is not followed by another one.
FINAL_FAILURES = (TimeoutError, ConnectionRefusedError, ssl.SSLError)


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
    tell: for reports; None if nobody wants them.
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
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = address.public
        # Nothing here refers back to the node: whoever forgets it closes its connections at once.
        self._connect = partial(Connection, address, tls)
        self._pool_size = pool_size
        self._basic = address.basic
        self.login = CookieLogin(address) if by_cookie and address.credentials else None
        self.prober = Prober(self._connect, self.login, self._basic, clock)
        # May be that of another node object, for the same server.
        self.health = Health(
            self.name,
            self.prober.probe,
            retry_after=retry_after,
            time_out=time_out,
            tell=tell,
            clock=clock,
        )
        forking.register(self)

    def reset_after_fork(self) -> None:
        # The sockets of the pool before close as it is forgotten.
        self._pool = Pool(self._connect, self._pool_size)

    def request(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes | memoryview | None,
        deadline: Deadline,
        login: memoryview | None = None,
    ) -> Reply:
        """
        Make one request; on a connection that breaks, once more on a new one. One of `FAILURES` if
        there is no answer; `Busy` if the node was not asked.

        Everything that the store sends may be repeated: what a write changes it names by revision.

        login: the header that says who makes it; None: the user of the address.
        """
        if login is None:
            if self.login is not None:
                return self.login.ask(self.request, method, target, headers, body, deadline)
            login = self._basic
        for is_last in (False, True):
            connection = None
            try:
                connection = self._pool.acquire(deadline)
                reply = connection.exchange(method, target, headers, body, deadline, login)
            except BaseException as error:
                # Also when a greenlet's time-out or a cancelled task interrupts: a half-read reply
                # must never answer the next request.
                if connection is not None:
                    self._pool.discard(connection)
                if isinstance(error, PoolExhausted):
                    raise Busy("all connections are in use") from None
                if is_last or isinstance(error, FINAL_FAILURES) or not isinstance(error, FAILURES):
                    raise
                # What waits in the pool is as dead as what just broke.
                self._pool.close()
            else:
                self._pool.release(connection)
                return reply
        raise AssertionError

    def close(self) -> None:
        """
        Close all idle connections and end the watcher. The next request opens new ones.
        """
        self._pool.close()
        self.health.breaker.close()


class Prober:
    """
    Asks a node whether it works, on connections of its own: those of the pool may all be waiting.

    login: None where `basic`, a header, says who asks.
    path: what is read. Of the kind that sessions need, for a node may answer while its storage
    hangs.
    """

    def __init__(
        self,
        connect: Callable[[], Connection],
        login: CookieLogin | None,
        basic: memoryview,
        clock: Clock,
    ) -> None:
        self.path = "/"
        self._connect = connect
        self._login = login
        self._basic = basic
        self._clock = clock

    def probe(self, seconds: float) -> None:
        """
        Return if the node works: any answer will do that comes from a CouchDB which does.
        """
        deadline = Deadline(seconds, self._clock.monotonic)
        if self._login is not None:
            reply = self._login.ask(self._exchange, "GET", self.path, None, None, deadline)
        else:
            reply = self._exchange("GET", self.path, None, None, deadline, self._basic)
        if reply.status_code in NOT_FIT:
            raise NodeNotFit(f"HTTP status {reply.status_code}")

    def _exchange(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None,
        body: bytes | memoryview | None,
        deadline: Deadline,
        login: memoryview,
    ) -> Reply:
        connection = self._connect()
        try:
            connection.open(deadline)
            return connection.exchange(method, target, headers, body, deadline, login)
        finally:
            connection.close()
