"""
Bringing what the durable store and the cache hold of a session to one state.

The same `merge` as between replicas, whatever set the two apart: a write that reached one of them,
a copy that slept through an outage, or a write that the cache took alone. What one does not know
it is told, by compare-and-swap; ended beats live.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress

from ...exceptions import RecordTooLarge, SessionContended, StoreUnavailable
from .. import forking
from ..abilities import DurableStore
from ..cache import CacheStore
from ..contract import Conflict, Merge, Token, Versioned
from ..deadline import Deadline
from ..record import Record
from .bypass import pass_by_cache
from .freshness import Asked, Freshness
from .tokens import Tokens, from_cache, from_durable

logger = logging.getLogger("django_distsession.hybrid")

# How often either store is written against others.
MAX_TRIES = 20


class Reconciler:
    """
    synced: how many sessions the durable store was told of that the cache had taken alone.
    """

    def __init__(
        self, cache: CacheStore, durable: DurableStore, *, merge: Merge, freshness: Freshness
    ) -> None:
        self._cache = cache
        self._durable = durable
        self._merge = merge
        self._freshness = freshness
        self._missed = freshness.missed
        self.synced = 0
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Make a lock that no other thread holds.
        """
        self._counting = threading.Lock()

    def write_through(
        self, storage_id: str, durable: Versioned, token: Token, asked: Asked, deadline: Deadline
    ) -> Tokens:
        """
        Put what was just written to the durable store where the cache's token points to, or where
        nothing is. `Conflict` if the session had ended, of which the durable store was not told.
        """
        copy = durable.record._replace(source_rev=durable.token, validated_at=asked.at)
        own = Tokens(durable.token, None)
        try:
            try:
                taken = self._put(storage_id, copy, token)
            except Conflict as conflict:
                cached = conflict.current
            except RecordTooLarge:
                # It lives in the durable store alone, and an older copy must not outlive it, nor
                # come back with a server that is away.
                self._missed.note(storage_id)
                cached = self._cache.get(storage_id)
                if cached is None:
                    return own
            else:
                self._missed.delivered(storage_id, asked.miss)
                return Tokens(durable.token, taken)
        except StoreUnavailable as error:
            self._note_miss(storage_id, token, error)
            return own
        found = self.reconcile(storage_id, durable, cached, asked, deadline)
        if found is not None and found.record.ended:
            # The cache alone knew.
            raise Conflict(found)
        if found is None or found.record.version != durable.record.version:
            # The caller has not seen what its write was merged with. By this token its next save
            # will be told.
            return own
        tokens: Tokens = found.token
        return tokens

    def reconcile(
        self,
        storage_id: str,
        durable: Versioned | None,
        cached: Versioned | None,
        asked: Asked,
        deadline: Deadline,
        *,
        strict: bool = False,
    ) -> Versioned | None:
        """
        Bring both stores to the state that holds what both know, and return it.

        durable, cached: what they hold. asked: from before the durable store was.
        deadline: after which nothing is tried again.
        strict: whether to raise where the durable store cannot be told. If not, the cache keeps
        its copy as it is, for the next reader to try again.
        """
        for attempt in range(MAX_TRIES):
            try:
                agreed = self._agree(storage_id, durable, cached)
            except _NoneReadable:
                # No session for this process, but maybe for one that knows a newer key.
                return from_durable(durable) or (cached and from_cache(cached))
            if cached is not None and self._is_reconciled(storage_id, agreed, cached.record, asked):
                # Confirmed by another request while this one was under way.
                self._missed.delivered(storage_id, asked.miss)
                return from_cache(cached)
            if attempt and deadline.left <= 0:
                break
            if agreed is not None:
                again = self._freshness.asking(storage_id)
                try:
                    durable = self._sync_durable(storage_id, agreed, durable, cached)
                except Conflict as conflict:
                    asked, durable = again, conflict.current
                    continue
                except (StoreUnavailable, RecordTooLarge) as error:
                    if strict:
                        raise
                    logger.debug("The durable store is not told what it lacks: %s", error)
                    tokens = Tokens(durable and durable.token, cached and cached.token)
                    return Versioned(agreed, tokens)
            try:
                token = self._sync_cache(storage_id, durable, cached, asked)
            except Conflict as conflict:
                cached = conflict.current
            else:
                return durable and Versioned(durable.record, Tokens(durable.token, token))
        if strict:
            raise SessionContended("A session kept changing while its copies were compared.")
        self._missed.note(storage_id)
        return from_durable(durable)

    def end_in_cache(self, storage_id: str, tombstone: Record, asked: Asked) -> None:
        """
        Put the tombstone of a session that ended in the durable store into the cache.
        """
        try:
            self._cache.put_tombstone(storage_id, tombstone)
        except StoreUnavailable as error:
            self._note_miss(storage_id, None, error)
        else:
            self._missed.delivered(storage_id, asked.miss)

    def end_durably(self, storage_id: str, expires_at: int, token: Token) -> None:
        """
        End a session in the durable store, and where it has none, leave a tombstone even so.

        Else somebody who is about to bring there what the cache took alone would revive it.
        """
        if token:
            self._durable.end(storage_id, expires_at, token)
            return
        found = self._durable.get(storage_id)
        if found is None:
            try:
                self._durable.add(storage_id, Record.tombstone(expires_at))
            except Conflict as conflict:
                found = conflict.current
        if found is not None and not found.record.ended:
            self._durable.end(storage_id, expires_at, found.token)

    def _agree(
        self, storage_id: str, durable: Versioned | None, cached: Versioned | None
    ) -> Record | None:
        if durable is None:
            return cached and self._only_cached(storage_id, cached.record)
        ours = durable.record
        if cached is None or ours.ended:
            return ours
        theirs = cached.record
        if theirs.ended:
            return theirs
        if theirs.version == ours.version or ours.created_at >= theirs.expires_at:
            # The same; or a session that took the key of one that had expired.
            return ours
        return self._merged(storage_id, [ours, theirs])

    def _only_cached(self, storage_id: str, cached: Record) -> Record | None:
        if cached.ended:
            return cached
        if cached.unsynced:
            # Not as it stands: a cache does not keep all that a durable store wants to know.
            return self._merged(storage_id, [cached])
        # A copy of what is gone.
        return None

    def _merged(self, storage_id: str, records: Sequence[Record]) -> Record:
        merged = self._merge(storage_id, records)
        if merged is None:
            raise _NoneReadable
        return merged

    def _is_reconciled(
        self, storage_id: str, agreed: Record | None, cached: Record, asked: Asked
    ) -> bool:
        """
        Whether the cache holds what both agree upon, and notes when that was confirmed.
        """
        if agreed is None or agreed.ended or agreed.version != cached.version or cached.unsynced:
            return False
        return cached.validated_at >= asked.at or self._freshness.is_fresh(storage_id, cached)

    def _sync_durable(
        self, storage_id: str, agreed: Record, durable: Versioned | None, cached: Versioned | None
    ) -> Versioned:
        if agreed.ended:
            is_told = (
                durable.record.ended
                if durable is not None
                else cached is not None and not cached.record.unsynced
            )
            if not is_told:
                self.end_durably(storage_id, agreed.expires_at, durable and durable.token)
            return Versioned(agreed, None)
        if durable is None:
            return Versioned(agreed, self._durable.add(storage_id, agreed))
        if durable.record.version == agreed.version:
            return durable
        return Versioned(agreed, self._durable.replace(storage_id, agreed, durable.token))

    def _sync_cache(
        self, storage_id: str, told: Versioned | None, cached: Versioned | None, asked: Asked
    ) -> Token:
        token: Token = None
        try:
            if told is None:
                self._invalidate(storage_id, cached)
            elif told.record.ended:
                self._put_tombstone(storage_id, told.record, cached)
            else:
                copy = told.record._replace(source_rev=told.token, validated_at=asked.at)
                token = self._put_or_invalidate(storage_id, copy, cached)
            self._missed.delivered(storage_id, asked.miss)
        except StoreUnavailable as error:
            self._note_miss(storage_id, cached and cached.token, error)
        if cached is not None and cached.record.unsynced:
            with self._counting:
                self.synced += 1
        return token

    def _put_or_invalidate(self, storage_id: str, copy: Record, cached: Versioned | None) -> Token:
        try:
            return self._put(storage_id, copy, cached and cached.token)
        except RecordTooLarge:
            self._invalidate(storage_id, cached)
            return None

    def _put(self, storage_id: str, copy: Record, token: Token) -> Token:
        if token is None:
            return self._cache.add(storage_id, copy)
        return self._cache.replace(storage_id, copy, token)

    def _put_tombstone(self, storage_id: str, ended: Record, cached: Versioned | None) -> None:
        expires_at = ended.expires_at
        if cached is not None:
            if cached.record.ended and not cached.record.unsynced:
                return
            # Where copies of it still are, they live no longer than that.
            expires_at = max(expires_at, cached.record.retention_deadline)
        self._cache.put_tombstone(storage_id, Record.tombstone(expires_at))

    def _note_miss(self, storage_id: str, token: Token, error: StoreUnavailable) -> None:
        """
        Remember that the cache does not hold what the durable store does.

        From a cache that does not take the newer copy, but answers, such as one that is out of
        memory, the older copy is removed. What goes is in the durable store.
        """
        self._missed.note(storage_id)
        pass_by_cache(error)
        if token is not None:
            with suppress(StoreUnavailable, Conflict):
                self._cache.invalidate(storage_id, token)

    def _invalidate(self, storage_id: str, cached: Versioned | None) -> None:
        if cached is not None:
            self._cache.invalidate(storage_id, cached.token)


class _NoneReadable(Exception): ...
