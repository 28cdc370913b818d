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
        self._idle: deque[Connection] = deque()
        self._busy: WeakSet[Connection] = WeakSet()
        self._lock = threading.Lock()
        self._given_back = threading.Condition(self._lock)

    def acquire(self, patience: float, is_wanted: Callable[[], bool]) -> Connection | None:
        """
        Return an open connection, None if it was no longer wanted before a place was free.

        `PoolExhausted` after `patience` seconds. It must come back by `release` or `discard`.
        """
        while True:
            with self._lock:
                if len(self._busy) >= self._size and not self._wait(patience, is_wanted):
                    return None
                # The youngest first: under little load the server may have closed the others.
                connection = self._idle.pop() if self._idle else None
                is_new = connection is None
                if connection is None:
                    connection = self._connect()
                self._busy.add(connection)
            try:
                if is_new:
                    connection.open()
                    return connection
                if connection.is_fresh:
                    return connection
            except BaseException:
                self.discard(connection)
                raise
            self.discard(connection)

    def _wait(self, patience: float, is_wanted: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + patience
        while len(self._busy) >= self._size:
            if not is_wanted():
                return False
            if time.monotonic() > deadline:
                raise PoolExhausted
            self._given_back.wait(LOOK_AGAIN)
        return True

    def release(self, connection: Connection) -> None:
        """
        Take back a connection whose exchange is complete.
        """
        with self._lock:
            self._busy.discard(connection)
            self._idle.append(connection)
            self._given_back.notify()

    def discard(self, connection: Connection) -> None:
        """
        Close a connection whose exchange was cut short: a late reply must meet no reader.
        """
        connection.close()
        with self._lock:
            self._busy.discard(connection)
            self._given_back.notify()

    def close(self) -> None:
        """
        Close the connections that nobody uses.
        """
        with self._lock:
            idle, self._idle = self._idle, deque()
        for connection in idle:
            connection.close()


class PoolExhausted(Exception):
    """
    All connections were in use for longer than anybody should wait.
    """
