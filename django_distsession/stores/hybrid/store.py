"""
A cache store in front of a durable store, write-through. The durable store is the truth.

Whatever fails, a copy in the cache is believed for `revalidate_after` seconds at the most, as long
as the durable store answers. While it does not, reads go on from the cache; and so do writes where
the site wants that, marked as unsynced until the durable store is told of them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from ...exceptions import RecordTooLarge, StoreUnavailable, UnreadableCopy
from ..abilities import parts_of
from ..base import (
    CacheStore,
    Cleared,
    Conflict,
    Copy,
    DurableStore,
    Found,
    Merge,
    Record,
    Store,
    Sweep,
    Token,
    UserSession,
)
from .flights import Flights
from .settling import Settler, pass_by_cache
from .tokens import Tokens, from_cache, from_durable

NO_TOKENS = Tokens(None, None)


class HybridStore(DurableStore):
    """
    revalidate_after: seconds. either: whether the cache takes writes while the durable store is
    away.
    """

    def __init__(
        self,
        cache: CacheStore,
        durable: DurableStore,
        *,
        merge: Merge,
        revalidate_after: float,
        either: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._durable = durable
        self._either = either
        self._settler = Settler(
            cache, durable, merge=merge, revalidate_after=revalidate_after, clock=clock
        )
        self._flights: Flights[Found | None] = Flights()
        self._lock = threading.Lock()
        self._taken = 0

    def get(self, storage_id: str) -> Found | None:
        """
        Read the cache; where it has nothing, or has not asked for long, the durable store.
        """
        cached, is_reached = self._look(storage_id)
        if cached is not None and self._settler.is_trusted(cached.record):
            return from_cache(cached)
        try:
            return self._flights.share(
                storage_id,
                first=partial(self._ask, storage_id, cached, is_reached),
                later=partial(self._look_and_ask, storage_id),
            )
        except StoreUnavailable as error:
            if cached is None or isinstance(error, UnreadableCopy):
                raise
            return from_cache(cached)

    def refresh(self, storage_id: str, at_least: int) -> Found | None:
        """
        Ask the durable store, however fresh the cache seems, and all of the cache's servers.
        """
        asked_at = self._settler.now()
        durable = self._durable.get(storage_id)
        try:
            cached = self._cache.refresh(storage_id, at_least)
        except StoreUnavailable as error:
            pass_by_cache(error)
            return self._without_cache(durable, error)
        return self._settler.settle(storage_id, durable, cached, asked_at)

    def add(self, storage_id: str, record: Record) -> Token:
        """
        Write to the durable store, then to the cache.
        """
        if self._either and self._look(storage_id)[0] is not None:
            # The durable store may not have been told of it yet.
            found = self.get(storage_id)
            if found is not None:
                raise Conflict(found)
        asked_at = self._settler.now()
        try:
            token = self._durable.add(storage_id, record)
        except Conflict as conflict:
            raise self._moved_on(storage_id, conflict.found, asked_at) from None
        except StoreUnavailable as error:
            return self._take(storage_id, record, None, error)
        return self._settler.write_through(storage_id, Found(record, token), None, asked_at)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Compare and swap in the durable store, then write to the cache.
        """
        asked_at = self._settler.now()
        try:
            if token.durable is None:
                # Read from a cache that did not know what the durable store holds.
                raise Conflict(self._durable.get(storage_id))
            swapped = self._durable.replace(storage_id, record, token.durable)
        except Conflict as conflict:
            raise self._moved_on(storage_id, conflict.found, asked_at) from None
        except StoreUnavailable as error:
            return self._take(storage_id, record, token, error)
        return self._settler.write_through(
            storage_id, Found(record, swapped), token.cache, asked_at
        )

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        End the session in the durable store, then in the cache.
        """
        tombstone = Record.tombstone(expires_at)
        try:
            self._settler.end_durably(storage_id, expires_at, token and token.durable)
        except StoreUnavailable as error:
            if not self._either:
                raise
            self._bury_unsynced(storage_id, tombstone, error)
            return
        try:
            self._cache.bury(storage_id, tombstone)
        except StoreUnavailable as error:
            pass_by_cache(error)

    def sync(self, storage_id: str) -> bool:
        """
        Tell the durable store what the cache took alone. Whether there was anything to tell.

        A request that touches the session does so too; this is for those that nobody touches.
        `StoreUnavailable` if it cannot be done now.
        """
        cached = self._cache.get(storage_id)
        if cached is None or not cached.record.unsynced:
            return False
        asked_at = self._settler.now()
        durable = self._durable.get(storage_id)
        self._settler.settle(storage_id, durable, cached, asked_at, strict=True)
        return True

    def clear_expired(self, sweep: Sweep | None = None) -> Cleared:
        """
        Clear the durable store; the cache forgets by itself.
        """
        return self._durable.clear_expired(sweep)

    def for_user(self, user: str) -> list[UserSession]:
        """
        Ask the durable store, which alone has an index. What the cache took while the durable
        store was away is not in there before somebody touches it, or `repairsessions` does.
        """
        return self._durable.for_user(user)

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell what both stores hold.
        """
        return [*self._cache.inspect(storage_id), *self._durable.inspect(storage_id)]

    def parts(self) -> Iterator[Store]:
        """
        Yield this store and both that it is made of.
        """
        yield self
        yield from parts_of(self._cache)
        yield from parts_of(self._durable)

    def status(self) -> list[dict[str, Any]]:
        """
        Tell what this process did while the durable store was away.

        taken_unsynced: the writes that the cache took alone. synced: the sessions that the
        durable store was told of since, whoever had taken them; a session that was written to
        several times is told of once.
        """
        return [{"store": "hybrid", "taken_unsynced": self._taken, "synced": self._settler.synced}]

    def close(self) -> None:
        """
        Close the connections of both stores.
        """
        self._cache.close()
        self._durable.close()

    def _look(self, storage_id: str) -> tuple[Found | None, bool]:
        """
        Return what the cache holds, and whether it could be reached.
        """
        try:
            return self._cache.get(storage_id), True
        except StoreUnavailable as error:
            pass_by_cache(error)
            return None, False

    def _look_and_ask(self, storage_id: str) -> Found | None:
        cached, is_reached = self._look(storage_id)
        if cached is not None and self._settler.is_trusted(cached.record):
            return from_cache(cached)
        return self._ask(storage_id, cached, is_reached)

    def _ask(self, storage_id: str, cached: Found | None, is_reached: bool) -> Found | None:
        asked_at = self._settler.now()
        durable = self._durable.get(storage_id)
        if not is_reached:
            return self._without_cache(durable)
        return self._settler.settle(storage_id, durable, cached, asked_at)

    def _without_cache(
        self, durable: Found | None, error: StoreUnavailable | None = None
    ) -> Found | None:
        if durable is None and self._either:
            raise StoreUnavailable(
                "CouchDB does not have this session; memcached, which may have taken it while "
                "CouchDB was away, cannot be reached."
            ) from error
        return from_durable(durable)

    def _moved_on(self, storage_id: str, durable: Found | None, asked_at: int) -> Conflict:
        """
        Return the error that carries what the durable store holds by now.

        Where the session is over, the cache is told. Where it goes on, the save that follows
        tells it: the sooner that comes, the less often it meets yet another one.
        """
        if durable is not None and not durable.record.ended:
            return Conflict(from_durable(durable))
        cached, is_reached = self._look(storage_id)
        if not is_reached:
            return Conflict(self._without_cache(durable))
        return Conflict(self._settler.settle(storage_id, durable, cached, asked_at))

    def _take(
        self, storage_id: str, record: Record, token: Tokens | None, error: StoreUnavailable
    ) -> Tokens:
        """
        Let the cache alone take a write. Raises `error` where it may not or cannot.

        token: None for a new session.
        """
        if not self._either:
            raise error
        known = token or NO_TOKENS
        copy = record._replace(origin=known.durable or "", checked_at=0, unsynced=True)
        try:
            if token is None:
                taken = self._cache.add(storage_id, copy)
            elif token.cache is None:
                raise Conflict(self._cache.get(storage_id))
            else:
                taken = self._cache.replace(storage_id, copy, token.cache)
        except Conflict as conflict:
            if conflict.found is None:
                # Without a copy, it cannot tell whether the session has ended meanwhile.
                raise error from None
            raise Conflict(from_cache(conflict.found)) from None
        except (StoreUnavailable, RecordTooLarge) as refusal:
            raise error from refusal
        self._count_taken()
        return Tokens(known.durable, taken)

    def _bury_unsynced(self, storage_id: str, tombstone: Record, error: StoreUnavailable) -> None:
        try:
            self._cache.bury(storage_id, tombstone._replace(unsynced=True))
        except StoreUnavailable as refusal:
            raise error from refusal
        self._count_taken()

    def _count_taken(self) -> None:
        with self._lock:
            self._taken += 1
