"""
One configured memcached server: its connections, its health, and what became of writes to it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from ...clock import SYSTEM_CLOCK, Clock
from ...exceptions import StoreUnavailable
from ...observing import ServerDown, ServerUp, Tell
from .. import forking
from ..circuit_breaker import CircuitBreaker
from ..deadline import Deadline
from ..loops import PerLoop
from ..operations import Operation
from ..pool import NotWanted, Pool, PoolExhausted
from .channel import Channel
from .connection import FAILURES, FAIR_SHARE, Connection, TooLittleTime
from .protocol import REFUSED, Incarnation, Reply, ServerError

logger = logging.getLogger("django_distsession.memcached")

# What the store is called in reports.
STORE = "memcached"

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


class Restarts:
    """
    count: how many restarts of servers this process has noticed. A server that restarted counts
    its cas tokens anew, so one from before may fit another record by chance. Whoever writes by a
    token asks whether any server restarted since it was read.
    """

    count = 0


class Node:
    """
    A server: its health and its counts, which whatever speaks to it keeps; its pool of connections
    that block; and its channel, the connection of each event loop.

    name: the server as the settings write it. restarts: of all servers of a store. tell: for
    reports; None if nobody wants them.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[..., Connection],
        open_channel: Callable[..., Channel],
        *,
        pool_size: int,
        retry_after: float,
        timeout: float,
        restarts: Restarts,
        tell: Tell | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = name
        self.tell = tell
        self.clock = clock
        # Called when the server answers again, in the thread that noticed.
        self.listeners: list[Callable[[], object]] = []
        self._timeout = timeout
        self._connect: Callable[[], Connection] = partial(connect, met=self._meet)
        self._pool_size = pool_size
        self._retry_after = retry_after
        self.channel = PerLoop(partial(open_channel, met=self._meet))
        self.restarts = restarts
        self._incarnation: Incarnation | None = None
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
            clock=self.clock,
        )
        self.pool = Pool(self._connect, self._pool_size)
        self._latency: float | None = None
        # For people, and not worth a lock: where threads count at once, one may be lost.
        self.written = self.missed = self.repaired = 0

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

    def await_answer_gen(self, until: float) -> Operation[bool]:
        """
        Wait for it, as it hangs and nobody else knows: it may be about to answer its watcher.
        """
        monotonic = self.clock.monotonic
        # In half of the time, since whoever is asked after that has to answer in the rest.
        return self.breaker.await_answer_gen(Deadline((until - monotonic()) / 2, monotonic))

    def is_known_empty(self) -> bool:
        """
        Whether nobody listens there any more, so that whatever the server held is gone with it.
        """
        return not self.breaker.is_up and self.breaker.is_refusing

    def take(self, until: float, instead_of: Connection | None = None) -> Connection | None:
        """
        Return a connection that is fresh, opened or waited for; None if there is none to be had.

        It must go back to the pool, or be discarded. instead_of: one that is not fresh any more.
        """
        if instead_of is not None:
            self.pool.discard(instead_of)
        monotonic = self.clock.monotonic
        try:
            return self.acquire(Deadline(until - monotonic(), monotonic))
        except FAILURES as error:
            self.failed(error)
            return None

    def acquire(self, deadline: Deadline) -> Connection | None:
        """
        As `take`, but raises what happens.
        """
        try:
            return self.pool.acquire(deadline, self.is_up)
        except NotWanted:
            return None
        except PoolExhausted:
            raise StoreUnavailable(
                f"All {self._pool_size} connections to memcached at {self.name} are in use. "
                'Raise DISTSESSION["MEMCACHED"]["POOL_SIZE"] to the number of threads.'
            ) from None

    def answered(self, seconds: float) -> None:
        """
        Note an answer that took so long.
        """
        known = self._latency
        self._latency = seconds if known is None else known + LATEST * (seconds - known)
        if not self.breaker.is_up and self.breaker.succeeded():
            self._note_recovery()

    def failed(self, error: BaseException, given: float = math.inf) -> None:
        """
        Note that the server did not answer in the seconds that it was given. Logged once per
        outage.
        """
        if isinstance(error, TooLittleTime) or (
            isinstance(error, TimeoutError) and given < FAIR_SHARE * self._timeout
        ):
            self.breaker.note(error)
        elif self.breaker.failed(error):
            # What waits in the pool is as dead as what just failed.
            self.pool.close()
            logger.warning(
                "memcached at %s does not answer (%s). It is left out until it does.",
                self.name,
                type(error).__name__,
            )
            if self.tell:
                self.tell(ServerDown(STORE, self.name, type(error).__name__))

    def no_answer(self, error: BaseException, given: float) -> Reply | None:
        """
        Note what came instead of an answer, and return what that counts as.
        """
        if isinstance(error, ServerError):
            self.refused(error)
            return Reply(REFUSED)
        self.failed(error, given)
        return None

    def refused(self, error: BaseException) -> None:
        """
        Note that the server answered, but could not do what it was asked.
        """
        if self.breaker.succeeded():
            self._note_recovery()
        self.breaker.note(error)
        logger.error("memcached at %s refuses: %s. Does it need more memory?", self.name, error)

    def _meet(self, incarnation: Incarnation) -> None:
        known, self._incarnation = self._incarnation, incarnation
        if known not in (None, incarnation):
            self.restarts.count += 1

    def _probe(self, seconds: float) -> None:
        # Connecting asks a first question.
        connection = self._connect()
        try:
            connection.connect(Deadline(seconds, self.clock.monotonic))
        finally:
            connection.close()

    def _note_recovery(self) -> None:
        logger.warning("memcached at %s answers again.", self.name)
        if self.tell:
            self.tell(ServerUp(STORE, self.name))
        for listener in self.listeners:
            listener()

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
            self.written,
            self.missed,
            self.repaired,
        )

    def close(self) -> None:
        """
        Close the connections that nobody uses, and end the watcher.
        """
        self.pool.close()
        self.channel.close()
        self.breaker.close()
