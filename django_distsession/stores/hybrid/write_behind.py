"""
Writes that the cache takes alone while the durable store is away, which is told of them later.
"""

from __future__ import annotations

import threading

from ...exceptions import RecordTooLarge, StoreUnavailable
from ...observing import Tell, UnsyncedTaken
from .. import forking
from ..cache import CacheStore
from ..contract import Conflict
from ..operations import Operation
from ..record import Record
from .reconciler import Tokens, from_cache

NO_TOKENS = Tokens(None, None)


class WriteBehind:
    """
    allowed: whether the site wants that. taken: how many writes there were.
    """

    def __init__(self, cache: CacheStore, *, allowed: bool, tell: Tell | None = None) -> None:
        self._tell = tell
        self._cache = cache
        self.allowed = allowed
        self.taken = 0
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Make a lock that no other thread holds.
        """
        self._counting = threading.Lock()

    def take_gen(
        self, storage_id: str, record: Record, token: Tokens | None, error: StoreUnavailable
    ) -> Operation[Tokens]:
        """
        Let the cache alone take a write. Raises `error` where it may not or cannot.

        token: None for a new session.
        """
        if not self.allowed:
            raise error
        known = token or NO_TOKENS
        copy = record._replace(source_rev=known.durable or "", validated_at=0, unsynced=True)
        try:
            if token is None:
                taken = yield from self._cache.add_gen(storage_id, copy)
            elif token.cache is None:
                raise Conflict((yield from self._cache.get_gen(storage_id)))
            else:
                taken = yield from self._cache.replace_gen(storage_id, copy, token.cache)
        except Conflict as conflict:
            if conflict.current is None:
                # Without a copy, it cannot tell whether the session has ended meanwhile.
                raise error from None
            raise Conflict(from_cache(conflict.current), applied=conflict.applied) from None
        except (StoreUnavailable, RecordTooLarge) as refusal:
            raise error from refusal
        self._count()
        return Tokens(known.durable, taken)

    def end_gen(
        self, storage_id: str, tombstone: Record, error: StoreUnavailable
    ) -> Operation[None]:
        """
        Let the cache alone take the end of a session. Raises `error` where it may not or cannot.
        """
        if not self.allowed:
            raise error
        try:
            yield from self._cache.put_tombstone_gen(storage_id, tombstone._replace(unsynced=True))
        except StoreUnavailable as refusal:
            raise error from refusal
        self._count()

    def _count(self) -> None:
        with self._counting:
            self.taken += 1
        if self._tell:
            self._tell(UnsyncedTaken("hybrid"))
