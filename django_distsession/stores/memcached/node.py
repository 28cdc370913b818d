"""
One configured memcached server: its connections and its health.
"""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable

from ...exceptions import StoreUnavailable
from ..health import Health
from .connection import Connection

logger = logging.getLogger("django_distsession.memcached")

_nodes: weakref.WeakSet[Node] = weakref.WeakSet()


class Node:
    """
    A server and a bounded pool of connections to it. A full pool waits instead of failing.

    name: the server as the settings write it.
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
        self.timeout = timeout
        self.item_limit: int | None = None
        self._connect = connect
        self._pool_size = pool_size
        self._retry_after = retry_after
        self._reset()
        _nodes.add(self)

    def _reset(self) -> None:
        self.health = Health(self._retry_after)
        self._idle: deque[Connection] = deque()
        self._slots = threading.BoundedSemaphore(self._pool_size)

    def acquire(self) -> Connection:
        """
        Return a connection that nobody else uses. It must come back by `release` or `discard`.
        """
        if not self._slots.acquire(timeout=self.timeout):
            raise StoreUnavailable(
                f"All {self._pool_size} connections to memcached at {self.name} are in use. "
                'Raise DISTSESSION["MEMCACHED"]["POOL_SIZE"] to the number of threads.'
            )
        try:
            while self._idle:
                # The youngest first: under little load the others may be closed by the server.
                connection = self._idle.pop()
                if connection.is_fresh:
                    return connection
                connection.close()
            connection = self._connect()
            connection.open()
            self.item_limit = connection.item_limit
            return connection
        except BaseException:
            self._slots.release()
            raise

    def release(self, connection: Connection) -> None:
        """
        Take back a connection whose exchange is complete.
        """
        self._idle.append(connection)
        self._slots.release()
        if self.health.succeeded():
            logger.warning("memcached at %s answers again.", self.name)

    def discard(self, connection: Connection) -> None:
        """
        Close a connection whose exchange was cut short: a late reply must meet no reader.
        """
        connection.close()
        self._slots.release()

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

    def close(self) -> None:
        """
        Close the connections that nobody uses.
        """
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:
                return
            connection.close()

    def after_fork(self) -> None:
        """
        Start anew in a child process: sockets that two processes read from mix up their replies.
        """
        self.close()
        self._reset()


def _after_fork_in_child() -> None:
    for node in list(_nodes):
        node.after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)
