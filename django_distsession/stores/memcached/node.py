"""
One configured memcached server: its connections, its health, and what became of writes to it.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

from ...exceptions import StoreUnavailable
from .. import forking
from ..circuit_breaker import CircuitBreaker
from ..deadline import Deadline
from ..pool import NotWanted, Pool, PoolExhausted
from .connection import FAILURES, FAIR_SHARE, Connection, TooLittleTime

logger = logging.getLogger("django_distsession.memcached")

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
    ) -> None:
        self.name = name
        # Called when the server answers again, in the thread that noticed.
        self.listeners: list[Callable[[], object]] = []
        self._timeout = timeout
        self._connect = connect
        self._pool_size = pool_size
        self._retry_after = retry_after
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Forget all connections, and how the server was doing.
        """
        # Sockets close as the pool is forgotten.
        self.breaker = CircuitBreaker(
            self._probe,
            retry_after=self._retry_after,
            time_out=self._timeout,
            recovered=self._note_recovery,
        )
        self._pool = Pool(self._connect, self._pool_size)
        self._latency: float | None = None
        self._written = self._missed = self._repaired = 0
        self._counting = threading.Lock()

    def is_up(self) -> bool:
        """
        Whether it answered last time.
        """
        return self.breaker.is_up

    def up_since(self) -> float:
        """
        Return since when it has answered, in seconds since the epoch: 0.0 if it always has,
        infinity if it does not now.
        """
        return self.breaker.up_since if self.breaker.is_up else math.inf

    def is_worth_a_write(self) -> bool:
        """
        Whether to tell it what changed: also where it failed at once last time, since it costs no
        time to ask again, and a server that is back by now misses nothing.
        """
        return self.breaker.is_up or not self.breaker.is_hung

    def await_answer(self, deadline: Deadline) -> None:
        """
        Wait for it if it hangs, since nobody else knows: it may be about to answer its watcher.
        """
        if not self.is_worth_a_write():
            # In half of the time, since whoever is asked after that has to answer in the rest.
            self.breaker.await_answer(deadline.share(2))

    def is_known_empty(self) -> bool:
        """
        Whether nobody listens there any more, so that whatever the server held is gone with it.
        """
        return not self.breaker.is_up and self.breaker.is_refusing

    def take(self, deadline: Deadline) -> Connection | None:
        """
        Return a connection that nobody else uses; None if there is none to be had.

        It must come back by `release`, `broke`, `refused` or `discard`.
        """
        # Nearly always one lies idle.
        idle = self._pool.take()
        if idle is not None:
            return idle
        try:
            return self.acquire(deadline)
        except TooLittleTime as error:
            self.breaker.note(error)
            return None
        except FAILURES as error:
            self.failed(error)
            return None

    def acquire(self, deadline: Deadline) -> Connection | None:
        """
        As `take`, but raises what happens.
        """
        try:
            return self._pool.acquire(deadline, self.is_up)
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
        if not self.breaker.is_up and self.breaker.succeeded():
            self._note_recovery()

    def discard(self, connection: Connection) -> None:
        """
        Close a connection whose exchange was cut short: a late reply must meet no reader.
        """
        self._pool.discard(connection)

    def broke(self, connection: Connection, error: BaseException, given: float) -> None:
        """
        Take back a connection whose exchange failed. given: the seconds that it had.
        """
        self._pool.discard(connection)
        if isinstance(error, TimeoutError) and given < FAIR_SHARE * self._timeout:
            self.breaker.note(error)
        else:
            self.failed(error)

    def failed(self, error: BaseException) -> None:
        """
        Note that the server did not answer. Logged once per outage.
        """
        if self.breaker.failed(error):
            # What waits in the pool is as dead as what just failed.
            self._pool.close()
            logger.warning(
                "memcached at %s does not answer (%s). It is left out until it does.",
                self.name,
                type(error).__name__,
            )

    def refused(self, connection: Connection, error: BaseException) -> None:
        """
        Take back a connection of a server that answered, but could not do what it was asked.
        """
        self._pool.discard(connection)
        if self.breaker.succeeded():
            self._note_recovery()
        self.breaker.note(error)
        logger.error("memcached at %s refuses: %s. Does it need more memory?", self.name, error)

    def _probe(self, seconds: float) -> None:
        # Connecting asks a first question.
        connection = self._connect()
        try:
            connection.connect(Deadline(seconds))
        finally:
            connection.close()

    def _note_recovery(self) -> None:
        logger.warning("memcached at %s answers again.", self.name)
        for listener in self.listeners:
            listener()

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
        health = self.breaker.status()
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
        Close the connections that nobody uses, and end the watcher.
        """
        self._pool.close()
        self.breaker.close()
