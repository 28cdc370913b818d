"""
Whether a copy in the cache is to be believed without asking the durable store.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from ..cache import CacheStore
from ..record import Record
from .missed_writes import CLOCK_TOLERANCE, Miss, MissedWrites


class Asked(NamedTuple):
    """
    What was known before the durable store was asked for a session.

    at: in whole seconds since the epoch. miss: the latest write that the cache lacked then.
    """

    at: int
    miss: Miss | None


class Freshness:
    """
    revalidate_after: seconds.
    """

    def __init__(
        self,
        cache: CacheStore,
        revalidate_after: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._revalidate_after = revalidate_after
        self._clock = clock
        self.missed = MissedWrites(revalidate_after, clock=clock)

    def asking(self, storage_id: str) -> Asked:
        """
        Note when the durable store is asked: to be called before it is.

        Taken afterwards, a process that is held up between its two requests would pass off an
        old copy as a fresh one.
        """
        return Asked(int(self._clock()), self.missed.of(storage_id))

    def is_fresh(self, storage_id: str, record: Record) -> bool:
        """
        Whether to believe a copy: the durable store confirmed it less than `revalidate_after`
        seconds ago, and since then no write of the session can have missed all of the cache, as
        far as this process knows.
        """
        if record.unsynced:
            return False
        if record.ended:
            # Ended is final: no store can know better.
            return True
        if self._clock() - record.validated_at >= self._revalidate_after:
            return False
        if self.missed.may_lack(storage_id, record.validated_at):
            return False
        since = self._cache.reachable_since(storage_id)
        return not since or record.validated_at >= since + CLOCK_TOLERANCE
