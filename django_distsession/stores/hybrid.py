"""
A cache store in front of a durable store, write-through. The durable store is the truth.

A token is a pair: the durable store's, and the cache's, None for a cache that has no part in it.
Whatever fails, a copy in the cache is believed for `revalidate_after` seconds at the most.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from ..exceptions import RecordTooLarge, StoreUnavailable
from .base import (
    CacheStore,
    Cleared,
    Conflict,
    Copy,
    DurableStore,
    Found,
    Merge,
    Record,
    Sweep,
    Token,
    UserSession,
)

logger = logging.getLogger("django_distsession.hybrid")

# How often the cache is written against others. Past that it is left to revalidation.
MAX_TRIES = 5


class Tokens(NamedTuple):
    """
    What each of the two stores needs to compare and swap.
    """

    durable: Token
    cache: Token


class HybridStore(DurableStore):
    """
    revalidate_after: seconds.
    """

    def __init__(
        self,
        cache: CacheStore,
        durable: DurableStore,
        *,
        merge: Merge,
        revalidate_after: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cache = cache
        self._durable = durable
        self._merge = merge
        self._revalidate_after = revalidate_after
        self._clock = clock

    def get(self, storage_id: str) -> Found | None:
        """
        Read the cache; where it has nothing, or has not asked for long, the durable store.
        """
        cached = self._from_cache(storage_id)
        if cached is not None and self._is_trusted(cached.record):
            return self._cached(cached)
        try:
            found = self._durable.get(storage_id)
        except StoreUnavailable:
            if cached is None:
                raise
            return self._cached(cached)
        if found is None:
            if cached is not None:
                self._forget(storage_id)
            return None
        return Found(found.record, self._fill(storage_id, found, cached))

    def refresh(self, storage_id: str, at_least: int) -> Found | None:
        """
        Ask the durable store, however fresh the cache seems; then all of the cache's servers.
        """
        durable = self._durable.get(storage_id)
        if durable is not None and durable.record.version.generation >= at_least:
            cached = self._from_cache(storage_id)
            return Found(durable.record, self._fill(storage_id, durable, cached))
        try:
            cached = self._cache.refresh(storage_id, at_least)
        except StoreUnavailable as error:
            # Every acknowledged save is in the durable store, unless it was set back.
            self._cache_failed(error)
            cached = None
        if cached is not None and (
            durable is None or cached.record.version.generation > durable.record.version.generation
        ):
            return self._cached(cached)
        return durable and Found(durable.record, self._fill(storage_id, durable, cached))

    @staticmethod
    def _cached(cached: Found) -> Found:
        return Found(cached.record, Tokens(cached.record.origin, cached.token))

    def add(self, storage_id: str, record: Record) -> Token:
        """
        Write to the durable store, then to the cache.
        """
        try:
            rev = self._durable.add(storage_id, record)
        except Conflict as conflict:
            raise self._as_ours(conflict) from None
        return self._fill(storage_id, Found(record, rev), None)

    def replace(self, storage_id: str, record: Record, token: Token) -> Token:
        """
        Compare and swap in the durable store, then write to the cache.
        """
        try:
            rev = self._durable.replace(storage_id, record, token.durable)
        except Conflict as conflict:
            raise self._as_ours(conflict) from None
        return self._write_through(storage_id, Found(record, rev), token.cache)

    def end(self, storage_id: str, expires_at: int, token: Token = None) -> None:
        """
        End the session in the durable store, then in the cache.
        """
        self._durable.end(storage_id, expires_at, token and token[0])
        try:
            self._cache.end(storage_id, expires_at)
        except StoreUnavailable as error:
            self._cache_failed(error)

    def clear_expired(self, sweep: Sweep | None = None) -> Cleared:
        """
        Clear the durable store; the cache forgets by itself.
        """
        return self._durable.clear_expired(sweep)

    def for_user(self, user: str) -> list[UserSession]:
        """
        Ask the durable store, which alone knows them all.
        """
        return self._durable.for_user(user)

    def inspect(self, storage_id: str) -> list[Copy]:
        """
        Tell what both stores hold.
        """
        return [*self._cache.inspect(storage_id), *self._durable.inspect(storage_id)]

    def close(self) -> None:
        """
        Close the connections of both stores.
        """
        self._cache.close()
        self._durable.close()

    def _is_trusted(self, record: Record) -> bool:
        if record.ended:
            # Ended is final: no store can know better.
            return True
        age = self._clock() - record.checked_at
        return bool(record.origin) and age < self._revalidate_after

    def _from_cache(self, storage_id: str) -> Found | None:
        try:
            return self._cache.get(storage_id)
        except StoreUnavailable as error:
            self._cache_failed(error)
            return None

    def _fill(self, storage_id: str, durable: Found, cached: Found | None) -> Tokens:
        """
        Put what was read from the durable store into the cache.
        """
        if cached is None:
            return self._write_through(storage_id, durable, None)
        if cached.record.version == durable.record.version:
            return self._write_through(storage_id, durable, cached.token)
        return self._settle(storage_id, durable, cached)

    def _write_through(self, storage_id: str, durable: Found, token: Token) -> Tokens:
        """
        Put what the durable store holds where the cache's token points to, or where nothing is.
        """
        copy = self._copy(durable)
        try:
            if copy.ended:
                self._cache.end(storage_id, copy.expires_at)
                return Tokens(durable.token, None)
            if token is None:
                return Tokens(durable.token, self._cache.add(storage_id, copy))
            return Tokens(durable.token, self._cache.replace(storage_id, copy, token))
        except Conflict as conflict:
            return self._settle(storage_id, durable, conflict.found)
        except StoreUnavailable as error:
            self._cache_failed(error)
        except RecordTooLarge:
            # The session lives in the durable store alone; an older copy must not outlive it.
            self._forget(storage_id)
        return Tokens(durable.token, None)

    def _settle(self, storage_id: str, durable: Found, cached: Found | None) -> Tokens:
        """
        Bring the cache up to what the durable store holds without overwriting anything newer.
        """
        copy = self._copy(durable)
        for _ in range(MAX_TRIES):
            try:
                if cached is None:
                    return Tokens(durable.token, self._cache.add(storage_id, copy))
                if cached.record.ended:
                    break
                newest = self._newest(storage_id, copy, cached.record)
                if newest.version == cached.record.version:
                    break
                return Tokens(durable.token, self._cache.replace(storage_id, newest, cached.token))
            except Conflict as conflict:
                cached = conflict.found
            except StoreUnavailable as error:
                self._cache_failed(error)
                break
            except RecordTooLarge:
                self._forget(storage_id)
                break
        return Tokens(durable.token, None)

    def _newest(self, storage_id: str, copy: Record, cached: Record) -> Record:
        if copy.ended:
            return copy
        merged = self._merge(storage_id, [copy, cached])
        # A merge that neither store holds is no copy of the durable store's: it keeps no origin,
        # and so is checked at the next read.
        return copy if merged is None or merged.version == copy.version else merged

    def _copy(self, durable: Found) -> Record:
        return replace(durable.record, origin=durable.token, checked_at=int(self._clock()))

    def _forget(self, storage_id: str) -> None:
        try:
            self._cache.discard(storage_id)
        except StoreUnavailable as error:
            self._cache_failed(error)

    def _cache_failed(self, error: StoreUnavailable) -> None:
        logger.debug("The cache is passed by: %s", error)

    def _as_ours(self, conflict: Conflict) -> Conflict:
        found = conflict.found
        return Conflict(found and Found(found.record, Tokens(found.token, None)))
