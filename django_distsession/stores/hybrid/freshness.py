"""
Whether a copy in the cache is believed without asking the durable store.

A copy that the cache comes back with may be older than a write that reached the durable store
alone, however fresh it seems. So whoever reads such a session asks the durable store, until both
are known to hold the same.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from ...clock import SYSTEM_CLOCK, Clock
from ..cache import CacheStore
from ..record import Record

# Writes that are remembered as missed by the cache. Some 200 bytes each.
LIMIT = 10_000

# Copies note in whole seconds, and by the clock of the host that made them, when they were
# validated. Hosts whose clocks differ by no more than this, in seconds, agree on what came first.
CLOCK_TOLERANCE = 5.0


class Miss(NamedTuple):
    """
    number: tells it from later ones of the same session. at: seconds since the epoch.
    """

    number: int
    at: float


class Checkpoint(NamedTuple):
    """
    What was known just before the durable store was asked: what it says is no older than that.

    at: in whole seconds since the epoch. miss: the latest write that the cache lacked.
    """

    at: int
    miss: Miss | None


class MissedWrites:
    """
    Which sessions this process has written to the durable store while the cache could not be told.

    Made of a dictionary whose single operations are atomic, so there is no lock that an
    interrupted thread could hold. A forked child goes on knowing what its parent knew.

    lasts: seconds after which no copy in the cache is believed in any case.
    limit: sessions at the most. Past it, all copies of that time count as outdated.
    """

    def __init__(self, lasts: float, *, limit: int = LIMIT, clock: Clock = SYSTEM_CLOCK) -> None:
        self._lasts = lasts + CLOCK_TOLERANCE
        self._limit = limit
        self._clock = clock
        self._missed: dict[str, Miss] = {}
        self._numbers = itertools.count()
        # Copies that were validated before that may lack any write.
        self._overflowed_at = 0.0

    def add(self, storage_id: str) -> None:
        """
        Remember that a write of this session did not reach the cache.
        """
        # Again at the end: in the order of time.
        self._missed.pop(storage_id, None)
        now = self._clock.now()
        if len(self._missed) >= self._limit:
            self._make_room(now)
        self._missed[storage_id] = Miss(next(self._numbers), now)

    def add_interrupted(self, storage_id: str, interruption: BaseException) -> None:
        """
        Remember a write that was cancelled, or interrupted, before the cache was told. An error
        tells that there was no write.
        """
        if not isinstance(interruption, Exception):
            self.add(storage_id)

    def checkpoint(self, storage_id: str) -> Checkpoint:
        """
        Return what is known now: to be called before the durable store is asked.

        Taken afterwards, a process that is held up between its two requests would pass off an
        old copy as a fresh one.
        """
        return Checkpoint(int(self._clock.now()), self._missed.get(storage_id))

    def resolve(self, storage_id: str, miss: Miss | None) -> None:
        """
        Forget a miss, since both stores were brought to one state after it.
        """
        if miss is not None and self._missed.get(storage_id) is miss:
            self._missed.pop(storage_id, None)

    def is_outdated(self, storage_id: str, validated_at: int) -> bool:
        """
        Whether a copy lacks a write of this process, as far as clocks can tell.

        validated_at: when the durable store last confirmed it, in seconds since the epoch.
        """
        miss = self._missed.get(storage_id)
        return miss is not None and validated_at < miss.at + CLOCK_TOLERANCE

    def may_be_outdated(self, storage_id: str, validated_at: int) -> bool:
        """
        Whether a copy lacks a write of this process, or may lack one that it has forgotten.
        """
        if self._overflowed_at and validated_at < self._overflowed_at + CLOCK_TOLERANCE:
            return True
        return storage_id in self._missed and self.is_outdated(storage_id, validated_at)

    def ids(self) -> list[str]:
        """
        Return the sessions, the one that was missed first at the head.
        """
        return list(self._missed)

    def _make_room(self, now: float) -> None:
        for storage_id, miss in list(self._missed.items()):
            if now - miss.at <= self._lasts:
                break
            self._missed.pop(storage_id, None)
        if len(self._missed) >= self._limit:
            # In this order, lest a reader between the two believe anything.
            self._overflowed_at = now
            self._missed.clear()


class Freshness:
    """
    revalidate_after: seconds.
    """

    def __init__(
        self, cache: CacheStore, revalidate_after: float, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._cache = cache
        self._revalidate_after = revalidate_after
        self._clock = clock
        self.missed = MissedWrites(revalidate_after, clock=clock)

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
        if self._clock.now() - record.validated_at >= self._revalidate_after:
            return False
        if self.missed.may_be_outdated(storage_id, record.validated_at):
            return False
        since = self._cache.reachable_since(storage_id)
        return not since or record.validated_at >= since + CLOCK_TOLERANCE
