"""
A bounded pool of connections. A full one waits instead of failing.

pymemcache's own fails at once when it is full, and loses a place for good when a `BaseException`
interrupts an exchange. Here a place is taken by a connection that somebody still refers to, so
even one that was lost between two statements gives its place back.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakSet

from .connection import Connection

# A connection that was lost wakes nobody up, so whoever waits looks for himself this often.
LOOK_AGAIN = 0.05


class Pool:
    """
    connect: makes a connection that is not open yet. size: how many there may be at once.
    """

    def __init__(self, connect: Callable[[], Connection], size: int) -> None:
        self._connect = connect
        self._size = size
        # Appending to a deque and popping from it are atomic: who finds a connection here, or
        # gives one back, needs no lock.
        self._idle: deque[Connection] = deque()
        self._all: WeakSet[Connection] = WeakSet()
        self._given_back = threading.Condition(threading.Lock())
        self._waiting = 0

    @property
    def busy(self) -> int:
        """
        How many connections are in use.
        """
        return len(self._all) - len(self._idle)

    def acquire(self, patience: float, is_wanted: Callable[[], bool]) -> Connection | None:
        """
        Return an open connection, None if it was no longer wanted before a place was free.

        `PoolExhausted` after `patience` seconds. It must come back by `release` or `discard`.
        """
        deadline = 0.0
        while True:
            while self._idle:
                try:
                    # The youngest first: under little load the server may have closed the others.
                    idle = self._idle.pop()
                except IndexError:
                    # Another thread was faster.
                    break
                if idle.is_fresh:
                    return idle
                self.discard(idle)
            with self._given_back:
                if len(self._all) < self._size:
                    connection = self._connect()
                    self._all.add(connection)
                    break
                if not is_wanted():
                    return None
                deadline = deadline or time.monotonic() + patience
                if time.monotonic() > deadline:
                    raise PoolExhausted
                self._wait()
        try:
            connection.open()
        except BaseException:
            self.discard(connection)
            raise
        return connection

    def _wait(self) -> None:
        self._waiting += 1
        try:
            # Whoever gives one back appends it first and looks for who waits then.
            if not self._idle:
                self._given_back.wait(LOOK_AGAIN)
        finally:
            self._waiting -= 1

    def release(self, connection: Connection) -> None:
        """
        Take back a connection whose exchange is complete.
        """
        self._idle.append(connection)
        if self._waiting:
            with self._given_back:
                self._given_back.notify()

    def discard(self, connection: Connection) -> None:
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
