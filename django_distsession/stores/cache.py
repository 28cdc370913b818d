"""
What a store has to offer that stands in front of a durable one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

from .abilities import Closable, Inspectable
from .contract import Token
from .operations import GeneratorStore, Operation, run
from .record import Record


class CacheStore(GeneratorStore, Inspectable, Closable):
    """
    A store that may stand in front of a durable one: it keeps `source_rev` and what follows it.
    """

    @abstractmethod
    def put_tombstone_gen(self, storage_id: str, tombstone: Record) -> Operation[None]:
        """
        Put this tombstone, with what it says of the durable store, over whatever is stored.
        """

    @abstractmethod
    def invalidate_gen(self, storage_id: str, token: Token) -> Operation[None]:
        """
        Forget the record that came with `token` without a trace. `Conflict` if it moved on.
        """

    def put_tombstone(self, storage_id: str, tombstone: Record) -> None:
        run(self.put_tombstone_gen(storage_id, tombstone))

    def invalidate(self, storage_id: str, token: Token) -> None:
        run(self.invalidate_gen(storage_id, token))

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
