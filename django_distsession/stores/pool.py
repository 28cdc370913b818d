"""
A bounded pool of connections. A full one waits instead of failing.

pymemcache's own, for one, fails at once when it is full, and loses a place for good when a
`BaseException` interrupts an exchange. Here a place is taken by a connection that somebody still
refers to, so even one that was lost between two statements gives its place back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

# A connection that was lost wakes nobody up, so whoever waits looks for himself this often.
LOOK_AGAIN = 0.05


class Connection(Protocol):
    """
    What a pool needs to know of a connection. It closes itself when nobody refers to it any more.
    """

    @property
    def is_fresh(self) -> bool:
        """
        Whether it is open, and nothing waits to be read.
        """

    def open(self) -> None:
        """
        Get ready for an exchange.
        """

    def close(self) -> None:
        """
        Close it; do nothing if that was done before.
        """


C = TypeVar("C", bound=Connection)


class Pool(Generic[C]):
    """
    connect: makes a connection that is not open yet. size: how many there may be at once.
    """

    def __init__(self, connect: Callable[[], C], size: int) -> None:
        self._connect = connect
        self._size = size
        # Appending to a deque and popping from it are atomic: who finds a connection here, or
        # gives one back, needs no lock.
        self._idle: deque[C] = deque()
        self._all: WeakSet[C] = WeakSet()
        self._given_back = threading.Condition(threading.Lock())
        self._waiting = 0
        # Of those, how many were woken once and found nothing. Nobody overtakes them again: or else
        # busy threads would hand a connection to themselves for ever.
        self._overtaken = 0

    @property
    def busy(self) -> int:
        """
        How many connections are in use.
        """
        return len(self._all) - len(self._idle)

    def acquire(self, patience: float, is_wanted: Callable[[], bool] = lambda: True) -> C:
        """
        Return an open connection. It must come back by `release` or `discard`.

        `PoolExhausted` if no place was free for `patience` seconds, `NotWanted` if it was no longer
        wanted before one was.
        """
        deadline = 0.0
        while True:
            idle = self.take(has_waited=deadline > 0)
            if idle is not None:
                return idle
            with self._given_back:
                if len(self._all) < self._size:
                    connection = self._connect()
                    self._all.add(connection)
                    break
                if not is_wanted():
                    raise NotWanted
                again, deadline = deadline > 0, deadline or time.monotonic() + patience
                if time.monotonic() > deadline:
                    raise PoolExhausted
                self._wait(again)
        try:
            connection.open()
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def take(self, *, has_waited: bool = False) -> C | None:
        """
        Return a connection that lies idle, if there is one, and nobody has waited for it longer.
        """
        while self._idle and (has_waited or not self._overtaken):
            try:
                # The youngest first: under little load the server may have closed the others.
                idle = self._idle.pop()
            except IndexError:
                # Another thread was faster.
                break
            if idle.is_fresh:
                return idle
            self.discard(idle)
        return None

    def _wait(self, again: bool) -> None:
        self._waiting += 1
        self._overtaken += again
        try:
            # Whoever gives one back appends it first and looks for who waits then.
            if not self._idle or (self._overtaken and not again):
                self._given_back.wait(LOOK_AGAIN)
        finally:
            self._overtaken -= again
            self._waiting -= 1

    def release(self, connection: C) -> None:
        """
        Take back a connection whose exchange is complete.
        """
        self._idle.append(connection)
        if self._waiting:
            with self._given_back:
                self._given_back.notify()

    def discard(self, connection: C) -> None:
        """
        Close a connection whose exchange was cut short: a late reply must meet no reader.
        """
        connection.close()
        with self._given_back:
            self._all.discard(connection)
            self._given_back.notify()

    def close(self) -> None:
        """
        Close the connections that nobody uses.
        """
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            self.discard(connection)


class PoolExhausted(Exception):
    """
    All connections were in use for longer than anybody should wait.
    """


class NotWanted(Exception):
    """
    Whoever waited for a connection has no use for one any more.
    """
