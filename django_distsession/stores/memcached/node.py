"""
One configured memcached server: its connections, its health, and what became of writes to it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ...exceptions import StoreUnavailable
from .. import forking
from ..health import Health
from ..pool import NotWanted, Pool, PoolExhausted
from .connection import Connection, Refused

logger = logging.getLogger("django_distsession.memcached")

# How long a request waits for a place in a full pool: as many time-outs, and no less than seconds.
PATIENCE, LEAST_PATIENCE = 20, 5.0

# The weight of the latest exchange in the average latency.
LATEST = 0.1


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """
    How a server is doing, as this process sees it.

    server: as the settings write it. up, since: whether it answers, and since when, in seconds
    since the epoch. last_error: also of an outage that is over.
    latency: seconds that exchanges take on average; None before the first.
    written, missed: writes that it took, and that it should have taken and did not.
    repaired: copies that were written to it because it lacked them or held older ones.
    """

    server: str
    up: bool
    since: float
    last_error: str | None
    latency: float | None
    written: int
    missed: int
    repaired: int


class Node:
    """
    A server and its pool. name: the server as the settings write it.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        *,
        pool_size: int,
        retry_after: float,
        timeout: float,
        connect_timeout: float = 0.0,
    ) -> None:
        self.name = name
        self.timeout = timeout
        self._connect = connect
        self._pool_size = pool_size
        self._retry_after = retry_after
        self._patience = max(PATIENCE * timeout, LEAST_PATIENCE)
        # Connecting, the first question, the exchange itself, and as much again.
        self._longest_probe = 2 * (connect_timeout + 2 * timeout)
        forking.begin(self)

    def start_anew(self) -> None:
        """
        Forget all connections, and how the server was doing.
        """
        # In a forked child another thread may have held the pool's lock, so the pool is not asked
        # to close: its sockets close as it is forgotten.
        self.health = Health(self._retry_after, self._longest_probe)
        self._pool = Pool(self._connect, self._pool_size)
        self._latency: float | None = None
        self._written = self._missed = self._repaired = 0
        self._counting = threading.Lock()

    def take(self) -> Connection | None:
        """
        Return a connection that nobody else uses; None if the server counts as down.

        It must come back by `release`, `broke` or `discard`.
        """
        if not (self.health.is_up or self.health.admits()):
            return None
        # Nearly always one lies idle, and there is no need to say how long to wait.
        return self._pool.take() or self.acquire()

    def acquire(self) -> Connection | None:
        """
        As `take`, without asking first whether the server is up.
        """
        try:
            return self._pool.acquire(self._patience, lambda: self.health.is_up)
        except NotWanted:
            return None
        except PoolExhausted:
            raise StoreUnavailable(
                f"All {self._pool_size} connections to memcached at {self.name} are in use. "
                'Raise DISTSESSION["MEMCACHED"]["POOL_SIZE"] to the number of threads.'
            ) from None

    def release(self, connection: Connection, latency: float | None = None) -> None:
        """
        Take back a connection whose exchange is complete, and took `latency` seconds.
        """
        self._pool.release(connection)
        if latency is None:
            return
        known = self._latency
        self._latency = latency if known is None else known + LATEST * (latency - known)
        if not self.health.is_up and self.health.succeeded():
            logger.warning("memcached at %s answers again.", self.name)

    def discard(self, connection: Connection) -> None:
        """
        Close a connection whose exchange was cut short: a late reply must meet no reader.
        """
        self._pool.discard(connection)

    def broke(self, connection: Connection, error: BaseException) -> None:
        """
        Take back a connection whose exchange failed.
        """
        self._pool.discard(connection)
        if isinstance(error, Refused):
            self.refused(error)
        else:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """
        Note that the server did not answer. Logged once per outage.
        """
        if self.health.failed(error):
            # What waits in the pool is as dead as what just failed.
            self.close()
            logger.warning(
                "memcached at %s does not answer (%s). It is left out until it does.",
                self.name,
                type(error).__name__,
            )

    def refused(self, error: BaseException) -> None:
        """
        Note that the server answered, but could not do what it was asked.
        """
        self.health.succeeded()
        self.health.note(error)
        logger.error("memcached at %s refuses: %s. Does it need more memory?", self.name, error)

    def count_write(self, reached: bool, taken: bool, repair: bool) -> None:
        """
        Count a write that this server took, that did not reach it, or that lost a race.
        """
        with self._counting:
            self._missed += not reached
            self._written += taken
            self._repaired += taken and repair

    def status(self) -> NodeStatus:
        """
        Tell how the server is doing.
        """
        health = self.health.status()
        return NodeStatus(
            self.name,
            health.up,
            health.since,
            health.last_error,
            self._latency,
            self._written,
            self._missed,
            self._repaired,
        )

    def close(self) -> None:
        """
        Close the connections that nobody uses.
        """
        self._pool.close()
