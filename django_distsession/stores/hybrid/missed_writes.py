"""
Which sessions a process has written to the durable store while the cache could not be told.

A copy that the cache comes back with may be older than such a write, however fresh it seems. So
whoever reads the session asks the durable store, until both are known to hold the same.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

# Some 200 bytes each.
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


class MissedWrites:
    """
    Made of a dictionary whose single operations are atomic, so there is no lock that an
    interrupted thread could hold. A forked child goes on knowing what its parent knew.

    lasts: seconds after which no copy in the cache is believed in any case.
    limit: sessions at the most. Past it, all copies of that time count as outdated.
    """

    def __init__(
        self, lasts: float, *, limit: int = LIMIT, clock: Callable[[], float] = time.time
    ) -> None:
        self._lasts = lasts + CLOCK_TOLERANCE
        self._limit = limit
        self._clock = clock
        self._missed: dict[str, Miss] = {}
        self._numbers = itertools.count()
        # Copies that were validated before that may lack any write.
        self._overflowed_at = 0.0

    def note(self, storage_id: str) -> None:
        """
        Remember that a write of this session did not reach the cache.
        """
        # Again at the end: in the order of time.
        self._missed.pop(storage_id, None)
        now = self._clock()
        if len(self._missed) >= self._limit:
            self._make_room(now)
        self._missed[storage_id] = Miss(next(self._numbers), now)

    def of(self, storage_id: str) -> Miss | None:
        """
        Return the latest write of this session that the cache lacks.
        """
        return self._missed.get(storage_id)

    def delivered(self, storage_id: str, miss: Miss | None) -> None:
        """
        Forget it: after it had been missed, both stores were brought to one state.
        """
        if miss is not None and self._missed.get(storage_id) is miss:
            self._missed.pop(storage_id, None)

    def lacks(self, storage_id: str, validated_at: int) -> bool:
        """
        Whether a copy lacks a write of this process, as far as clocks can tell.

        validated_at: when the durable store last confirmed it, in seconds since the epoch.
        """
        miss = self._missed.get(storage_id)
        return miss is not None and validated_at < miss.at + CLOCK_TOLERANCE

    def may_lack(self, storage_id: str, validated_at: int) -> bool:
        """
        Whether a copy lacks a write of this process, or one of those that are no longer remembered.
        """
        if self._overflowed_at and validated_at < self._overflowed_at + CLOCK_TOLERANCE:
            return True
        return self.lacks(storage_id, validated_at)

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
