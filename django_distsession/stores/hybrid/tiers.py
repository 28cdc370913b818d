"""
Telling the durable store and the cache what they lack.
"""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from typing import NamedTuple

from ...exceptions import RecordTooLarge, StoreUnavailable, UnreadableCopy
from ...observing import Tell, UnsyncedTold
from .. import forking
from ..cache import CacheStore
from ..contract import Conflict, Token, Versioned
from ..operations import GeneratorStore, Operation
from ..reconcile import are_same
from ..record import Record
from .freshness import CLOCK_TOLERANCE, Checkpoint, MissedWrites

logger = logging.getLogger("django_distsession.hybrid")


def pass_by_cache(error: StoreUnavailable) -> None:
    """
    Note that a request does without the cache. Its servers' own logs tell when that began.

    Not where the cache answered with something newer than this process can read.
    """
    if isinstance(error, UnreadableCopy):
        raise error
    logger.debug("The cache is passed by: %s", error)


class Known(NamedTuple):
    """
    What both stores were found to hold of a session.

    checkpoint: from before the durable store was asked.
    """

    durable: Versioned | None
    cached: Versioned | None
    checkpoint: Checkpoint

    @property
    def copies(self) -> list[Record]:
        """
        The copies that count: not one in the cache of what is gone.
        """
        copies = [] if self.durable is None else [self.durable.record]
        if self.cached is not None:
            cached = self.cached.record
            if copies or cached.ended or cached.unsynced:
                copies.append(cached)
        return copies

    @property
    def may_be_outdated(self) -> bool:
        """
        Whether the durable store may have been told of the copy in the cache since it was asked,
        as far as the clocks of two hosts can tell.
        """
        if self.durable is not None or self.cached is None:
            return False
        return self.cached.record.validated_at + CLOCK_TOLERANCE >= self.checkpoint.at


class Tiers:
    """
    synced: how many sessions the durable store was told of that the cache had taken alone.
    """

    def __init__(
        self,
        cache: CacheStore,
        durable: GeneratorStore,
        missed: MissedWrites,
        tell: Tell | None = None,
    ) -> None:
        self._tell = tell
        self._cache = cache
        self._durable = durable
        self._missed = missed
        self.synced = 0
        forking.register(self)

    def reset_after_fork(self) -> None:
        """
        Make a lock that no other thread holds.
        """
        self._counting = threading.Lock()

    def sync_durable_gen(
        self, storage_id: str, agreed: Record | None, known: Known
    ) -> Operation[Versioned | None]:
        """
        Tell the durable store what it lacks of what both agree on, and return what it holds then.
        """
        durable, cached, _ = known
        if agreed is None:
            return None
        token: Token = durable and durable.token
        if agreed.ended:
            if durable is not None:
                is_told = durable.record.ended
            else:
                is_told = cached is not None and not cached.record.unsynced
            if not is_told:
                yield from self.end_durably_gen(storage_id, agreed.retention_deadline, token)
            return Versioned(agreed, None)
        if durable is None:
            token = yield from self._durable.add_gen(storage_id, agreed)
        elif not are_same(agreed, durable.record):
            token = yield from self._durable.replace_gen(storage_id, agreed, token)
        return Versioned(agreed, token)

    def sync_cache_gen(self, storage_id: str, known: Known) -> Operation[Token]:
        """
        Tell the cache what the durable store holds, and return the cache's token for that.
        """
        durable, cached, checkpoint = known
        token: Token = None
        try:
            if durable is None:
                yield from self._invalidate_gen(storage_id, cached)
            elif not durable.record.ended:
                copy = durable.record._replace(
                    source_rev=durable.token, validated_at=checkpoint.at, unsynced=False
                )
                try:
                    token = yield from self._put(storage_id, copy, cached and cached.token)
                except RecordTooLarge:
                    yield from self._invalidate_gen(storage_id, cached)
            elif cached is None or cached.record.unsynced or not cached.record.ended:
                # Where copies of it still are, they live no longer than that.
                tombstone = Record.tombstone(durable.record.retention_deadline)
                yield from self._cache.put_tombstone_gen(storage_id, tombstone)
            self._missed.resolve(storage_id, checkpoint.miss)
        except StoreUnavailable as error:
            yield from self.note_miss_gen(storage_id, cached and cached.token, error)
        if cached is not None and cached.record.unsynced:
            with self._counting:
                self.synced += 1
            if self._tell:
                self._tell(UnsyncedTold("hybrid"))
        return token

    def end_in_cache_gen(
        self, storage_id: str, tombstone: Record, checkpoint: Checkpoint
    ) -> Operation[None]:
        """
        Put the tombstone of a session that ended in the durable store into the cache.
        """
        try:
            yield from self._cache.put_tombstone_gen(storage_id, tombstone)
        except StoreUnavailable as error:
            yield from self.note_miss_gen(storage_id, None, error)
        except BaseException as interruption:
            self._missed.add_interrupted(storage_id, interruption)
            raise
        else:
            self._missed.resolve(storage_id, checkpoint.miss)

    def end_durably_gen(self, storage_id: str, expires_at: int, token: Token) -> Operation[None]:
        """
        End a session in the durable store, and where it has none, leave a tombstone even so.

        Else somebody who is about to bring there what the cache took alone would revive it.
        """
        if token:
            yield from self._durable.end_gen(storage_id, expires_at, token)
            return
        found = yield from self._durable.get_gen(storage_id)
        if found is None:
            try:
                yield from self._durable.add_gen(storage_id, Record.tombstone(expires_at))
            except Conflict as conflict:
                found = conflict.current
        if found is not None and not found.record.ended:
            yield from self._durable.end_gen(storage_id, expires_at, found.token)

    def note_miss_gen(
        self, storage_id: str, token: Token, error: StoreUnavailable
    ) -> Operation[None]:
        """
        Remember that the cache does not hold what the durable store does.

        From a cache that does not take the newer copy, but answers, such as one that is out of
        memory, the older copy is removed. What goes is in the durable store.
        """
        self._missed.add(storage_id)
        pass_by_cache(error)
        if token is not None:
            with suppress(StoreUnavailable, Conflict):
                yield from self._cache.invalidate_gen(storage_id, token)

    def _put(self, storage_id: str, copy: Record, token: Token) -> Operation[Token]:
        if token is None:
            return self._cache.add_gen(storage_id, copy)
        return self._cache.replace_gen(storage_id, copy, token)

    def _invalidate_gen(self, storage_id: str, cached: Versioned | None) -> Operation[None]:
        if cached is not None:
            yield from self._cache.invalidate_gen(storage_id, cached.token)
