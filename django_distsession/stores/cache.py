"""
What a store has to offer that stands in front of a durable one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from .abilities import Closable, Inspectable, Refreshable
from .contract import Store, Token
from .record import Record


@runtime_checkable
class CacheStore(Store, Refreshable, Inspectable, Closable, Protocol):
    """
    A store that may stand in front of a durable one: it keeps `source_rev` and what follows it.
    """

    @abstractmethod
    def put_tombstone(self, storage_id: str, tombstone: Record) -> None:
        """
        Put this tombstone, with what it says of the durable store, over whatever is stored.
        """

    @abstractmethod
    def invalidate(self, storage_id: str, token: Token) -> None:
        """
        Forget the record that came with `token` without a trace. `Conflict` if it moved on.
        """

    def reachable_since(self, storage_id: str) -> float:
        """
        Tell since when this process has been able to write the session here, without a break that
        it noticed: seconds since the epoch, 0.0 if there was none, infinity if it is not able to.

        A write at an earlier time may have reached the durable store alone. Asks no server.
        """
        return 0.0

    def on_recovery(self, listener: Callable[[], object]) -> None:
        """
        Have `listener` called whenever a server is found to be back, in whatever thread that is.
        """
